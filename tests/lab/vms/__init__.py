"""Tests that share one cluster of virtual machines. A package, so that its lab ends with the last of them."""
