"""What the user has set, and where things lie: settings, flags, folders, devices."""
