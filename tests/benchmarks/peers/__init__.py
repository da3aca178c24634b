"""What the comparisons share: environments of the peers, processes that measure, claims, tables."""
