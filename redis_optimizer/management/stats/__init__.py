"""How statistics are shown on a terminal and to scrapers."""
