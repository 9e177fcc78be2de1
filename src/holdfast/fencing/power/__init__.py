"""Power fencing: switching a node off through its BMC, PDU or hypervisor, and making sure that it is off."""
