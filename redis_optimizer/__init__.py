"""A Django app that runs a site on fewer Redis commands."""

__version__ = "0.1.0"
