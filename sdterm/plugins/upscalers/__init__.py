"""What makes pictures larger."""
