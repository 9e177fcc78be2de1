"""What a node must offer before NFS-Ganesha can serve there."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.errors import DriverError

_NONLOCAL_BIND = ("/proc/sys/net/ipv4/ip_nonlocal_bind", "/proc/sys/net/ipv6/ip_nonlocal_bind")
_LOOPBACK = "0" * 31 + "1"


def make_ready() -> None:
    """Raises DriverError, saying what is missing."""
    _allow_nonlocal_bind()
    _require_ipv6_address()


def warm(program: Path) -> None:
    """Ask the kernel to have the program and its libraries in memory."""
    libraries: Iterable[Path] = Path("/usr/lib").glob("*/libganesha_nfsd.so*")
    modules: Iterable[Path] = Path("/usr/lib").glob("*/ganesha/libfsalvfs.so*")
    for path in (program, *libraries, *modules):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            os.close(fd)


def _allow_nonlocal_bind() -> None:
    """The server listens before its address is here."""
    for name in _NONLOCAL_BIND:
        path = Path(name)
        try:
            if path.exists() and path.read_text().strip() != "1":
                path.write_text("1\n")
        except OSError as error:
            raise DriverError(f"{name} cannot be set to 1: {error}", "The agent must run as root.") from error


def _require_ipv6_address() -> None:
    """Ganesha 4 looks its Bind_addr up in a way that finds nothing where IPv6 is on but no interface has an IPv6 address; it
    then takes port 2049 of *all* addresses without a word. (Where the kernel has no IPv6 at all, it works.)"""
    table = Path("/proc/net/if_inet6")
    if table.exists() and all(line.startswith(_LOOPBACK) for line in table.read_text().splitlines()):
        raise DriverError(
            "no interface of this node has an IPv6 address, and NFS-Ganesha would then ignore its own address",
            "Enable IPv6 on one interface (sysctl net.ipv6.conf.INTERFACE.disable_ipv6=0; the link-local address it "
            "gets is enough), or boot the node with ipv6.disable=1.",
        )
