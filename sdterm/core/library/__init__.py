"""The model files a user has: what their headers say, their hashes, which family fits."""
