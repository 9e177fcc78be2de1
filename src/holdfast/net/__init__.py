"""The network: service addresses, beat datagrams."""
