"""The name server's process on each management node: what the store has published, answered by `net.dns`."""
