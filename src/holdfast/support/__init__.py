"""What somebody who helps needs to see of a node and its cluster, without any secret (docs/operating.md)."""
