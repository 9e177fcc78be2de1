"""Tests that share three nodes without a cluster. A package, so that its lab ends with the last of them."""
