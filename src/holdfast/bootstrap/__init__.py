"""Creating a cluster and joining nodes: certificates and configuration files."""
