"""Nothing that waited while its gateway stood still is done afterwards.

A gateway that is frozen (with its machine, or alone) has requests in its sockets. Their clients give up, have another
gateway do the same, and go on: what they write next is newer. If the frozen one then thaws and does the old request, Swift
takes that for the newest, because the proxy stamps a request when it reads it. So for a while after a pause each request is
answered with 503, which clients repeat.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from holdfast.clock import SystemClock
from holdfast.services.s3.inside.again import App

LOOK_S = 0.2
PAUSE_S = 1.0
"""Having stood still for so long, its address may have been taken over: a node is suspect after 0.6 s."""
REFUSE_S = 2.0
"""What waited in the sockets is read well within this."""
RETRY_AFTER_S = "1"
_REFUSAL = (
    b"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>ServiceUnavailable</Code>"
    b"<Message>This gateway stood still a moment ago.</Message></Error>"
)


def filter_factory(_defaults: Mapping[str, str], **_settings: str) -> Callable[[App], App]:
    return Thawed


class Thawed:
    """The filter. A thread of the operating system looks at the clock all the time, whatever the requests do; and each
    request does so as well, for it may be the first to run."""

    def __init__(self, app: App, now: Callable[[], float] | None = None, *, watch: bool = True) -> None:
        """`now`: seconds of a clock that goes on while the machine sleeps."""
        self._app = app
        self._now = now or SystemClock().now
        self._watch = watch
        self._watched_by = 0
        self._seen = self._now()
        self._refuse_until = self._seen

    def look(self) -> None:
        now = self._now()
        if now - self._seen > PAUSE_S:
            self._refuse_until = now + REFUSE_S
        self._seen = now

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self._watch and self._watched_by != os.getpid():  # a worker has none of its parent's threads
            self._begin()
        self.look()
        if self._seen < self._refuse_until:
            length = str(len(_REFUSAL))
            headers = [("Content-Type", "application/xml"), ("Content-Length", length), ("Retry-After", RETRY_AFTER_S)]
            start_response("503 Service Unavailable", headers)
            return [] if env["REQUEST_METHOD"] == "HEAD" else [_REFUSAL]
        return self._app(env, start_response)

    def _begin(self) -> None:
        self._watched_by, self._seen = os.getpid(), self._now()
        # Swift makes threads and sleep cooperative; these must not wait for the requests.
        original = import_module("eventlet.patcher").original
        sleep = original("time").sleep

        def watch() -> None:
            while True:
                self.look()
                sleep(LOOK_S)

        original("threading").Thread(target=watch, daemon=True).start()
