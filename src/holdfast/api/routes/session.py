"""Log in and out; passwords."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api import requests
from holdfast.api.auth import COOKIE, SESSION_TTL_S, set_password
from holdfast.api.http import actor_of, answer, context_of
from holdfast.api.operations.draft import Actor

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]


@router.post("/login")
async def login(request: Request, body: requests.Login) -> Response:
    """The session's token, as an answer for programs and as a cookie for browsers."""
    address = request.client.host if request.client else "socket"
    token = await context_of(request).auth.login(body.name, body.password, address=address)
    response = answer({"token": token, "user": body.name, "expires_s": SESSION_TTL_S})
    set_cookie(response, token)
    return response


def set_cookie(response: Response, token: str) -> None:
    response.set_cookie(COOKIE, token, max_age=SESSION_TTL_S, path="/", secure=True, httponly=True, samesite="strict")


@router.post("/logout")
async def logout(request: Request, caller: Caller) -> Response:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
    if token:
        await context_of(request).auth.logout(token)
    response = answer({"text": f"{caller.name} is logged out"})
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


@router.get("/session")
async def whoami(request: Request, caller: Caller) -> Response:
    return answer({"user": caller.name, "via": caller.via, "node": context_of(request).node})


@router.put("/users/{name}/password")
async def password(request: Request, caller: Caller, name: str, body: requests.Password) -> Response:
    """Set a password; all sessions of the account end. Whoever is not root on a node must say the present one."""
    context = context_of(request)
    if caller.via != "socket":
        address = request.client.host if request.client else "?"
        await context.auth.check_password(caller.name, body.old, address=address)
    await set_password(context.store, name, body.password)
    return answer({"text": f"the password of {name} is changed and all its sessions are over"})
