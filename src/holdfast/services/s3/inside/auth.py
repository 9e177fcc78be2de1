"""Who a request comes from: two filters around Swift's `s3api`.

`strip`, before it, drops every header with which a client could claim to be somebody. `auth`, after it, looks the access
key up in the gateway's key file, which the agent rewrites when users change; the file is looked at once a second.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from swift.common.middleware.s3api.s3response import InvalidAccessKeyId
from swift.common.swob import HTTPForbidden, HTTPUnauthorized

from holdfast.clock import SystemClock
from holdfast.services.s3.inside.again import App

RELOAD_S = 0.5
_CLOCK = SystemClock()
_CLAIMS = (
    "HTTP_X_USER_NAME",
    "HTTP_X_USER_ID",
    "HTTP_X_USER_DOMAIN_NAME",
    "HTTP_X_USER_DOMAIN_ID",
    "HTTP_X_TENANT_NAME",
    "HTTP_X_TENANT_ID",
    "HTTP_X_TENANT",
    "HTTP_X_USER",
    "HTTP_X_ROLE",
    "HTTP_X_ROLES",
    "HTTP_X_PROJECT_NAME",
    "HTTP_X_PROJECT_ID",
    "HTTP_X_PROJECT_DOMAIN_NAME",
    "HTTP_X_PROJECT_DOMAIN_ID",
    "HTTP_X_AUTH_TOKEN",
    "HTTP_X_STORAGE_TOKEN",
    "HTTP_X_SERVICE_TOKEN",
    "HTTP_X_IDENTITY_STATUS",
    "HTTP_X_SERVICE_IDENTITY_STATUS",
)


def strip_factory(_defaults: Mapping[str, str], **_settings: str) -> Callable[[App], App]:
    def factory(app: App) -> App:
        def strip(env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            for name in _CLAIMS:
                env.pop(name, None)
            return app(env, start_response)

        return strip

    return factory


def auth_factory(_defaults: Mapping[str, str], **settings: str) -> Callable[[App], App]:
    return lambda app: Auth(app, KeyFile(Path(settings["keys"])), settings["account"], settings["tenant"])


class KeyFile:
    """Access key → secret and owner."""

    def __init__(self, path: Path, reload_s: float = RELOAD_S) -> None:
        self._path = path
        self._reload_s = reload_s
        self._seen: tuple[int, int] = (0, 0)
        self._look_at = 0.0
        self._keys: dict[str, dict[str, str]] = {}

    def find(self, access_key: str) -> Mapping[str, str] | None:
        now = _CLOCK.now()
        if now >= self._look_at:
            self._look_at = now + self._reload_s
            self._reload()
        return self._keys.get(access_key)

    def _reload(self) -> None:
        """A file that cannot be read changes nothing: the agent replaces it as a whole."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_mtime_ns, status.st_ino)
                if seen != self._seen:
                    self._keys = json.load(file)
                    self._seen = seen
        except (OSError, ValueError):
            return


class Auth:
    """The filter. Without a good signature nothing is authorized."""

    def __init__(self, app: App, keys: KeyFile, account: str, tenant: str) -> None:
        self._app = app
        self._keys = keys
        self._account = account
        self._tenant = tenant

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if env.get("swift.authorize_override"):
            return self._app(env, start_response)
        env["swift.authorize"] = _authorize
        details = env.get("s3api.auth_details")
        if details:
            key = self._keys.find(details["access_key"])
            if key is None:
                raise InvalidAccessKeyId  # s3api's own words for it: it has none for an answer of a filter behind it
            if not details["check_signature"](key["secret"]):
                refusal: Iterable[bytes] = HTTPUnauthorized()(env, start_response)
                return refusal
            self._identify(env, details["access_key"], key["owner"])
        return self._app(env, start_response)

    def _identify(self, env: dict[str, Any], access_key: str, owner: str) -> None:
        env["PATH_INFO"] = env["PATH_INFO"].replace(access_key, self._account, 1)
        env["HTTP_X_TENANT_NAME"] = self._tenant
        env["HTTP_X_USER_NAME"] = owner
        env["REMOTE_USER"] = f"{self._tenant}:{owner},{self._account}"
        env["swift_owner"] = True
        env["holdfast.owner"] = owner


def _authorize(request: Any) -> Any:
    return None if request.environ.get("holdfast.owner") else HTTPForbidden(request=request)
