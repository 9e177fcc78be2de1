"""503 instead of an acknowledgement of what was not done, because it came from a gateway whose clock is behind.

Swift orders writes by the clock of the gateway that received them. One that is older than what is there is not done, and the
proxy answers 202, which S3 clients take for success: two replicas would settle it later, one copy has nothing to
settle. A client that repeats it a moment later is newer. (Clocks that differ by more than moments are for the operator.)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.common.swob import HTTPServiceUnavailable, Request
from swift.common.utils import drain_and_close, split_path
from swift.common.wsgi import WSGIContext

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

RETRY_AFTER_S = 1
_NOT_DONE = {"PUT": 202, "DELETE": 409}
"""What the proxy answers to a write of an object that is older than the object."""


def filter_factory(_defaults: Mapping[str, str], **_settings: str) -> Callable[[App], App]:
    return Outdated


class Outdated:
    """The filter, right before the proxy: what is in front of it may use 202 in other senses."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if env["REQUEST_METHOD"] not in _NOT_DONE or not _is_object(env["PATH_INFO"]):
            return self._app(env, start_response)
        context = WSGIContext(self._app)
        answer: Iterable[bytes] = context._app_call(env)
        if context._get_status_int() == _NOT_DONE[env["REQUEST_METHOD"]]:
            drain_and_close(answer)
            refusal: Iterable[bytes] = HTTPServiceUnavailable(
                request=Request(env), headers={"Retry-After": str(RETRY_AFTER_S)}
            )(env, start_response)
            return refusal
        start_response(context._response_status, context._response_headers, context._response_exc_info)
        return answer


def _is_object(path: str) -> bool:
    try:
        return bool(split_path(path, 4, 4, True))
    except ValueError:
        return False
