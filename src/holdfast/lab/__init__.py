"""Real nodes on one Linux machine."""
