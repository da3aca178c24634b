"""Remove most Redis commands from a Django site without changing what it sees."""

__version__ = "0.1.0"
