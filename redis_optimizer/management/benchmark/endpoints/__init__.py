"""Poll endpoints of a project with and without what this package does, and count."""
