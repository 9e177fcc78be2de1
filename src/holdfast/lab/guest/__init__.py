"""A guest machine with Linux's own NFS client: what clients of a cluster really run, which a namespace cannot have where the
kernel of the build machine has no NFS."""

from holdfast.lab.guest.client import GuestNfsClient
from holdfast.lab.guest.image import GuestError, GuestImage, build

__all__ = ["GuestError", "GuestImage", "GuestNfsClient", "build"]
