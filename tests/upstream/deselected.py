"""The upstream tests that are not run, each with the reason."""

# Ends of test ids; without [brackets] for all variants.
DESELECTED: dict[str, str] = {}
