"""One login to one portal of a target, over libiscsi, in asyncio.

The library is driven by the event loop: it says which events it waits for, is called when they come, and answers by calling
back. A session that broke stays broken; whoever wants another makes another.
"""

import asyncio
import contextlib
import ctypes
import ipaddress
import itertools
import re
import select
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.clock import SystemClock
from holdfast.errors import DriverError, InvalidInput
from holdfast.ports import Clock
from holdfast.services.iscsi import libiscsi
from holdfast.services.iscsi.scsi import STATUS_GOOD, Command, ScsiError

_LOGOUT_S = 1.0
_STATUS = re.compile(r"\((\d+)\)\s*$")
"""libiscsi ends its words about a refused login with the status of the response, class and detail in one number."""


class PathLost(DriverError):
    """No answer: connection refused, broken or silent. A command that was under way may or may not have been executed."""


class LoginRefused(DriverError):
    """The portal answered and let us not in, or did not prove who it is."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(
            f"{where} refused the login: {what}", "Check target name, initiator name, access list and CHAP secrets."
        )
        found = _STATUS.search(what)
        self.status_class, self.status_detail = divmod(int(found[1]), 256) if found else (0, 0)
        """RFC 7143, section 11.13.5: class 2 is our fault (2/1 credentials, 2/2 not allowed, 2/3 no such target), 3 the
        target's; 0/0 where it ended otherwise."""


