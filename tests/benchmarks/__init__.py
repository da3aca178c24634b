"""Programs that measure: they print ratios against a peer in one run. No test asserts a time."""
