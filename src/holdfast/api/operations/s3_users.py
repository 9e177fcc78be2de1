"""Users of an S3 cluster and their access keys. A secret is in the answer of what makes it, and nowhere afterwards: the
store holds it locked with the cluster secret, and the gateways unlock it."""

from dataclasses import replace

from holdfast.api.operations import checks, s3_clusters
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.clock import SystemClock
from holdfast.errors import Conflict
from holdfast.ports import Store
from holdfast.services.s3.config import AccessKey, S3User
from holdfast.services.s3.users import new_key, new_owner
from holdfast.store import keys

MAX_KEYS = 10
MAX_USERS = 10_000


async def create(store: Store, actor: Actor, cluster: str, name: str, *, secret: bytes) -> Outcome:
    """With one access key. Gateways know it within a second or two."""
    checks.name(name, "user of S3")

    async def operation(draft: Draft) -> str:
        known = _users(draft, cluster)
        if name in known:
            raise Conflict(f"there is a user `{name}` of s3/{cluster} already", "Choose another name.")
        if len(known) >= MAX_USERS:
            raise Conflict(f"s3/{cluster} has {len(known)} users", "More are not kept.")
        key = _new_key(draft, secret)
        draft.put(keys.s3_user(cluster, name), S3User(name, new_owner(), (key,)))
        return f"user {name} of s3/{cluster} created"

    return await transact(store, actor, operation)


async def rotate(store: Store, actor: Actor, cluster: str, name: str, *, secret: bytes, keep: bool = False) -> Outcome:
    """Another access key; what the user owns stays the user's. `keep`: the old ones work on, until the next rotation without
    it."""

    async def operation(draft: Draft) -> str:
        user = find(draft, cluster, name)
        if keep and len(user.keys) >= MAX_KEYS:
            raise Conflict(
                f"user `{name}` of s3/{cluster} has {len(user.keys)} access keys",
                f"Have its clients use the newest one, then: holdfast s3 user rotate {cluster} {name}.",
            )
        kept = user.keys if keep else ()
        draft.put(keys.s3_user(cluster, name), replace(user, keys=(*kept, _new_key(draft, secret))))
        return f"user {name} of s3/{cluster} has a new access key" + (
            f" beside {len(kept)} old" if kept else "; the old ones are not valid any more"
        )

    return await transact(store, actor, operation)


async def set_enabled(store: Store, actor: Actor, cluster: str, name: str, *, enabled: bool) -> Outcome:
    """Disabled: all the user's keys are refused; its buckets and objects stay as they are."""
    word = "enabled" if enabled else "disabled"

    async def operation(draft: Draft) -> str:
        user = find(draft, cluster, name)
        if user.enabled is enabled:
            raise Conflict(f"user `{name}` of s3/{cluster} is {word} already", "There is nothing to do.")
        draft.put(keys.s3_user(cluster, name), replace(user, enabled=enabled))
        return f"user {name} of s3/{cluster} is {word}"

    return await transact(store, actor, operation)


async def delete(store: Store, actor: Actor, cluster: str, name: str, *, yes: bool = False) -> Outcome:
    """Its keys are forgotten. Without `yes` nothing is done: the Conflict raised says what would become of its objects."""

    async def operation(draft: Draft) -> str:
        find(draft, cluster, name)
        if not yes:
            raise Conflict(
                f"buckets and objects that `{name}` owns would stay in s3/{cluster}, and nobody could reach those that no "
                "other user has been given access to, not even a new user of the same name",
                f"Delete them first, or keep the user (holdfast s3 user disable {cluster} {name}); to go on: --yes.",
            )
        draft.delete(keys.s3_user(cluster, name))
        return f"user {name} of s3/{cluster} is deleted"

    return await transact(store, actor, operation)


def find(draft: Draft, cluster: str, name: str) -> S3User:
    """Raises NotFound."""
    known = _users(draft, cluster)
    if name not in known:
        raise checks.not_found(f"user of s3/{cluster}", name, known)
    return known[name]


def _users(draft: Draft, cluster: str) -> dict[str, S3User]:
    s3_clusters.find(draft, cluster)
    return s3_clusters.users(draft, cluster)


def _new_key(draft: Draft, secret: bytes) -> AccessKey:
    key, shown = new_key(secret, SystemClock().wall())
    draft.data.update(access_key=key.id, secret_key=shown)
    return key
