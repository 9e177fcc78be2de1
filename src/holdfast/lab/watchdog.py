"""A watchdog device for a lab node: real ioctls, real magic close, and a node that dies when it is not petted.

It is a FUSE file system whose root is one regular file, mounted over the node's own /dev/watchdog and served from
outside the node, so that a frozen node cannot feed it. The process in the node uses it like the kernel's own device
(Documentation/watchdog/watchdog-api.rst in Linux): open arms it, any write or WDIOC_KEEPALIVE pets it, closing it
disarms it only if the last write held the letter V and the device was not made with `nowayout`.

One instance stands for one boot of the node. Usage: make it, mount(2) `mount_data()` with type "fuse" in the node's
mount namespace from a process that holds `fileno()` (a fork of the maker does), `start()`; `stop()` at power-off.
"""

import ctypes
import errno
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

MS_NOSUID = 2
MS_NODEV = 4

# linux/watchdog.h: _IOC(direction, 'W', number, size); direction 2 reads from the device, 3 both ways.


def _ioc(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("W") << 8 | number


WDIOC_GETSUPPORT = _ioc(2, 0, 40)
WDIOC_GETSTATUS = _ioc(2, 1, 4)
WDIOC_GETBOOTSTATUS = _ioc(2, 2, 4)
WDIOC_SETOPTIONS = _ioc(2, 4, 4)
WDIOC_KEEPALIVE = _ioc(2, 5, 4)
WDIOC_SETTIMEOUT = _ioc(3, 6, 4)
WDIOC_GETTIMEOUT = _ioc(2, 7, 4)
WDIOC_GETPRETIMEOUT = _ioc(2, 9, 4)
WDIOC_GETTIMELEFT = _ioc(2, 10, 4)

WDIOF_CARDRESET = 0x0020
WDIOF_SETTIMEOUT = 0x0080
WDIOF_MAGICCLOSE = 0x0100
WDIOF_KEEPALIVEPING = 0x8000

# linux/fuse.h, the operations a single device-like file needs.
_FORGET, _GETATTR, _SETATTR, _OPEN, _WRITE, _STATFS, _RELEASE = 2, 3, 4, 14, 16, 17, 18
_FSYNC, _FLUSH, _INIT, _ACCESS, _INTERRUPT, _IOCTL, _BATCH_FORGET = 20, 25, 26, 34, 36, 39, 42
_FOPEN_DIRECT_IO, _FOPEN_NONSEEKABLE, _FOPEN_STREAM = 1, 4, 16
_IN_HEADER = struct.Struct("<IIQQIII4x")
_OUT_HEADER = struct.Struct("<IiQ")
_BUFFER = 140_000
"""Size of a read from /dev/fuse before the kernel has learnt our `max_write`."""
_UNMOUNTED_POLL_S = 0.02


class FuseWatchdog(threading.Thread):
    """Serves one watchdog device and calls `on_fire` (in this thread) when it was not petted in time.

    `timeout_s` is what the device is set to before WDIOC_SETTIMEOUT; that request is rounded up to a multiple of
    `granularity_s` and refused outside 1…`max_timeout_s`, as real devices do. `nowayout` makes the magic close
    ineffective. `card_reset` is what WDIOC_GETBOOTSTATUS says: the last reboot was done by the watchdog.
    """

    def __init__(
        self,
        on_fire: Callable[[], None],
        *,
        nowayout: bool = False,
        timeout_s: int = 60,
        max_timeout_s: int = 600,
        granularity_s: int = 1,
        identity: str = "Holdfast lab watchdog",
        card_reset: bool = False,
    ) -> None:
        super().__init__(name="lab-watchdog", daemon=True)
        self._on_fire = on_fire
        self._nowayout = nowayout
        self._timeout_s = timeout_s
        self._max_timeout_s = max_timeout_s
        self._granularity_s = granularity_s
        self._identity = identity
        self._card_reset = card_reset
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake_r, self._wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stopping = threading.Event()
        self._closing = threading.Lock()
        self._buffer = bytearray(_BUFFER)
        self._deadline: float | None = None
        self._open = False
        self._magic = False
        self._fired_at: float | None = None
        self._pings = 0

    # --- for the lab and its tests

    def mount_data(self) -> str:
        """The data argument of mount(2), type "fuse", flags MS_NOSUID | MS_NODEV, target the node's /dev/watchdog.

        The number in it is this process's file descriptor: the mounting process must be a fork of this one, or have
        received the descriptor under the same number.
        """
        return f"fd={self._fuse},rootmode=100600,user_id={os.geteuid()},group_id={os.getegid()}"

    def mount_over(self, path: str) -> None:
        """Mount the device over the existing file `path` in the mount namespace of the calling process."""
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = (b"lab-watchdog", os.fsencode(path), b"fuse", ctypes.c_ulong(MS_NOSUID | MS_NODEV))
        if libc.mount(*arguments, self.mount_data().encode()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"mounting the lab watchdog over {path}: {os.strerror(number)}")

    def fileno(self) -> int:
        """The /dev/fuse descriptor."""
        return self._fuse

    def stop(self) -> None:
        """Power off: stops the timer for good, never fires afterwards, ends the thread and lets go of the mount."""
        self._stopping.set()
        with self._closing:
            if self._wake_w >= 0:
                os.write(self._wake_w, b"x")
        if self.is_alive() and threading.current_thread() is not self:
            self.join()
        if not self.is_alive():
            self._close()

    @property
    def is_open(self) -> bool:
        """A process holds the device open."""
        return self._open

    @property
    def armed(self) -> bool:
        """The timer runs: the node dies unless it is petted."""
        return self._deadline is not None

    @property
    def fired(self) -> bool:
        return self._fired_at is not None

    @property
    def fired_at(self) -> float | None:
        """When it fired (CLOCK_BOOTTIME seconds of the machine)."""
        return self._fired_at

    @property
    def pings(self) -> int:
        """How often it was petted (opening and setting the time-out count)."""
        return self._pings

    @property
    def timeout_s(self) -> int:
        return self._timeout_s

    # --- the thread

    def run(self) -> None:
        poller = select.poll()
        poller.register(self._fuse, select.POLLIN)
        poller.register(self._wake_r, select.POLLIN)
        try:
            while not self._stopping.is_set() and self._serve_once(poller):
                self._fire_if_due()
        finally:
            self._close()

    def _serve_once(self, poller: select.poll) -> bool:
        """Wait for one request or the deadline. False when the node is gone (its mount ended)."""
        left_ms = None if self._deadline is None else max(0.0, self._deadline - _now()) * 1000
        if not poller.poll(left_ms) or self._stopping.is_set():
            return True
        try:
            size = os.readv(self._fuse, [self._buffer])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            if error.errno == errno.EPERM:  # not mounted yet; poll() reports that as an error at once
                self._stopping.wait(_UNMOUNTED_POLL_S)
                return True
            if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                return True
            raise
        self._handle(bytes(self._buffer[:size]))
        return True

    def _fire_if_due(self) -> None:
        if self._deadline is None or _now() < self._deadline or self._stopping.is_set():
            return
        self._deadline = None
        self._fired_at = _now()
        try:
            self._on_fire()
        except Exception:
            log.exception("lab watchdog: on_fire failed, the node may still be alive")

    def _close(self) -> None:
        with self._closing:
            self._deadline = None
            for fd in (self._fuse, self._wake_r, self._wake_w):
                if fd >= 0:
                    os.close(fd)
            self._fuse = self._wake_r = self._wake_w = -1

    # --- the timer

    def _ping(self) -> None:
        self._pings += 1
        if self._fired_at is None:
            self._deadline = _now() + self._timeout_s

    def _set_timeout(self, wanted_s: int) -> None:
        if not 1 <= wanted_s <= self._max_timeout_s:
            raise OSError(errno.EINVAL, "time-out out of range")
        self._timeout_s = -(-wanted_s // self._granularity_s) * self._granularity_s
        self._ping()

    # --- FUSE

    def _handle(self, request: bytes) -> None:
        length, operation, unique, *_ = _IN_HEADER.unpack_from(request)
        body = request[_IN_HEADER.size : length]
        if operation in (_FORGET, _INTERRUPT, _BATCH_FORGET):
            return  # they take no answer
        try:
            answer = self._answer(operation, body)
        except OSError as error:
            self._reply(unique, b"", error.errno or errno.EIO)
        else:
            self._reply(unique, answer, 0)

    def _reply(self, unique: int, data: bytes, error: int) -> None:
        try:
            os.write(self._fuse, _OUT_HEADER.pack(_OUT_HEADER.size + len(data), -error, unique) + data)
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ENODEV):  # interrupted, or the node is gone
                raise

    def _answer(self, operation: int, body: bytes) -> bytes:
        """The body of the answer; OSError carries the error number for the caller in the node."""
        if operation == _INIT:
            readahead = struct.unpack_from("<IIII", body)[2]
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, 0, 12, 9, 4096, 1, 1, 0, 0)
        if operation in (_GETATTR, _SETATTR):
            regular_file, inode = 0o100600, 1
            return struct.pack("<QII6Q10I", 1, 0, 0, inode, 0, 0, 0, 0, 0, 0, 0, 0, regular_file, 1, 0, 0, 0, 4096, 0)
        if operation == _OPEN:
            return self._on_open()
        if operation == _WRITE:
            return self._on_write(body)
        if operation == _RELEASE:
            return self._on_release()
        if operation == _IOCTL:
            return self._on_ioctl(body)
        if operation == _STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if operation in (_FSYNC, _FLUSH, _ACCESS):
            return b""
        raise OSError(errno.ENOSYS, "not an operation of a watchdog device")

    def _on_open(self) -> bytes:
        if self._open:
            raise OSError(errno.EBUSY, "the watchdog is open already")
        self._open = True
        self._magic = False
        self._ping()
        return struct.pack("<QIi", 1, _FOPEN_DIRECT_IO | _FOPEN_NONSEEKABLE | _FOPEN_STREAM, 0)

    def _on_write(self, body: bytes) -> bytes:
        size = struct.unpack_from("<QQI", body)[2]
        # As in the kernel: each write withdraws an earlier V, only a V in the last one counts.
        self._magic = b"V" in body[40 : 40 + size]
        self._ping()
        return struct.pack("<II", size, 0)

    def _on_release(self) -> bytes:
        self._open = False
        if self._magic and not self._nowayout:
            self._deadline = None
        return b""

    def _on_ioctl(self, body: bytes) -> bytes:
        _fh, _flags, command, _argument, in_size, out_size = struct.unpack_from("<QIIQII", body)
        data = self._ioctl(command, body[32 : 32 + in_size])
        return struct.pack("<iIII", 0, 0, 0, 0) + data[:out_size]

    def _ioctl(self, command: int, argument: bytes) -> bytes:
        if command == WDIOC_GETSUPPORT:
            options = WDIOF_KEEPALIVEPING | WDIOF_MAGICCLOSE | WDIOF_SETTIMEOUT
            return struct.pack("<II32s", options, 1, self._identity.encode()[:31])
        if command == WDIOC_KEEPALIVE:
            self._ping()
            number = 0
        elif command == WDIOC_SETTIMEOUT:
            self._set_timeout(struct.unpack("<i", argument)[0])
            number = self._timeout_s
        elif command == WDIOC_GETTIMEOUT:
            number = self._timeout_s
        elif command == WDIOC_GETTIMELEFT:
            number = int(max(0.0, (self._deadline or 0.0) - _now()))
        elif command == WDIOC_GETBOOTSTATUS:
            number = WDIOF_CARDRESET if self._card_reset else 0
        elif command in (WDIOC_GETSTATUS, WDIOC_GETPRETIMEOUT):
            number = 0
        elif command == WDIOC_SETOPTIONS and self._nowayout:
            # The ABI declares this request as reading although it writes, and FUSE cannot carry that: its argument is
            # not known here. Only the refusal to be disabled can be given; otherwise it counts as not implemented.
            raise OSError(errno.EBUSY, "nowayout: this watchdog cannot be disabled")
        else:
            raise OSError(errno.ENOTTY, "not a request of this watchdog")
        return struct.pack("<i", number)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
