"""The embedded demo model: the pictures it learned from, its training, its evaluation and its preview map."""
