"""The guard: the tiny process on each node that owns the watchdog device and the node's deadline."""
