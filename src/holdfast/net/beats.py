"""Authenticated datagrams between nodes (port DatagramBus). Hints only: nothing may depend on one arriving.

Format, all numbers big-endian:

    version 1 | session 8 | counter 8 | sent 8 (µs of CLOCK_BOOTTIME) | length 1 | sender | payload | code 16

The code is BLAKE2b (RFC 7693) keyed with the cluster's beat key, over everything before it and the address and port the
datagram is for, so that it cannot be forwarded to another node. All nodes share the key: a member could speak in another
one's name, but members are trusted, and datagrams prove nothing; who is removed learns no new key (`beat_keys`). What
protects against replay stands in `replay`.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from holdfast.clock import SystemClock
from holdfast.errors import DriverError, InvalidInput
from holdfast.net.beat_keys import BeatKeys, OneKey
from holdfast.net.links import interface_of
from holdfast.net.replay import ReplayGuard, Verdict
from holdfast.ports import Clock

_log = structlog.get_logger(__name__)

VERSION = 1
MAX_BYTES = 1232
"""Fits into one frame of the smallest IPv6 link (1280 - 48), so that a datagram is never fragmented."""
_HEAD = struct.Struct("!BQQQB")
_CODE_BYTES = 16
_BURST = 64
"""Datagrams handled per turn of the event loop and socket."""
_SO_BINDTODEVICE = 25
_IP_FREEBIND = 15

_LOOK_S = 5.0
"""How often the interfaces of the own addresses are looked up again."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Handler = Callable[[bytes, str, str], None]


@dataclass(slots=True)
class BusStats:
    """Counters since the start."""

    sent: int = 0
    not_sent: int = 0
    """Refused by the kernel (no route, link down, full buffers), or no socket of that family."""
    received: int = 0
    """Authentic, fresh, handed on."""
    malformed: int = 0
    """Too short, too long, another version, or no sender."""
    forged: int = 0
    """Wrong code: another cluster's key, another destination, or changed on the way."""
    replayed: int = 0
    stale: int = 0
    old_session: int = 0
    handler_errors: int = 0


