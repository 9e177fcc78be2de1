"""How a cluster begins and how a node joins it: identities, secrets, first content of the store, join bundles."""
