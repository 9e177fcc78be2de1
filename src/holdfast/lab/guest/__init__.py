"""Guest machines: with Linux's own NFS and iSCSI clients (what clients of a cluster really run, and a namespace cannot have
where the kernel of the build machine has neither), and one to be the virtual machine of a cluster."""

from holdfast.lab.guest.client import GuestNfsClient
from holdfast.lab.guest.debian import GuestError
from holdfast.lab.guest.image import VM, VM_COMMAND_LINE, VM_WITH_AGENT, GuestImage, build
from holdfast.lab.guest.iscsi import ClientPath, GuestIscsiClient

__all__ = [
    "VM",
    "VM_COMMAND_LINE",
    "VM_WITH_AGENT",
    "ClientPath",
    "GuestError",
    "GuestImage",
    "GuestIscsiClient",
    "GuestNfsClient",
    "build",
]
