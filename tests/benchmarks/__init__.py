"""Programs that measure. They print ratios against a peer in one run; no test asserts their times."""
