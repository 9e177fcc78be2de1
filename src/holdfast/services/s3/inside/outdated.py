"""503 instead of an acknowledgement of what was not done, because it came from a gateway whose clock is behind.

Swift orders writes by the clock of the gateway that received them. One that is older than what is there is not done, and the
proxy answers 202, which S3 clients take for success: two replicas would settle it later, one copy has nothing to
settle. A client that repeats it a moment later is newer. (Clocks that differ by more than moments are for the operator.)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.common.utils import split_path

from holdfast.services.s3.inside.again import App, unless

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
        return unless(lambda status: status == _NOT_DONE[env["REQUEST_METHOD"]], self._app, env, start_response)


def _is_object(path: str) -> bool:
    try:
        return bool(split_path(path, 4, 4, True))
    except ValueError:
        return False
