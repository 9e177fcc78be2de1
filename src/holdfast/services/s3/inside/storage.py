"""A name or object server's own filter: who may ask, is the storage really there, and has it room.

Swift's servers trust whoever reaches them. Here a request must carry the cluster's backend key, which all its parts derive
from the hash suffix. Before a write that Swift's name servers would begin on a full storage, and break off, 507 is said.
"""

import hmac
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import eventlet
from eventlet import tpool
from swift.common.swob import HTTPForbidden, HTTPInsufficientStorage, HTTPServiceUnavailable, Response

from holdfast.clock import SystemClock
from holdfast.services.s3.inside import backend
from holdfast.services.s3.inside.again import App
from holdfast.services.s3.layout import MARKER, PROBE_PATH, WORK
from holdfast.services.storage import FULL

RESERVE = 0.01
"""Share of the storage that stays free, as Swift's object servers keep it."""
LOOK_EVERY_S = 1.0
PROBE_LIMIT_S = 2.0
_CLOCK = SystemClock()
_WRITES = frozenset({"PUT", "POST"})


def filter_factory(defaults: Mapping[str, str], **_settings: str) -> Callable[[App], App]:
    return lambda app: Storage(app, Path(defaults["devices"]))


class Storage:
    """The filter of one server, with the part's devices root."""

    def __init__(self, app: App, devices: Path, reserve: float = RESERVE) -> None:
        self._app = app
        self._devices = devices
        self._reserve = reserve
        self._problem = ""
        self._full = False
        self._busy = False
        self._looked = 0.0

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        presented = env.get(backend.HEADER_ENV, "")
        answer: Any
        if not hmac.compare_digest(presented, backend.current()):
            answer = HTTPForbidden()
        elif env["PATH_INFO"] == PROBE_PATH:
            answer = self._probe()
        elif self._is_full() and env["REQUEST_METHOD"] in _WRITES:
            answer = HTTPInsufficientStorage()
        else:
            return self._app(env, start_response)
        refused: Iterable[bytes] = answer(env, start_response)
        return refused

    def _probe(self) -> Any:
        """Whether the storage answers to a write among the devices now. One that hangs holds one thread, not one per
        check."""
        if self._busy:
            return HTTPServiceUnavailable(body=b"the storage hangs")
        try:
            with eventlet.Timeout(PROBE_LIMIT_S):
                problem = tpool.execute(self._look)
        except eventlet.Timeout:
            return HTTPServiceUnavailable(body=b"the storage hangs")
        return HTTPServiceUnavailable(body=problem.encode()) if problem else Response(body=b"ok")

    def _look(self) -> str:
        self._busy = True
        try:
            return look(self._devices)
        finally:
            self._busy = False

    def _is_full(self) -> bool:
        now = _CLOCK.now()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            try:
                found = os.statvfs(self._devices)
                self._full = found.f_bavail < found.f_blocks * self._reserve
            except OSError:
                self._full = False  # Swift will meet the error itself
        return self._full


def look(devices: Path) -> str:
    """What is wrong with the part's directory; "" if nothing is. That the storage is full is no reason not to serve what is
    there, and another node would not help."""
    try:
        if not (devices.parent / MARKER).exists():
            return f"{devices} is not the directory of this part: the shared storage is gone"
        file = devices.parent / WORK / f"probe-{os.getpid()}"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, b"holdfast\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        file.unlink(missing_ok=True)
    except OSError as error:
        return "" if error.errno in FULL else f"{devices} cannot be written: {error.strerror}"
    return ""
