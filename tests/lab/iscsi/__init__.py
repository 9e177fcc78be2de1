"""Tests that share one cluster with iSCSI volumes and clients that use them all the time. A package, so that its lab ends
with the last of them."""
