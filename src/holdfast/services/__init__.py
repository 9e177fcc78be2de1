"""One driver per kind of service."""
