"""The routes of A1111's API, by subject."""
