"""Guest machines: one with Linux's own NFS client (what clients of a cluster really run, and a namespace cannot have where
the kernel of the build machine has no NFS), and one to be the virtual machine of a cluster."""

from holdfast.lab.guest.client import GuestNfsClient
from holdfast.lab.guest.image import VM, VM_COMMAND_LINE, VM_WITH_AGENT, GuestError, GuestImage, build

__all__ = ["VM", "VM_COMMAND_LINE", "VM_WITH_AGENT", "GuestError", "GuestImage", "GuestNfsClient", "build"]
