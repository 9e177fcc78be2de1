"""The kernel's table of addresses, by netlink in this process (pyroute2): a fork of `ip` costs up to a second under load."""

import asyncio
import errno
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from holdfast.errors import DriverError

PROTOCOL = 0x48
"""IFA_PROTO of every address Holdfast adds ("H"): how our addresses are told from all others (Linux ≥ 5.18)."""

_TIMEOUT_S = 2.0
_IFA_F_NODAD = 0x02
_IFA_F_NOPREFIXROUTE = 0x200
_RT_SCOPE_LINK = 253
_FOREVER = 0xFFFFFFFF
"""INFINITY_LIFE_TIME in Linux, net/addrconf.h."""


@dataclass(frozen=True, slots=True)
class KernelAddress:
    """One address as the kernel has it."""

    ip: str
    prefix_len: int
    index: int
    """Number of the interface."""
    ours: bool
    global_scope: bool


class AddressTable:
    """Reads and changes the addresses of this network namespace. Every call ends within 2 s or raises DriverError."""

    def __init__(self) -> None:
        self._socket: Any = None
        self._lock = asyncio.Lock()

    async def list(self) -> list[KernelAddress]:
        async with self._netlink("read the addresses") as netlink:
            messages = [message async for message in await netlink.addr("dump")]
        return [_parse(message) for message in messages]

    async def put(self, ip: str, index: int, valid_s: float) -> None:
        """Add the address alone (/32 or /128), or renew it; the kernel drops it `valid_s` seconds (rounded up) later;
        infinity: never.

        Alone, and deprecated from the start (preferred for 0 s), so that it changes no route and is never chosen as the
        source of a connection that this node opens: with /128 it would win by longest match (RFC 6724, rule 8), and beats
        and store connections would come from an address that may move. Listening and answering are not affected.
        """
        async with self._netlink(f"add {ip}") as netlink:
            await netlink.addr(
                "replace",
                index=index,
                address=ip,
                prefixlen=128 if ":" in ip else 32,
                IFA_PROTO=PROTOCOL,
                IFA_FLAGS=_IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if ":" in ip else 0),
                IFA_CACHEINFO={"ifa_preferred": 0, "ifa_valid": _lifetime(valid_s)},
            )

    async def delete(self, address: KernelAddress) -> None:
        """Nothing happens if it is gone already."""
        async with self._netlink(f"remove {address.ip}") as netlink:
            try:
                await netlink.addr("del", index=address.index, address=address.ip, prefixlen=address.prefix_len)
            except NetlinkError as error:
                if error.code not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                    raise

    async def close(self) -> None:
        async with self._lock:
            self._forget()

    @asynccontextmanager
    async def _netlink(self, task: str) -> AsyncIterator[Any]:
        """The socket, for one request at a time; every error becomes a DriverError."""
        async with self._lock:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    if self._socket is None:
                        self._socket = AsyncIPRoute()
                    yield self._socket
            except NetlinkError as error:
                advice = (
                    "Run the agent as root." if error.code == errno.EPERM else "Check the interfaces with `ip address`."
                )
                raise DriverError(f"the kernel refused to {task}: {error.args[1]}", advice) from error
            except (OSError, TimeoutError) as error:
                self._forget()
                raise DriverError(f"could not {task}: {error!r}", "Check the interfaces with `ip address`.") from error
            except asyncio.CancelledError:
                # The answer is still to come: a new socket must not find it.
                self._forget()
                raise

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _parse(message: Any) -> KernelAddress:
    # Of a point-to-point interface ADDRESS is the peer's and LOCAL our own; IPv6 has LOCAL only there.
    ip = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    assert message["family"] in (socket.AF_INET, socket.AF_INET6)
    return KernelAddress(
        ip=str(ip),
        prefix_len=message["prefixlen"],
        index=message["index"],
        ours=message.get_attr("IFA_PROTO") == PROTOCOL,
        global_scope=message["scope"] < _RT_SCOPE_LINK,
    )


def _lifetime(valid_s: float) -> int:
    return _FOREVER if math.isinf(valid_s) else max(1, math.ceil(valid_s))