class UdpBus:
    """One socket per own address; a datagram leaves from the own address nearest to its destination.

    `session` must grow with each start of this sender (see `next_session`). `key`: 16 to 64 bytes, or where they are to be
    had. `port` 0 binds any free one (tests). Each socket is tied to the interface of its address: a beat of one network must
    not find its way through another one by routing, or the loss of a network could not be seen.
    """

    def __init__(
        self,
        node_id: str,
        key: bytes | BeatKeys,
        session: int,
        addresses: Sequence[str],
        port: int,
        clock: Clock | None = None,
    ) -> None:
        self._sender = node_id.encode()
        if not 1 <= len(self._sender) <= 128:
            raise InvalidInput(f"`{node_id}` cannot name a node", "Use 1 to 128 characters.")
        self._keys = OneKey(key) if isinstance(key, bytes) else key
        self._session = session
        self._addresses = [ipaddress.ip_address(address) for address in addresses]
        self._port = port
        self._clock = clock or SystemClock()
        self._counter = 0
        self._handlers: list[Handler] = []
        self._guard = ReplayGuard()
        self._sockets: dict[_Address, socket.socket] = {}
        self._ports: dict[_Address, int] = {}
        self._tied: dict[_Address, int] = {}
        """Number of the interface each socket is tied to; 0: none carried the address."""
        self._looked_at = 0.0
        self.stats = BusStats()

    def open(self) -> None:
        """Bind the sockets and begin to listen; needs a running event loop. Raises DriverError (port taken, no rights)."""
        for address in self._addresses:
            self._open(address, self._port)
        self._looked_at = self._clock.now()

    def close(self) -> None:
        for address in list(self._sockets):
            self._shut(address)

    @property
    def ports(self) -> dict[str, int]:
        """Own address → port it is bound to."""
        return {str(address): port for address, port in self._ports.items()}

    def on_receive(self, handler: Handler) -> None:
        self._handlers.append(handler)

    def send(self, payload: bytes, host: str, port: int) -> None:
        self._follow_interfaces()
        try:
            target = ipaddress.ip_address(host)
        except ValueError:
            self.stats.not_sent += 1
            return
        handle = self._nearest(target)
        for key in self._keys.current():
            datagram = self.seal(payload, host, port, key)
            if handle is None or len(datagram) > MAX_BYTES:
                self.stats.not_sent += 1
                return
            try:
                handle.sendto(datagram, (host, port))
                self.stats.sent += 1
            except OSError:
                # ENETUNREACH, EPERM, full buffers, …: the receiver's silence is the message.
                self.stats.not_sent += 1

    # --- inside -------------------------------------------------------------------------------------------------------

    def _open(self, address: _Address, port: int) -> None:
        interface = interface_of(str(address))
        handle = _bind(str(address), port, interface)
        self._sockets[address] = handle
        self._tied[address] = _index(interface)
        self._ports[address] = handle.getsockname()[1]
        asyncio.get_running_loop().add_reader(handle, self._receive, handle, _destination(handle))

    def _follow_interfaces(self) -> None:
        """Open a socket anew when its address has come to another interface: late at boot, or a driver made it again."""
        if self._clock.now() < self._looked_at + _LOOK_S:
            return
        self._looked_at = self._clock.now()
        for address, port in self._ports.items():
            index = _index(interface_of(str(address)))
            if index in (0, self._tied.get(address)):
                continue
            self._shut(address)
            try:
                self._open(address, port)
            except DriverError as error:  # the next look tries again
                _log.warning("datagrams", error=str(error))

    def _shut(self, address: _Address) -> None:
        self._tied.pop(address, None)
        handle = self._sockets.pop(address, None)
        if handle is not None:
            asyncio.get_running_loop().remove_reader(handle)
            handle.close()

    def _nearest(self, target: _Address) -> socket.socket | None:
        """The socket of the own address that shares the longest prefix with the target."""
        same = [address for address in self._sockets if address.version == target.version]
        if not same:
            return None
        return self._sockets[min(same, key=lambda address: int(address) ^ int(target))]

    def seal(self, payload: bytes, host: str, port: int, key: bytes | None = None) -> bytes:
        """The next datagram as it goes over the wire, for that destination only; under the present key if none is given."""
        destination = ipaddress.ip_address(host).packed + port.to_bytes(2)
        self._counter += 1
        sent = int(self._clock.now() * 1e6)
        body = _HEAD.pack(VERSION, self._session, self._counter, sent, len(self._sender)) + self._sender + payload
        return body + _code(body, destination, key or self._keys.current()[0])

    def _receive(self, handle: socket.socket, destination: bytes) -> None:
        for _ in range(_BURST):
            try:
                datagram, source = handle.recvfrom(MAX_BYTES + 1)
            except OSError:  # empty, or an error of an earlier send
                return
            self._handle(datagram, destination, source[0])

    def _handle(self, datagram: bytes, destination: bytes, source: str) -> None:
        if not _HEAD.size + _CODE_BYTES < len(datagram) <= MAX_BYTES or datagram[0] != VERSION:
            self.stats.malformed += 1
            return
        body, code = datagram[:-_CODE_BYTES], datagram[-_CODE_BYTES:]
        if not any(hmac.compare_digest(code, _code(body, destination, key)) for key in self._keys.current()):
            self.stats.forged += 1
            return
        _, session, counter, sent, length = _HEAD.unpack_from(body)
        name, payload = body[_HEAD.size : _HEAD.size + length], body[_HEAD.size + length :]
        try:
            sender = name.decode()
        except UnicodeDecodeError:
            sender = ""
        if not sender or len(name) != length:
            self.stats.malformed += 1
            return
        verdict = self._guard.check(sender, session, counter, sent / 1e6, self._clock.now())
        self._count(verdict)
        if verdict is Verdict.FRESH:
            self._deliver(payload, sender, source)

    def _count(self, verdict: Verdict) -> None:
        match verdict:
            case Verdict.FRESH:
                self.stats.received += 1
            case Verdict.REPLAYED:
                self.stats.replayed += 1
            case Verdict.STALE:
                self.stats.stale += 1
            case Verdict.OLD_SESSION:
                self.stats.old_session += 1

    def _deliver(self, payload: bytes, sender: str, source: str) -> None:
        for handler in self._handlers:
            try:
                handler(payload, sender, source)
            except Exception:
                # A datagram must not be able to stop the listener.
                self.stats.handler_errors += 1
                _log.exception("a datagram's handler failed", sender=sender)


def _code(body: bytes, destination: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(body + destination, digest_size=_CODE_BYTES, key=key, person=b"holdfast-beat").digest()


def next_session(path: Path) -> int:
    """A session number above all earlier ones of this file: a counter of starts, then 32 random bits that tell apart two
    sessions should the file ever be lost. Never raises: without the file others refuse this node's datagrams for up to
    replay.FORGET_S seconds, then they relearn.
    """
    try:
        count = int(path.read_text()) + 1
    except (OSError, ValueError):
        count = 1
    count = max(1, min(count, 2**31 - 1))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(f"{count}\n")
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        _log.warning("the session counter cannot be kept", path=str(path), error=str(error))
    return count << 32 | secrets.randbits(32)


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface) if interface else 0
    except OSError:  # it has just gone
        return 0


def _bind(address: str, port: int, interface: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    handle = socket.socket(family, socket.SOCK_DGRAM)
    try:
        handle.setblocking(False)
        # The address may come later (interface down at boot, IPv6 still tentative).
        handle.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        if interface:
            handle.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode())
        handle.bind((address, port))
    except OSError as error:
        handle.close()
        raise DriverError(
            f"cannot listen for datagrams on {address} port {port}: {error}", "Is another agent running on this node?"
        ) from error
    return handle


def _destination(handle: socket.socket) -> bytes:
    """What senders authenticate as the destination of datagrams to this socket."""
    address, port = handle.getsockname()[:2]
    return ipaddress.ip_address(address).packed + int(port).to_bytes(2)
