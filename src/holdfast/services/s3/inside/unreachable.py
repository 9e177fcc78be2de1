"""503 instead of 404 where "not found" only means that nobody could be asked.

Swift's proxy answers 404 when it could not read the account or the bucket. With three replicas that is rare; with one it is
every moment in which a name server moves, and S3 clients believe a 404 and do not try again. Sits right before the proxy.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.common.swob import HTTPServiceUnavailable, Request, wsgi_to_str
from swift.common.utils import drain_and_close, split_path
from swift.common.wsgi import WSGIContext
from swift.proxy.controllers.base import get_cache_key

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

RETRY_AFTER_S = 1


def filter_factory(_defaults: Mapping[str, str], **_settings: str) -> Callable[[App], App]:
    return Unreachable


class Unreachable:
    """The filter. What the proxy did read of account and bucket it leaves in `swift.infocache` of the request."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        needed = _needed(env)
        if not needed:
            return self._app(env, start_response)
        known = env.setdefault("swift.infocache", {})
        context = WSGIContext(self._app)
        answer: Iterable[bytes] = context._app_call(env)
        if context._get_status_int() == 404 and any(key not in known for key in needed):
            drain_and_close(answer)
            refusal: Iterable[bytes] = HTTPServiceUnavailable(
                request=Request(env), headers={"Retry-After": str(RETRY_AFTER_S)}
            )(env, start_response)
            return refusal
        start_response(context._response_status, context._response_headers, context._response_exc_info)
        return answer


def _needed(env: Mapping[str, Any]) -> list[str]:
    """What the proxy must have read before a 404 can be believed."""
    try:
        version, account, container, obj = split_path(env["PATH_INFO"], 2, 4, True)
    except ValueError:
        return []
    if version != "v1" or not container or account.startswith(".") or env.get("swift.source") == "GET_ACCOUNT_INFO":
        return []
    account, container = wsgi_to_str(account), wsgi_to_str(container)
    return [get_cache_key(account), *([get_cache_key(account, container)] if obj else [])]
