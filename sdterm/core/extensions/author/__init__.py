"""What authors of extensions use: templates and traces."""
