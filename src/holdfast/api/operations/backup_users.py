"""Users of a backup cluster. A password is made up here, shown once, and stored as its argon2id hash."""

import asyncio
import re
import secrets
from dataclasses import replace

from argon2 import PasswordHasher

from holdfast.api.operations import checks
from holdfast.api.operations.backup_clusters import find
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.backup_gateway.cluster import BackupUser
from holdfast.store import keys

ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Nothing that must be quoted in a URL or a shell, and no two that look alike."""
LENGTH = 28
"""162 bits."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_RESERVED = ("config", "data", "index", "keys", "locks", "snapshots")
"""Words with a meaning of their own in the paths of the protocol."""


async def create(store: Store, actor: Actor, cluster: str, name: str, *, append_only: bool = False) -> Outcome:
    """Its repositories are below /NAME/, and nobody else's."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise InvalidInput(
            f"`{name}` cannot be the name of a backup user",
            "Use 1 to 64 small letters, digits, dots, hyphens and underscores, a letter or digit first and last, and none "
            f"of {', '.join(_RESERVED)}.",
        )
    password, hashed = await asyncio.to_thread(_password)

    async def operation(draft: Draft) -> str:
        find(draft, cluster)
        if name in users(draft, cluster):
            raise Conflict(
                f"`{name}` is a user of the backup cluster `{cluster}` already",
                f"Give it another password: holdfast backup user rotate {cluster} {name}.",
            )
        draft.put(keys.backup_user(cluster, name), BackupUser(name, hashed, append_only))
        draft.data.update(user=name, password=password)
        return f"user {name} of the backup cluster {cluster} created"

    return await transact(store, actor, operation)


async def rotate(store: Store, actor: Actor, cluster: str, name: str) -> Outcome:
    """Another password; the old one is refused within seconds. Repositories, with their own keys, stay as they are."""
    password, hashed = await asyncio.to_thread(_password)

    async def operation(draft: Draft) -> str:
        user = find_user(draft, cluster, name)
        draft.put(keys.backup_user(cluster, name), replace(user, password_hash=hashed))
        draft.data.update(user=name, password=password)
        return f"user {name} of the backup cluster {cluster} has another password"

    return await transact(store, actor, operation)


async def change(store: Store, actor: Actor, cluster: str, name: str, *, append_only: bool) -> Outcome:
    """Whether it may delete what it stored."""

    async def operation(draft: Draft) -> str:
        user = find_user(draft, cluster, name)
        draft.put(keys.backup_user(cluster, name), replace(user, append_only=append_only))
        if not append_only and find(draft, cluster).append_only:
            draft.warn(f"The whole cluster {cluster} is append-only, so {name} deletes nothing all the same.")
        return f"user {name} of the backup cluster {cluster} {'only appends' if append_only else 'may delete'}"

    return await transact(store, actor, operation)


async def delete(store: Store, actor: Actor, cluster: str, name: str) -> Outcome:
    """It is refused within seconds; what it stored stays."""

    async def operation(draft: Draft) -> str:
        find_user(draft, cluster, name)
        draft.delete(keys.backup_user(cluster, name))
        draft.warn(f"Its repositories stay; a later user of the name {name} will have them.")
        return f"user {name} of the backup cluster {cluster} deleted"

    return await transact(store, actor, operation)


def users(draft: Draft, cluster: str) -> dict[str, BackupUser]:
    return {user.name: user for user in draft.specs(keys.backup_users(cluster), BackupUser)}


def find_user(draft: Draft, cluster: str, name: str) -> BackupUser:
    find(draft, cluster)
    known = users(draft, cluster)
    if name not in known:
        raise checks.not_found(f"user of the backup cluster {cluster}", name, known)
    return known[name]


def _password() -> tuple[str, str]:
    """And its hash."""
    password = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return password, PasswordHasher().hash(password)
