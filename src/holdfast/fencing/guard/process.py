"""The guard's loop: the thin shell of I/O around `core`.

One thread, no memory growth, nothing that can block except the write to the watchdog device itself.
"""

import json
import os
import select
import signal
import socket
import time
from typing import Any

from holdfast.fencing.guard import core, messages
from holdfast.fencing.guard.core import Action, Event, Gate, State
from holdfast.fencing.guard.device import WatchdogDevice
from holdfast.fencing.guard.group import StrictGroup
from holdfast.fencing.guard.peer import Peer

_DEFAULT_PET_PERIOD_S = 1.0
_MAX_PEERS = 16
_ROUNDS = 8
"""Packets of one peer that are read before the clock is looked at again."""


def boottime() -> float:
    """CLOCK_BOOTTIME in seconds: it goes on while the machine is suspended, and nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_json_host: str | None = None
"""The node's name if lines are to be JSON."""


def speak_json(host: str) -> None:
    """From now on (docs/monitoring.md, Logs)."""
    global _json_host
    _json_host = host


def _line(text: str) -> str:
    if _json_host is None:
        return f"holdfast-guard: {text}\n"
    wall = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    words = {"timestamp": wall, "level": "info", "event": text, "daemon": "guard", "host": _json_host}
    return json.dumps(words, ensure_ascii=False) + "\n"


def say(text: str) -> None:
    """One line to stderr. A reader that has stopped reading must never stop the guard: the line is dropped then."""
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    try:
        if any(mask & select.POLLOUT for _, mask in poller.poll(0)):
            os.write(2, _line(text).encode())
    except OSError:
        pass


