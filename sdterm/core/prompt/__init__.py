"""The prompt language. For now its last step only: tokens into chunks."""
