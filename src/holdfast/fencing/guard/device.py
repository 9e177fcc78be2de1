"""The watchdog device as the guard uses it: opened for life, petted by a write, disarmed only by magic close.

The calls are those of Documentation/watchdog/watchdog-api.rst in Linux.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable


def _ioc(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("W") << 8 | number


_GETSUPPORT = _ioc(2, 0, 40)
_SETOPTIONS = _ioc(2, 4, 4)
_SETTIMEOUT = _ioc(3, 6, 4)
_GETTIMEOUT = _ioc(2, 7, 4)
_DISABLECARD = 1
_MAGICCLOSE = 0x0100
_INT = struct.Struct("@i")


class WatchdogDevice:
    """One watchdog device. No method raises: what went wrong last is in `problem`, one sentence, empty if all is well.

    `limit_s` is the largest time-out that may be attested (the profile's W).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.limit_s = 0
        self.identity = ""
        self.timeout_s = 0
        self.problem = "" if path else "no watchdog device is configured"
        self._fd = -1
        self._magic_close = False

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def open(self, may_pet: Callable[[], bool]) -> bool:
        """Open (which arms and pets it) and set the time-out. True if it is open afterwards. `may_pet` is asked again before
        the time-out is set, which Linux does together with a pet."""
        if self._fd >= 0 or not self.path:
            return self._fd >= 0
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            self.problem = _opening_failed(self.path, error)
            return False
        self.problem = ""
        self._read_support()
        self.set_timeout(may_pet)
        return True

    def _read_support(self) -> None:
        buffer = bytearray(40)
        try:
            fcntl.ioctl(self._fd, _GETSUPPORT, buffer)
        except OSError as error:
            self.problem = f"{self.path} does not answer WDIOC_GETSUPPORT: {error.strerror}"
            return
        options, _firmware, identity = struct.unpack("@II32s", buffer)
        self.identity = identity.split(b"\0")[0].decode(errors="replace")
        self._magic_close = bool(options & _MAGICCLOSE)

    def set_timeout(self, may_pet: Callable[[], bool]) -> None:
        """Set the device to `limit_s`, unless it is that already, and read back what it made of that."""
        if self._fd < 0 or not self.limit_s:
            return
        self.timeout_s = self._read_timeout()
        if self.timeout_s == self.limit_s or not may_pet():
            return
        try:
            fcntl.ioctl(self._fd, _SETTIMEOUT, bytearray(_INT.pack(self.limit_s)))
        except OSError as error:
            # Devices with a fixed time-out refuse; what counts is what is read back.
            self.problem = f"{self.path} refuses a time-out of {self.limit_s} s: {error.strerror}"
        self.timeout_s = self._read_timeout()

    def _read_timeout(self) -> int:
        buffer = bytearray(_INT.size)
        try:
            fcntl.ioctl(self._fd, _GETTIMEOUT, buffer)
        except OSError as error:
            self.problem = f"{self.path} does not say its time-out: {error.strerror}"
            return 0
        return int(_INT.unpack(buffer)[0])

    def refusal(self) -> str:
        """Why the device must not be attested now; empty if it may."""
        if self._fd < 0:
            return self.problem or f"{self.path} is not open yet: declare idle or tell a deadline first"
        self.timeout_s = self._read_timeout()
        if not 0 < self.timeout_s <= self.limit_s:
            return self.problem or (
                f"{self.path} has a time-out of {self.timeout_s} s, more than the {self.limit_s} s of the profile"
            )
        if not self._magic_close:
            # Such a device disarms whenever it is closed: with the guard killed and the agent hung nothing would fire.
            return f"{self.path} ({self.identity}) has no magic close: it would be disarmed by the guard's own death"
        return ""

    def pet(self) -> bool:
        """Restart the device's timer."""
        try:
            os.write(self._fd, b"\0")
        except OSError as error:
            self.problem = f"{self.path} cannot be petted: {error.strerror}"
            return False
        return True

    def disarm(self) -> bool:
        """Magic close. False if the device cannot be disarmed (nowayout): it is left open and armed, keep petting it."""
        if self._fd < 0:
            return True
        try:
            fcntl.ioctl(self._fd, _SETOPTIONS, bytearray(_INT.pack(_DISABLECARD)))
        except OSError as error:
            if error.errno == errno.EBUSY:
                self.problem = f"{self.path} was made with nowayout and cannot be disarmed"
                return False
            # Others do not know the request (ENOTTY, EOPNOTSUPP, EINVAL): the magic close decides.
        try:
            os.write(self._fd, b"V")
        except OSError as error:
            self.problem = f"{self.path} did not take the magic close: {error.strerror}"
            return False
        os.close(self._fd)
        self._fd = -1
        return True


def _opening_failed(path: str, error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return f"{path} is busy: another program owns the watchdog (systemd's RuntimeWatchdogSec, watchdogd, watchdog-mux?)"
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{path} does not exist: this node has no watchdog device (load its driver, or softdog)"
    return f"{path} cannot be opened: {error.strerror}"