class Guard:
    """Runs until it may end. `listener` is its bound SOCK_SEQPACKET socket."""

    def __init__(self, device: WatchdogDevice, strict: StrictGroup, listener: socket.socket) -> None:
        self._device = device
        self._strict = strict
        self._listener = listener
        self._gate = Gate()
        self._agent: Peer | None = None
        self._peers: dict[int, Peer] = {}
        self._pet_period_s = _DEFAULT_PET_PERIOD_S
        self._next_pet = 0.0
        self._exiting = False
        self._said_problem = ""
        self._poller = select.poll()
        self._poller.register(listener.fileno(), select.POLLIN)

    def run(self) -> None:
        signals_r, signals_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poller.register(signals_r, select.POLLIN)
        signal.set_wakeup_fd(signals_w, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        say(f"ready, watchdog {self._device.path or 'none'}, strict group {self._strict.path}")
        while not self._exiting:
            ready = dict(self._poller.poll(self._sleep_ms()))
            # What was said is heard before the time is judged: a guard that was held up must not kill over a deadline
            # that has been extended meanwhile. Bounded, so that nobody can talk it out of looking at the clock.
            for _ in range(_ROUNDS):
                self._hear(ready, signals_r)
                ready = dict(self._poller.poll(0))
                if not ready:
                    break
            self._tick()
            self._pet()

    def _hear(self, ready: dict[int, int], signals: int) -> None:
        if signals in ready:
            self._on_signals(os.read(signals, 64))
        for fd, mask in ready.items():
            if fd in self._peers:
                self._on_peer(self._peers[fd], mask)
        # Last, so that a new connection cannot be taken for a closed one whose descriptor number it got.
        if self._listener.fileno() in ready:
            self._accept()

    # --- time

    def _tick(self) -> None:
        before = self._gate
        self._gate, row = core.tick(before, boottime())
        if row is not None:
            self._took(row, before)

    def _pet(self) -> None:
        """Pet when due. The rule is asked right before the write, each time anew."""
        if boottime() < self._next_pet or self._gate.state is State.WAITING:
            return
        self._next_pet = boottime() + min(self._pet_period_s, (self._device.timeout_s or 3) / 3)
        if not self._device.is_open:
            self._open()
        elif self._may_pet():
            self._device.pet()
        self._say_problem()

    def _may_pet(self) -> bool:
        """At this very moment: to be asked right before each act that restarts the device's timer."""
        return core.may_pet(self._gate, boottime())

    def _open(self) -> None:
        if self._may_pet() and not self._device.is_open and self._device.open(self._may_pet):
            say(f"opened {self._device.path} ({self._device.identity}), time-out {self._device.timeout_s} s")
        self._say_problem()

    def _say_problem(self) -> None:
        if self._device.problem != self._said_problem:
            self._said_problem = self._device.problem
            say(self._said_problem or f"{self._device.path} works again")

    def _sleep_ms(self) -> int:
        wakes = [w for w in (core.next_wake(self._gate),) if w is not None]
        if self._gate.state is not State.WAITING:
            wakes.append(self._next_pet)
        if not wakes:
            return -1
        return max(0, int((min(wakes) - boottime()) * 1000) + 1)

    # --- transitions

    def _apply(self, event: Event) -> core.Transition | None:
        before = self._gate
        self._gate, row = core.apply(before, event, boottime())
        if row is not None:
            self._took(row, before)
        return row

    def _took(self, row: core.Transition, before: Gate) -> None:
        if row.next is not before.state or row.refused:
            say(f"{before.state} → {row.next}: {row.sentence}")
        for action in row.actions:
            if action is Action.OPEN:
                self._open()
                if row.next is not before.state:
                    self._next_pet = 0.0
            elif action is Action.KILL:
                self._kill()
            elif action is Action.DISARM:
                self._disarm()
            elif action is Action.EXIT:
                self._exiting = True

    def _kill(self) -> None:
        if self._strict.populated():
            problem = self._strict.kill()
            say(f"killing the strict group failed: {problem}" if problem else "strict group killed")

    def _disarm(self) -> None:
        if not self._device.disarm():
            self._say_problem()
            self._apply(Event.DISARM_REFUSED)
        elif self._device.path:
            say("watchdog disarmed by magic close")

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._apply(Event.TERMINATE)

    # --- peers

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        peer = Peer(connection)
        if not peer.permitted() or len(self._peers) >= _MAX_PEERS:
            say(f"connection of process {peer.pid} (user {peer.uid}) refused")
            peer.close()
            return
        self._peers[peer.fileno()] = peer
        self._poller.register(peer.fileno(), select.POLLIN)

    def _forget(self, peer: Peer) -> None:
        self._poller.unregister(peer.fileno())
        del self._peers[peer.fileno()]
        peer.close()

    def _on_peer(self, peer: Peer, mask: int) -> None:
        if peer is not self._agent and mask & select.POLLHUP:
            self._forget(peer)  # what it said before it went is stale
            return
        packet = peer.receive()
        if packet is None:
            return
        if not packet:
            self._gone(peer)
            return
        try:
            raw = messages.decode(packet)
            answer = self._answer(peer, messages.check_request(raw))
        except messages.BadMessage as error:
            answer = {"ok": False, "reason": str(error)}
        answer |= {"state": str(self._gate.state)}
        departed = answer.pop("departed", False)
        if not peer.send({"id": _id(packet), **answer}):
            self._gone(peer)
        elif departed or (peer is not self._agent):
            self._forget(peer)

    def _gone(self, peer: Peer) -> None:
        was_agent = peer is self._agent
        self._forget(peer)
        if was_agent:
            self._agent = None
            self._apply(Event.GONE)

    def _answer(self, peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
        do = request["do"]
        if do == "hello":
            return self._hello(peer, request)
        if peer is not self._agent:
            return {"ok": False, "reason": "say hello first"}
        if do == "attest":
            return self._attest()
        if do == "deadline":
            return self._deadline(request["D"], request["G"])
        if do == "farewell":
            row = self._apply(Event.FAREWELL_RESTART if request["restart"] else Event.FAREWELL_IDLE)
            answer = _verdict(row)
            if answer["ok"]:
                self._agent = None
                answer["departed"] = True
            return answer
        if do == "idle":
            return _verdict(self._apply(Event.IDLE_REFUSED if self._strict.populated() else Event.IDLE))
        return _verdict(self._apply(Event.PAUSE if do == "pause" else Event.REVOKE))

    def _hello(self, peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
        other = self._agent
        if other is not None and other is not peer:
            if other.pid != peer.pid and other.alive():
                reason = f"another agent (process {other.pid}) is connected; there can be only one"
                say(f"hello of process {peer.pid} refused: {reason}")
                return {"ok": False, "reason": reason}
            # The former one is dead, or has itself opened a new connection: nothing it sent there counts any more.
            self._agent = None
            self._forget(other)
        if peer.session != request["session"]:
            say(f"agent: process {peer.pid}, session {request['session']!r:.60}")
        peer.session = request["session"]
        self._agent = peer
        self._pet_period_s = max(0.1, request["p"])
        if self._device.limit_s != request["W"]:
            self._device.limit_s = request["W"]
            self._device.set_timeout(self._may_pet)
        return _verdict(self._apply(Event.HELLO))

    def _deadline(self, deadline: float, grace: float) -> dict[str, Any]:
        now = boottime()
        if deadline > now + core.DEADLINE_LIMIT_S or grace > core.DEADLINE_LIMIT_S:
            return {"ok": False, "reason": f"deadline {deadline - now:.0f} s ahead, grace {grace:.0f} s: out of reason"}
        before = self._gate
        self._gate, row = core.tell_deadline(before, deadline, grace, now)
        self._took(row, before)
        return _verdict(row)

    def _attest(self) -> dict[str, Any]:
        reason = self._device.refusal()
        if reason:
            return {"ok": False, "reason": reason}
        device = self._device
        return {"ok": True, "device": device.path, "identity": device.identity, "timeout": device.timeout_s}


def _verdict(row: core.Transition | None) -> dict[str, Any]:
    if row is None:
        return {"ok": False, "reason": "not now"}
    return {"ok": False, "reason": row.sentence} if row.refused else {"ok": True}


def _id(packet: bytes) -> int | None:
    """The request's id, for the answer to a request that is wrong in another way, too."""
    try:
        number = messages.decode(packet).get("id")
    except messages.BadMessage:
        return None
    return number if isinstance(number, int) else None
