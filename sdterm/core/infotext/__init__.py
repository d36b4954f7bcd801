"""A1111's infotext: its grammar, its keys, written and read."""
