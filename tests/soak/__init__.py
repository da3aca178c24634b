"""A site under load, with faults: `python -m tests.soak`, see docs/reliability.rst."""
