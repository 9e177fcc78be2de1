"""503 instead of 404 where "not found" only means that nobody could be asked.

Swift's proxy answers 404 when it could not read the account or the bucket. With three replicas that is rare; with one it is
every moment in which a name server moves, and S3 clients believe a 404 and do not try again. Sits right before the proxy.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.common.swob import wsgi_to_str
from swift.common.utils import split_path
from swift.proxy.controllers.base import get_cache_key

from holdfast.services.s3.inside.again import App, unless


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
        return unless(
            lambda status: status == 404 and any(key not in known for key in needed), self._app, env, start_response
        )


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
