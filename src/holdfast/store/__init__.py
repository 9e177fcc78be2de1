"""The replicated store: etcd in production, memory in unit tests and the simulator; keys and codec."""
