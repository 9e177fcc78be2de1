"""API tokens: create, list, revoke. A token is shown once; the store keeps its SHA-256."""

import secrets
from collections.abc import Sequence

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.operations.users import ROOT, account
from holdfast.api.people import TOKEN_PREFIX, People, Token, digest, later
from holdfast.api.permissions import ADMINISTER, SCOPES, Role, covers, held
from holdfast.clock import SystemClock
from holdfast.errors import Conflict, InvalidInput, NotPermitted
from holdfast.ports import Store
from holdfast.store import codec, keys

MAX_TOKENS = 50
"""Per account."""
MAX_DAYS = 3650


async def create(
    store: Store, actor: Actor, *, name: str, scopes: Sequence[str], days: int | None, owner: str = ""
) -> Outcome:
    """`data.token` is the token, shown only now. Root says whose it is. Raises InvalidInput, NotPermitted, Conflict."""
    checks.name(name, "token")
    owner = _owner(actor, owner)
    if not scopes:
        raise InvalidInput("the token has no scope", f"Give one or more of {', '.join(SCOPES)}.")
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidInput(f"there is no scope `{scope}`", f"Choose from {', '.join(SCOPES)}.")
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise InvalidInput(f"a token cannot live {days} days", f"Choose 1 to {MAX_DAYS}.")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)

    async def operation(draft: Draft) -> str:
        user = await account(draft, owner)
        beyond = [scope for scope in scopes if not covers(held(Role(user.role)), scope)]
        if beyond:
            raise NotPermitted(
                f"the role {user.role} of {owner} does not hold `{beyond[0]}`",
                "Choose scopes that its owner's role holds.",
            )
        mine = [token for token in await _all(store) if token.owner == owner]
        if any(token.name == name for token in mine):
            raise Conflict(f"{owner} has an API token `{name}` already", "Choose another name, or revoke it first.")
        if len(mine) >= MAX_TOKENS:
            raise Conflict(
                f"{owner} has {len(mine)} API tokens", "Revoke those that are not used: holdfast token list."
            )
        now = SystemClock().wall()
        expires = later(now, days * 86400) if days is not None else ""
        token = Token(secrets.token_hex(4), name, owner, tuple(dict.fromkeys(scopes)), now, expires)
        draft.put(keys.token(digest(text)), token)
        draft.data |= {"id": token.id, "token": text, "expires": expires}
        if not expires:
            draft.warn("This token never expires. Revoke it when it is not needed any more.")
        return f"API token {name} of {owner} created"

    return await transact(store, actor, operation)


def _owner(actor: Actor, owner: str) -> str:
    if actor.via == "socket":
        if owner in ("", ROOT):
            raise InvalidInput("a token needs an account that it belongs to", "Name one: --owner NAME.")
        return owner
    if owner not in ("", actor.name):
        raise NotPermitted(f"a token of {owner} can be made by {owner} only", "Leave the owner out.")
    return actor.name


async def revoke(store: Store, actor: Actor, token_id: str) -> Outcome:
    """By its owner or an administrator. Raises NotFound."""

    async def operation(draft: Draft) -> str:
        known = []
        for entry in (await store.list(keys.TOKENS)).entries:
            token = codec.decode(entry.value, Token, entry.key)
            if token.owner != actor.name and not covers(held(actor.role), ADMINISTER):
                continue
            if token.id == token_id:
                await draft.fetch(entry.key)
                await draft.fetch(keys.token_use(token.id))
                draft.delete(entry.key)
                draft.delete(keys.token_use(token.id))
                return f"API token {token.name} of {token.owner} revoked"
            known.append(token.id)
        raise checks.not_found("API token", token_id, known)

    return await transact(store, actor, operation)


async def _all(store: Store) -> list[Token]:
    return [codec.decode(entry.value, Token, entry.key) for entry in (await store.list(keys.TOKENS)).entries]


def listed(people: People, actor: Actor) -> list[dict[str, object]]:
    """One's own; an administrator sees all. By owner and name."""
    everybody = covers(held(actor.role), ADMINISTER)
    shown = [token for token in people.tokens.values() if everybody or token.owner == actor.name]
    uses = people.token_uses
    return [
        {
            "id": token.id,
            "name": token.name,
            "owner": token.owner,
            "scopes": list(token.scopes),
            "created": token.created,
            "expires": token.expires,
            "last_used": uses[token.id].wall if token.id in uses else "",
            "last_address": uses[token.id].address if token.id in uses else "",
        }
        for token in sorted(shown, key=lambda token: (token.owner, token.name))
    ]
