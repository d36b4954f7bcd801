"""Who may ask the host what over TCP."""
