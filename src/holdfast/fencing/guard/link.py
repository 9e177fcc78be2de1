"""The agent's side of the connection to the guard (port GuardLink): always reconnecting, every request with a time-out."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Callable
from typing import Any

from holdfast.config import NodeConfig
from holdfast.core.model import WatchdogAttestation
from holdfast.core.timing import Timing
from holdfast.fencing.guard import messages

log = logging.getLogger(__name__)

_RECONNECT_S = 0.2


class UnixGuardLink:
    """Speaks to the guard at `config.guard_socket` on behalf of the agent run `session`.

    `start()` begins to connect; from then on the connection is opened again each 0.2 s when it is lost, and the last
    word (deadline or idle) is told again, for a guard that was restarted knows nothing. No request raises: False or None
    means that the guard did not hear it or refused it; `reason` says which. `on_disconnect` is called once for each loss.
    """

    def __init__(
        self,
        config: NodeConfig,
        timing: Timing,
        session: str,
        *,
        on_disconnect: Callable[[], None] | None = None,
        timeout_s: float = 1.0,
    ) -> None:
        self._path = str(config.guard_socket)
        self._hello = {"do": "hello", "session": session, "W": math.floor(timing.W), "p": timing.p}
        self._on_disconnect = on_disconnect
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._connected = asyncio.Event()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._last_word: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._departing = False
        self._unheard = False
        self.reason = "not connected to the guard"
        """Why the last request failed, one sentence; empty if it did not."""

    @property
    def connected(self) -> bool:
        """The guard is there, and the last deadline told was acknowledged: what it enforces is what the agent relies on."""
        return self._connected.is_set() and not self._unheard

    @property
    def present(self) -> bool:
        return self._connected.is_set()

    async def start(self) -> None:
        assert self._task is None, "the link is started once"
        self._task = asyncio.create_task(self._run(), name="guard-link")

    async def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the guard; False if it was not there within `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), timeout_s)
        return self.connected

    async def close(self) -> None:
        """End without a word: for the guard this is the same as the agent's death, unless `farewell` came before."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # --- port GuardLink

    async def attest(self) -> WatchdogAttestation | None:
        """None also while the guard has not opened the device: it does so once idle or a deadline was told."""
        answer = await self._ask({"do": "attest"})
        if not answer["ok"]:
            return None
        try:
            return WatchdogAttestation(str(answer["device"]), str(answer["identity"]), int(answer["timeout"]))
        except (KeyError, ValueError, TypeError):
            self.reason = "the guard's attestation is not understood"
            return None

    async def set_deadline(self, deadline: float, grace: float) -> bool:
        # Remembered before it is acknowledged: it is the word of a committed beat, and a lost answer does not undo that.
        self._last_word = {"do": "deadline", "D": deadline, "G": grace}
        self._unheard = not (await self._ask(self._last_word))["ok"]
        return not self._unheard

    async def set_idle(self) -> bool:
        word = {"do": "idle"}
        if not (await self._ask(word))["ok"]:
            return False
        self._last_word = word
        self._unheard = False
        return True

    async def pause(self) -> bool:
        # Remembered at once, like a deadline: a guard that comes back must not enforce the last one.
        self._last_word = {"do": "pause"}
        self._unheard = not (await self._ask(self._last_word))["ok"]
        return not self._unheard

    async def revoke(self) -> bool:
        """The node was claimed: D is now. The guard kills what still runs G seconds later unless idle is declared."""
        self._last_word = None
        return bool((await self._ask({"do": "revoke"}))["ok"])

    async def farewell(self, *, restart: bool) -> bool:
        """The connection ends with it, and is not opened again."""
        self._departing = True  # the guard ends the connection after its answer: no loss to report
        answer = await self._ask({"do": "farewell", "restart": restart})
        if answer["ok"]:
            await self.close()
        else:
            self._departing = False
        return bool(answer["ok"])

    # --- connection

    async def _run(self) -> None:
        while True:
            try:
                await self._connect_and_read()
            except (OSError, TimeoutError, messages.BadMessage) as error:
                self.reason = f"no connection to the guard at {self._path}: {error or type(error).__name__}"
            finally:
                self._disconnected()
            await asyncio.sleep(_RECONNECT_S)

    async def _connect_and_read(self) -> None:
        loop = asyncio.get_running_loop()
        # Not inherited by children (Python's default): a child that held it would keep a dead agent's connection open.
        self._socket = connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        async with asyncio.timeout(self._timeout_s):
            await loop.sock_connect(connection, self._path)
        reader = asyncio.create_task(self._read(connection), name="guard-link-reader")
        try:
            if await self._greet():
                await reader
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, messages.BadMessage):
                await reader

    async def _greet(self) -> bool:
        """Say hello and repeat the last word, before anybody else may ask anything."""
        answer = await self._exchange(self._hello)
        if not answer["ok"]:
            reason = f"the guard refuses this agent: {answer.get('reason')}"
            if reason != self.reason:
                log.error(reason)
            self.reason = reason
            return False
        if self._last_word is not None:
            again = await self._exchange(self._last_word)
            self._unheard = not again["ok"]
            log.info("connected to the guard again, last word %s", "taken" if again["ok"] else again.get("reason"))
        self._connected.set()
        self.reason = ""
        return True

    async def _read(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while packet := await loop.sock_recv(connection, messages.MAX_SIZE):
                answer = messages.decode(packet)
                waiter = self._answers.get(answer.get("id", 0))
                if waiter is not None and not waiter.done():
                    waiter.set_result({"ok": False, "reason": "an answer without a verdict"} | answer)
        finally:
            # Whoever waits for an answer learns it now rather than by time-out.
            self._fail_waiters("the guard closed the connection")

    def _disconnected(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._fail_waiters("the connection to the guard was lost")
        self._lost()

    def _lost(self) -> None:
        if self._connected.is_set():
            self._connected.clear()
            if self._on_disconnect is not None and not self._departing:
                self._on_disconnect()

    def _fail_waiters(self, reason: str) -> None:
        for waiter in self._answers.values():
            if not waiter.done():
                waiter.set_result({"ok": False, "reason": reason})

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The guard's answer. One that does not come in time ends the connection: what it did is unknown."""
        if not self._connected.is_set():
            return {"ok": False, "reason": self.reason}
        try:
            answer = await self._exchange(request)
        except (OSError, TimeoutError):
            self._hang_up()
            self._lost()
            answer = {"ok": False, "reason": f"the guard did not answer `{request['do']}` within {self._timeout_s:g} s"}
        self.reason = "" if answer["ok"] else str(answer.get("reason"))
        return answer

    def _hang_up(self) -> None:
        """Make the reader end, which makes the connection be opened anew."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    async def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        connection = self._socket
        if connection is None:
            raise OSError("not connected")
        self._last_id += 1
        number = self._last_id
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._answers[number] = waiter
        try:
            async with asyncio.timeout(self._timeout_s):
                await loop.sock_sendall(connection, messages.encode({"id": number, **request}))
                return await waiter
        finally:
            del self._answers[number]
