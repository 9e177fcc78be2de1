"""Accounts: create, change, delete; passwords; the sessions of an account."""

import asyncio
import re
import secrets
from contextlib import suppress
from dataclasses import replace

from argon2 import PasswordHasher

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.people import Failures, Session, Token
from holdfast.api.permissions import Role
from holdfast.bootstrap.users import HASHER, User, hash_password
from holdfast.clock import SystemClock
from holdfast.errors import Conflict, InvalidInput, StoreError
from holdfast.ports import Delete, Store
from holdfast.store import codec, keys

ROOT = "root"
"""Who comes through the Unix socket; no account has this name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


async def create(
    store: Store, actor: Actor, *, name: str, role: str, password: str, hasher: PasswordHasher = HASHER
) -> Outcome:
    """A new account. Raises InvalidInput, Conflict."""
    if not _NAME.fullmatch(name) or name == ROOT:
        raise InvalidInput(
            f"`{name}` cannot be the name of an account",
            "Use 1 to 64 letters, digits and `. _ @ -`, with a letter or digit first; `root` is taken.",
        )
    wanted = _role(role)
    hashed = await asyncio.to_thread(hash_password, name, password, hasher)

    async def operation(draft: Draft) -> str:
        if await draft.read(keys.user(name), User) is not None:
            raise Conflict(f"the account `{name}` exists already", "Choose another name, or change it.")
        draft.put(keys.user(name), User(name, hashed, wanted, created=SystemClock().wall(), stamp=_stamp()))
        return f"account {name} created with the role {wanted}"

    return await transact(store, actor, operation)


async def change(
    store: Store, actor: Actor, name: str, *, role: str | None = None, disabled: bool | None = None
) -> Outcome:
    """Another role, closed or open; what is left out stays. Its sessions end. Raises InvalidInput, NotFound, Conflict."""
    wanted = None if role is None else _role(role)

    async def operation(draft: Draft) -> str:
        user = await account(draft, name)
        new = replace(
            user,
            role=wanted if wanted is not None else user.role,
            disabled=user.disabled if disabled is None else disabled,
        )
        if new == user:
            raise InvalidInput(f"that changes nothing of the account {name}", "Say another role, or disabled.")
        if new.role != Role.ADMIN or new.disabled:
            await _keep_an_admin(draft, name)
        draft.put(keys.user(name), replace(new, stamp=_stamp()))
        said = [f"has the role {new.role}"] if new.role != user.role else []
        if new.disabled != user.disabled:
            said.append("is closed" if new.disabled else "is open again")
        return f"the account {name} {' and '.join(said)}; its sessions are over"

    outcome = await transact(store, actor, operation)
    await _forget_sessions(store, actor, name)
    return outcome


async def set_password(
    store: Store, actor: Actor, name: str, password: str, *, hasher: PasswordHasher = HASHER
) -> Outcome:
    """Its sessions end. Raises InvalidInput, NotFound."""
    hashed = await asyncio.to_thread(hash_password, name, password, hasher)

    async def operation(draft: Draft) -> str:
        user = await account(draft, name)
        draft.put(keys.user(name), replace(user, password_hash=hashed, stamp=_stamp()))
        owned = [codec.decode(entry.value, Token, entry.key) for entry in (await store.list(keys.TOKENS)).entries]
        if names := sorted(token.name for token in owned if token.owner == name):
            draft.warn(
                f"API tokens of {name} go on as before: {', '.join(names)}. If somebody else may have made or read one, "
                "revoke it: holdfast token list."
            )
        return f"the password of {name} is changed and all its sessions are over"

    outcome = await transact(store, actor, operation)
    await _forget_sessions(store, actor, name)
    return outcome


async def delete(store: Store, actor: Actor, name: str) -> Outcome:
    """With its API tokens and sessions. Raises NotFound, Conflict."""

    async def operation(draft: Draft) -> str:
        await account(draft, name)
        await _keep_an_admin(draft, name)
        draft.delete(keys.user(name))
        for entry in (await store.list(keys.TOKENS)).entries:
            if codec.decode(entry.value, Token, entry.key).owner == name:
                await draft.fetch(entry.key)
                draft.delete(entry.key)
        return f"account {name} deleted, with its sessions and API tokens"

    outcome = await transact(store, actor, operation)
    await _forget_sessions(store, actor, name)
    return outcome


async def end_sessions(store: Store, actor: Actor, name: str, *, only: str = "", keep: str = "") -> Outcome:
    """End all sessions of an account, or the one with the id `only`; not that with the id `keep`. Raises NotFound."""

    async def operation(draft: Draft) -> str:
        user = await account(draft, name)
        listed = (await store.list(keys.SESSIONS)).entries
        sessions = {entry.key: codec.decode(entry.value, Session, entry.key) for entry in listed}
        mine = {key: session for key, session in sessions.items() if session.user == name}
        ending = [key for key, session in mine.items() if session.id != keep and only in ("", session.id)]
        if only and not ending:
            raise checks.not_found(f"session of {name}", only, [session.id for session in mine.values()])
        for key in ending[:MOST]:
            await draft.fetch(key)
            draft.delete(key)
        if not only:
            # However many there are, and whoever begins one just now with what was right before.
            new = replace(user, stamp=_stamp())
            draft.put(keys.user(name), new)
            for key, session in mine.items():
                if keep and session.id == keep:
                    await draft.fetch(key)
                    draft.put(key, replace(session, stamp=new.stamp), session.lease)
        return f"{len(ending)} session{'' if len(ending) == 1 else 's'} of {name} ended"

    outcome = await transact(store, actor, operation)
    if not only and not keep:
        await _forget_sessions(store, actor, name)
    return outcome


async def unlock(store: Store, actor: Actor, name: str) -> Outcome:
    """Forget the wrong passwords that were tried for this account, and from which addresses. Raises NotFound."""

    async def operation(draft: Draft) -> str:
        await account(draft, name)
        listed = (await store.list(keys.LOGIN_FAILURES)).entries
        counts = {entry.key: codec.decode(entry.value, Failures, entry.key) for entry in listed}
        tried_from = {count.address for count in counts.values() if count.account == name and count.address}
        concerned = [
            key
            for key, count in counts.items()
            if count.account == name or (not count.account and count.address in tried_from)
        ]
        for key in concerned[:MOST]:
            await draft.fetch(key)
            draft.delete(key)
        return f"the wrong passwords tried for {name} are forgotten"

    return await transact(store, actor, operation)


MOST = 60
"""Of what one transaction removes: stores limit its size."""


def _stamp() -> str:
    return secrets.token_hex(8)


def _role(word: str) -> Role:
    if word not in list(Role):
        raise InvalidInput(f"there is no role `{word}`", f"Choose from {', '.join(Role)}.")
    return Role(word)


async def account(draft: Draft, name: str) -> User:
    """The account as it is. Raises NotFound."""
    user = await draft.read(keys.user(name), User, rely=True) if "/" not in name else None
    if user is None:
        known = [keys.last_part(entry.key) for entry in (await draft.store.list(keys.USERS)).entries]
        raise checks.not_found("user", name, known)
    return user


async def _keep_an_admin(draft: Draft, name: str) -> None:
    """Two of these at once are told apart by SERIAL. Raises Conflict."""
    for entry in (await draft.store.list(keys.USERS)).entries:
        user = codec.decode(entry.value, User, entry.key)
        if user.name != name and user.role == Role.ADMIN and not user.disabled:
            return
    raise Conflict(
        f"{name} is the last administrator", "Make another account an administrator first: holdfast user create."
    )


async def _forget_sessions(store: Store, actor: Actor, name: str) -> None:
    """They hold no more since the account's stamp has changed; here they only leave the lists."""
    if actor.terms.dry_run:
        return
    with suppress(StoreError):
        for entry in (await store.list(keys.SESSIONS)).entries:
            if codec.decode(entry.value, Session, entry.key).user == name:
                await store.txn([], [Delete(entry.key)])
