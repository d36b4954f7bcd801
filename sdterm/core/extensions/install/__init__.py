"""Installing, updating, removing and listing extensions."""
