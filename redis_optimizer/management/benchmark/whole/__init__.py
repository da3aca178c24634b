"""All subjects in one run, held against the claims of the original report."""
