"""The site that is soaked: settings, tasks, views."""
