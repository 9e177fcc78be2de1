"""The elected decider: observe, decide, commit."""
