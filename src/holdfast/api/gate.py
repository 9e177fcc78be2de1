"""The one place where a request is let in or turned away, before its body is read and before any route.

Who asks is told by the Unix socket, a bearer token or the panel's cookie; what that needs, by `permissions.py`. A request
that only carries a cookie may have been made by another site: then it must show that it comes from the panel, by its
`Origin` and `Sec-Fetch-Site` where the browser sends them, and by a header that no other site can set.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.api.auth import COOKIE, CSRF_HEADER, Authenticator, NotLoggedIn
from holdfast.api.cache import StatusCache
from holdfast.api.http import ACTOR, LOCAL, RequestFailed, problem
from holdfast.api.operations.draft import Actor
from holdfast.api.permissions import ADMINISTER, OWN, PERSON, PREFIX, PUBLIC, SELF, Role, covers, held, methods, needed
from holdfast.errors import HoldfastError, NotPermitted, StoreError

SAFE = ("GET", "HEAD", "OPTIONS")


class Gate:
    """ASGI middleware. Behind it `scope[ACTOR]` says who asks (absent where nobody is asked)."""

    def __init__(self, app: ASGIApp, auth: Authenticator, cache: StatusCache) -> None:
        self._app = app
        self._auth = auth
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope = await self._admit(scope)
            if scope.get(ACTOR) is not None and scope["path"].startswith(f"{PREFIX}/"):
                await self._cache.filled()
        except HoldfastError as error:
            await problem(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        foreign = scope["method"] not in SAFE and not bearer(headers) and not scope.get(LOCAL)
        """Another site's page could make a browser send it."""
        if foreign:
            check_origin(headers)
        needs = needed(scope["method"], scope["path"])
        if needs == {PUBLIC}:
            return scope
        if not needs and not scope["path"].startswith(f"{PREFIX}/"):
            raise nowhere(scope["method"], scope["path"])
        actor = await identify(self._auth, scope)
        if not needs:
            raise nowhere(scope["method"], scope["path"])
        try:
            if foreign and not headers.get(CSRF_HEADER):
                raise NotPermitted(
                    "the request does not prove that it comes from the panel",
                    f"Send the header {CSRF_HEADER}: 1 with every change.",
                )
            for need in sorted(needs):
                check(actor, need)
        except NotPermitted as error:
            await self._auth.trail.note(actor, "refused", f"{scope['method']} {scope['path']}: {error.message}")
            raise
        return {**scope, ACTOR: actor}


def bearer(headers: Headers) -> str:
    """The token of the header Authorization, which no other site's page can set."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def identify(auth: Authenticator, scope: Scope) -> Actor:
    """Who asks. Raises NotLoggedIn; StoreError if it cannot be told now."""
    if scope.get(LOCAL):
        return Actor("root", "socket")
    connection = HTTPConnection(scope)
    address = connection.client.host if connection.client else ""
    if token := bearer(connection.headers):
        return await auth.whose(token, address=address)
    cookie = connection.cookies.get(COOKIE, "")
    if not cookie:
        raise NotLoggedIn
    return await auth.whose_session(cookie, address=address)


def nowhere(method: str, path: str) -> RequestFailed:
    """A route that the table does not know is never reached, not even if it exists."""
    possible = methods(path)
    if not possible:
        return RequestFailed(404, f"there is nothing at {path}")
    return RequestFailed(405, f"{method} is not possible at {path}", allow=", ".join(possible))


async def still_allowed(auth: Authenticator, request: Request) -> bool:
    """Whether an answer that takes long may go on: its session may have ended, its role may have changed."""
    try:
        actor = await identify(auth, request.scope)
        for need in needed(request.method, request.url.path):
            check(actor, need)
    except NotPermitted:
        return False
    except StoreError:
        return True  # it was allowed when it began, and the store cannot be asked
    return True


def check_origin(headers: Headers) -> None:
    """Raises NotPermitted for what a page of another site has sent. Browsers write these headers, pages cannot."""
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin")
    if site not in ("same-origin", "none") or (origin is not None and _authority(origin) != headers.get("host", "")):
        raise NotPermitted(
            "the request was made by a page of another site",
            "Open the panel itself, under the address of its certificate.",
        )


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def check(actor: Actor, need: str) -> None:
    """Raises NotPermitted unless the actor may do what needs this."""
    if need in (PUBLIC, SELF):
        return
    kind, _, about = need.partition(":")
    if kind in (PERSON, OWN) and actor.via.startswith("token:"):
        raise NotPermitted(
            "an API token cannot do this", "Log in as a person: `holdfast login`, or the panel's page /login."
        )
    if kind == PERSON or (kind == OWN and about == actor.name):
        return
    if kind == OWN:
        need = ADMINISTER
    if not covers(held(actor.role), need):
        raise NotPermitted(
            f"{actor.name} has the role {actor.role}, which does not hold `{need}`",
            f"Ask an administrator, or log in as somebody with the role {lowest(need)}.",
        )
    if actor.scopes and not covers(actor.scopes, need):
        raise NotPermitted(
            f"the scopes of this API token do not hold `{need}`",
            f"It holds {', '.join(actor.scopes)}. Make another one with `holdfast token create`.",
        )


def lowest(need: str) -> Role:
    """The least role that holds it."""
    return next(role for role in Role if covers(held(role), need))
