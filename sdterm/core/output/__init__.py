"""Where images go, what their files are called, and writing them."""
