"""The daemon on each node: beat, observe, execute."""
