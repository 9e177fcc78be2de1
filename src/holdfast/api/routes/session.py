"""Log in and out; oneself: sessions and passwords."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api import requests
from holdfast.api.auth import COOKIE, SESSION_TTL_S
from holdfast.api.gate import bearer
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import users
from holdfast.api.operations.draft import Actor
from holdfast.api.permissions import SCOPES, covers, held

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]


@router.post("/login")
async def login(request: Request, body: requests.Login) -> Response:
    """The session's token, as an answer for programs and as a cookie for browsers. A session that the browser had ends, and
    none that it brought goes on."""
    auth = context_of(request).auth
    agent = request.headers.get("user-agent", "")
    token = await auth.login(body.name, body.password, address=_address(request), agent=agent)
    if before := request.cookies.get(COOKIE):
        await auth.logout(before)
    response = answer({"token": token, "user": body.name, "expires_s": SESSION_TTL_S})
    _set_cookie(response, token)
    return response


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _set_cookie(response: Response, token: str) -> None:
    response.set_cookie(COOKIE, token, max_age=SESSION_TTL_S, path="/", secure=True, httponly=True, samesite="strict")


@router.post("/logout")
async def logout(request: Request, caller: Caller) -> Response:
    """End the session that the request came with. An API token is not ended so: revoke it."""
    auth = context_of(request).auth
    if caller.via == "session":
        await auth.logout(_session_token(request))
        await auth.trail.note(caller, "logout", f"{caller.name} logged out")
    response = answer({"text": f"{caller.name} is logged out"})
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _session_token(request: Request) -> str:
    return bearer(request.headers) or request.cookies.get(COOKIE, "")


@router.get("/session")
async def whoami(request: Request, caller: Caller) -> Response:
    """Who asks, and which node answers."""
    return answer({"user": caller.name, "via": caller.via, "role": caller.role, "node": context_of(request).node})


@router.get("/me")
async def me(request: Request, caller: Caller) -> Response:
    """Who asks and what they may do: `permissions` are those of the role, as far as the token's scopes hold them."""
    granted = caller.scopes or sorted(held(caller.role))
    return answer(
        {
            "name": caller.name,
            "role": caller.role,
            "via": caller.via,
            "address": caller.address,
            "permissions": [s for s in SCOPES if covers(held(caller.role), s) and covers(granted, s)],
            "session": _own_session(request, caller),
        }
    )


def _own_session(request: Request, caller: Caller) -> str:
    """The id of the session that asks; empty for root and API tokens."""
    if caller.via != "session":
        return ""
    return context_of(request).auth.session_id(_session_token(request))


@router.get("/me/sessions")
async def my_sessions(request: Request, caller: Caller) -> Response:
    """Where oneself is logged in."""
    return answer(context_of(request).auth.people.sessions_of(caller.name))


@router.delete("/me/sessions")
async def end_my_other_sessions(request: Request, caller: Caller) -> Response:
    """All but the one that asks."""
    context = context_of(request)
    mine = _own_session(request, caller)
    return await done(context, await users.end_sessions(context.store, caller, caller.name, keep=mine))


@router.delete("/me/sessions/{session_id}")
async def end_my_session(request: Request, caller: Caller, session_id: str) -> Response:
    """End one of them."""
    context = context_of(request)
    return await done(context, await users.end_sessions(context.store, caller, caller.name, only=session_id))


@router.put("/users/{name}/password")
async def password(request: Request, caller: Caller, name: str, body: requests.Password) -> Response:
    """Set a password; all sessions of the account end, and a browser that changes its own gets a new one. Whoever is not
    root on a node must say their own present password."""
    context = context_of(request)
    if caller.via != "socket":
        await context.auth.check_password(caller.name, body.old, address=_address(request))
    outcome = await users.set_password(context.store, caller, name, body.password, hasher=context.auth.hasher)
    response = await done(context, outcome)
    if caller.name == name and caller.via == "session" and outcome.revision and COOKIE in request.cookies:
        agent = request.headers.get("user-agent", "")
        _set_cookie(response, await context.auth.renewed_session(name, address=_address(request), agent=agent))
    return response
