"""iSCSI volumes: one active path per LUN, standby paths on every node of its target group."""
