"""Accounts, API tokens and the audit."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import audit, requests_accounts
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import checks, tokens, users
from holdfast.api.operations.draft import Actor
from holdfast.bootstrap.users import User

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]


def _shown(user: User) -> dict[str, object]:
    return {"name": user.name, "role": user.role, "disabled": user.disabled, "created": user.created}


@router.get("/users")
async def list_users(request: Request, caller: Caller) -> Response:
    """By name."""
    people = context_of(request).auth.people
    return answer([_shown(people.users[name]) for name in sorted(people.users)])


@router.get("/users/{name}")
async def get_user(request: Request, caller: Caller, name: str) -> Response:
    """The account with its sessions."""
    people = context_of(request).auth.people
    if name not in people.users:
        raise checks.not_found("user", name, people.users)
    return answer({**_shown(people.users[name]), "sessions": people.sessions_of(name)})


@router.post("/users")
async def create_user(request: Request, caller: Caller, body: requests_accounts.CreateUser) -> Response:
    """A new account."""
    context = context_of(request)
    outcome = await users.create(
        context.store,
        caller,
        name=body.name,
        role=body.role,
        password=body.password,
        hasher=context.auth.hasher,
    )
    return await done(context, outcome)


@router.put("/users/{name}")
async def change_user(request: Request, caller: Caller, name: str, body: requests_accounts.ChangeUser) -> Response:
    """Another role, closed or open; all sessions of the account end."""
    context = context_of(request)
    outcome = await users.change(context.store, caller, name, role=body.role, disabled=body.disabled)
    return await done(context, outcome)


@router.delete("/users/{name}")
async def delete_user(request: Request, caller: Caller, name: str) -> Response:
    """With its API tokens and sessions."""
    context = context_of(request)
    return await done(context, await users.delete(context.store, caller, name))


@router.delete("/users/{name}/sessions")
async def end_user_sessions(request: Request, caller: Caller, name: str) -> Response:
    """End all sessions of an account, however many there are."""
    context = context_of(request)
    return await done(context, await users.end_sessions(context.store, caller, name))


@router.post("/users/{name}/unlock")
async def unlock_user(request: Request, caller: Caller, name: str) -> Response:
    """Forget the wrong passwords that were tried for the account."""
    context = context_of(request)
    return await done(context, await users.unlock(context.store, caller, name))


@router.get("/tokens")
async def list_tokens(request: Request, caller: Caller) -> Response:
    """One's own API tokens; an administrator sees all. Never the tokens themselves."""
    return answer(tokens.listed(context_of(request).auth.people, caller))


@router.post("/tokens")
async def create_token(request: Request, caller: Caller, body: requests_accounts.CreateToken) -> Response:
    """`data.token` is the API token: it is shown only now."""
    context = context_of(request)
    outcome = await tokens.create(
        context.store, caller, name=body.name, scopes=body.scopes, days=body.days, owner=body.owner
    )
    return await done(context, outcome)


@router.delete("/tokens/{token_id}")
async def revoke_token(request: Request, caller: Caller, token_id: str) -> Response:
    """One's own API token, or anybody's as an administrator: it opens nothing from now on."""
    context = context_of(request)
    return await done(context, await tokens.revoke(context.store, caller, token_id))


@router.get("/audit")
async def list_audit(
    request: Request,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=100)] = "",
    who: Annotated[str, Query(max_length=100)] = "",
    operation: Annotated[str, Query(max_length=100)] = "",
    key: Annotated[str, Query(max_length=200)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Newest first: changes with what was there before and after, logins, failed ones, refusals. Filters: whose, which
    operation, part of a changed key, since when (ISO 8601 UTC or its beginning)."""
    query = audit.Query(who, operation, key, since)
    return answer(audit.search(context_of(request).auth.people.audit, query, limit=limit, cursor=cursor))
