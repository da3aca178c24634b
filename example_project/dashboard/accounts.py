"""The users of the sample data."""

# Known to everybody who reads this: for a database that only the own machine can reach.
PASSWORD = "demo"  # noqa: S105

SUPERUSER = "demo"
OPERATORS = tuple(f"operator{number}" for number in range(1, 9))  # may pause and resume
VIEWERS = tuple(f"viewer{number}" for number in range(1, 5))  # may not