@dataclass(frozen=True, slots=True)
class Chap:
    user: str
    secret: str

    def __repr__(self) -> str:
        return f"Chap(user={self.user!r})"


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks whom. `target_chap` (mutual CHAP): what the target must prove to know."""

    target: str
    initiator: str
    chap: Chap | None = None
    target_chap: Chap | None = None

    def __post_init__(self) -> None:
        texts = [self.target, self.initiator]
        for chap in (self.chap, self.target_chap):
            texts += [chap.user, chap.secret] if chap else []
        if any(not 0 < len(text.encode()) < 224 or "\0" in text for text in texts):
            raise InvalidInput("Names and secrets of an iSCSI login have 1 to 223 bytes")
        if self.target_chap and not self.chap:
            raise InvalidInput("Mutual CHAP needs the initiator's own user and secret too")


@dataclass(slots=True)
class _Waiting:
    """Somebody waits for an answer; what the library uses until then is kept here."""

    future: "asyncio.Future[_Answer]"
    task: "ctypes._Pointer[libiscsi.Task] | None" = None
    sent: "ctypes.Array[ctypes.c_char] | None" = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    data: bytes = b""
    key: int = 0
    asc: int = 0
    ascq: int = 0


class Session:
    """Commands may run concurrently. Everything happens in the event loop's thread. Make it with `Session.open`."""

    def __init__(self, portal: str, login: Login, clock: Clock) -> None:
        check_portal(portal)
        self.portal, self.login = portal, login
        self.problem = ""
        """Why it ended; empty while it lives."""
        self.on_end: Callable[[], None] = lambda: None
        self._clock = clock
        self._where = f"{login.target} at {portal}"
        self._loop = asyncio.get_running_loop()
        self._library = libiscsi.load()
        self._callback = libiscsi.Callback(self._answered)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._broken = ""
        self._fd = -1
        self._events = 0
        self._context: int | None = self._library.iscsi_create_context(login.initiator.encode())
        if not self._context:
            raise DriverError("libiscsi has made no context", "Is there memory left?")
        self._prepare()

    @classmethod
    async def open(cls, portal: str, login: Login, *, timeout_s: float = 3.0, clock: Clock | None = None) -> "Session":
        """Connect and log in. Raises PathLost, LoginRefused, InvalidInput, or DriverError without libiscsi."""
        session = cls(portal, login, clock or SystemClock())
        try:
            await session._log_in(timeout_s)
        except BaseException:
            session._end("the login failed")
            raise
        return session

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, lun: int, command: Command, *, timeout_s: float) -> bytes:
        """Send a command and return what it is answered with.

        Raises ScsiError if the target refuses it. Raises PathLost if no answer came within `timeout_s`; the session is at
        its end then, since an answer that comes later could belong to anything.
        """
        self._check_alive()
        direction, length = command.direction, len(command.data) or command.expects
        task = self._library.scsi_create_task(len(command.cdb), command.cdb, direction, length)
        assert task, "libiscsi has no memory left"
        sent = ctypes.create_string_buffer(command.data, length) if command.data else None
        out = libiscsi.DataOut(length, ctypes.cast(sent, ctypes.c_void_p)) if sent else None
        number, future = self._expect(task, sent)
        if self._library.iscsi_scsi_command_async(self._context, lun, task, self._callback, out, number) != 0:
            self._waiting.pop(number)
            self._library.scsi_free_scsi_task(task)
            self._end(self._words())
            self._check_alive()
        answer = await self._answer(future, timeout_s, command.name)
        if answer.status != STATUS_GOOD:
            raise ScsiError(
                f"LUN {lun} of {self._where}", command.name, answer.status, answer.key, answer.asc, answer.ascq
            )
        return answer.data

    async def close(self) -> None:
        """Log out if somebody still listens; commands under way end with PathLost. Never raises."""
        if self._context is None:
            return
        number, future = self._expect()
        try:
            if self._library.iscsi_logout_async(self._context, self._callback, number) == 0:
                with contextlib.suppress(PathLost):
                    await self._answer(future, _LOGOUT_S, "the logout")
        finally:
            self._end("it was closed")

    # --- the library -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        library, login = self._library, self.login
        library.iscsi_set_targetname(self._context, login.target.encode())
        library.iscsi_set_session_type(self._context, libiscsi.SESSION_NORMAL)
        library.iscsi_set_header_digest(self._context, libiscsi.HEADER_DIGEST_NONE)
        library.iscsi_set_noautoreconnect(self._context, 1)
        if login.chap:
            library.iscsi_set_initiator_username_pwd(
                self._context, login.chap.user.encode(), login.chap.secret.encode()
            )
        if login.target_chap:
            library.iscsi_set_target_username_pwd(
                self._context, login.target_chap.user.encode(), login.target_chap.secret.encode()
            )

    async def _log_in(self, timeout_s: float) -> None:
        ends = self._clock.now() + timeout_s
        number, future = self._expect()
        if self._library.iscsi_connect_async(self._context, self.portal.encode(), self._callback, number) != 0:
            raise PathLost(f"{self._where} cannot be reached: {self._words()}", "Is its node up?")
        connected = await self._answer(future, timeout_s, "the connection")
        if connected.status != STATUS_GOOD:
            raise PathLost(f"{self._where} cannot be reached: {self._words()}", "Is its node up?")
        number, future = self._expect()
        if self._library.iscsi_login_async(self._context, self._callback, number) != 0:
            raise LoginRefused(self._where, self._words())
        logged_in = await self._answer(future, ends - self._clock.now(), "the login")
        if logged_in.status != STATUS_GOOD:
            raise LoginRefused(self._where, self._words())

    def _expect(
        self,
        task: "ctypes._Pointer[libiscsi.Task] | None" = None,
        sent: "ctypes.Array[ctypes.c_char] | None" = None,
    ) -> "tuple[int, asyncio.Future[_Answer]]":
        number, future = next(self._numbers), self._loop.create_future()
        self._waiting[number] = _Waiting(future, task, sent)
        return number, future

    async def _answer(self, future: "asyncio.Future[_Answer]", timeout_s: float, what: str) -> _Answer:
        """Raises PathLost if the connection broke or nothing came in time."""
        self._watch()
        try:
            async with self._clock.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            self._end(f"{what} was not answered within {timeout_s:.3g} s")
            self._check_alive()
            raise
        if answer.status >= libiscsi.STATUS_CANCELLED and what != "the login":
            self._end(self._words())
            self._check_alive()
        return answer

    def _answered(self, _: int | None, status: int, __: int | None, number: int | None) -> None:
        """Called by the library, so nothing may be raised and nothing of its own may be ended in here."""
        waiting = self._waiting.pop(number or 0, None)
        if status >= libiscsi.STATUS_CANCELLED or waiting is None:
            self._broken = self._broken or self._words()
        if waiting is None:  # a connection's second word: it broke
            return
        answer = _Answer(status)
        if waiting.task:
            found = waiting.task.contents
            data, sense = found.datain, found.sense
            if status == STATUS_GOOD and data.size > 0 and data.data:
                answer = _Answer(status, ctypes.string_at(data.data, data.size))
            elif status < libiscsi.STATUS_CANCELLED:
                answer = _Answer(status, b"", sense.key, sense.ascq >> 8 & 0xFF, sense.ascq & 0xFF)
            self._library.scsi_free_scsi_task(waiting.task)
        if not waiting.future.done():
            waiting.future.set_result(answer)

    def _words(self) -> str:
        """What the library says went wrong."""
        if self._context is None:
            return self.problem
        said = (self._library.iscsi_get_error(self._context) or b"").decode("utf-8", "replace").strip(" .\n")
        return self._broken or said or "the connection was closed"

    def _serve(self, events: int) -> None:
        if self._context is None:
            return
        failed = self._library.iscsi_service(self._context, events) < 0
        if failed:
            self._broken = self._broken or self._words()
        self._watch()

    def _watch(self) -> None:
        """Wait for what the library waits for; the end if it has given up."""
        if self._context is None:
            return
        if self._broken:
            self._end(self._broken)
            return
        fd, events = self._library.iscsi_get_fd(self._context), self._library.iscsi_which_events(self._context)
        if (fd, events) == (self._fd, self._events):
            return
        self._unwatch()
        if fd >= 0:
            self._fd, self._events = fd, events
            if events & select.POLLIN:
                self._loop.add_reader(fd, self._serve, select.POLLIN)
            if events & select.POLLOUT:
                self._loop.add_writer(fd, self._serve, select.POLLOUT)

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
        self._fd, self._events = -1, 0

    def _end(self, problem: str) -> None:
        """Hang up and give everything back. Whoever waits is told. Idempotent."""
        if self._context is None:
            return
        self.problem = problem
        self._unwatch()
        context, self._context = self._context, None
        self._library.iscsi_destroy_context(
            context
        )  # calls back for commands under way, but not before login or after logout
        for waiting in self._waiting.values():
            if waiting.task:
                self._library.scsi_free_scsi_task(waiting.task)
            if not waiting.future.done():
                waiting.future.set_result(_Answer(libiscsi.STATUS_CANCELLED))
        self._waiting.clear()
        self.on_end()

    def _check_alive(self) -> None:
        if self._context is None:
            raise PathLost(f"The path to {self._where} is lost: {self.problem}", "Log in again, or use another path.")


def check_portal(portal: str) -> None:
    """`IP:PORT` or `[IPv6]:PORT`: no names, since looking one up would block. Raises InvalidInput."""
    host, _, port = portal.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        version = ipaddress.ip_address(host[1:-1] if bracketed else host).version
        if not 0 < int(port) < 65536 or (version == 6) != bracketed:
            raise ValueError
    except ValueError:
        raise InvalidInput(f"{portal!r} is not a portal", "Give ADDRESS:PORT, for example 10.0.0.1:3260.") from None
