"""Pure code: no I/O, no clock, no randomness of its own. Standard library only."""
