"""What API and panel work with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from holdfast.api.auth import Authenticator
from holdfast.api.cache import StatusCache
from holdfast.api.join_limit import JoinLimit
from holdfast.api.operations.backup_clusters import Backends
from holdfast.api.operations.checks import Probe
from holdfast.api.operations.drill_checks import Means
from holdfast.api.operations.iscsi_volumes import Files
from holdfast.api.operations.nodes import MakeBundle
from holdfast.api.operations.s3_clusters import Files as S3Files
from holdfast.api.operations.vm import Images
from holdfast.api.works import Works
from holdfast.bootstrap.users import HASHER
from holdfast.ports import Clock, PowerFences, Store


@dataclass(frozen=True, slots=True)
class ApiContext:
    node: str
    """The node that serves."""
    session: str
    """Changes with each start of the process."""
    store: Store
    clock: Clock
    cache: StatusCache
    auth: Authenticator
    works: Works
    means: Means
    """What drills work with."""
    joins: JoinLimit
    fences: PowerFences | None = None
    probe: Probe | None = None
    make_bundle: MakeBundle | None = None
    images: Images | None = None
    """None: this process cannot make disks."""
    files: Files | None = None
    """None: this process cannot make iSCSI volumes."""
    cluster_secret: Callable[[], bytes] | None = None
    """What secrets in the store are locked with (bootstrap/secrets.py). Raises ConfigError."""
    s3_files: S3Files | None = None
    """None: this process cannot make S3 clusters."""
    backends: Backends | None = None
    """None: this process cannot open back-ends of backup clusters."""
    pki_dir: Path | None = None
    """Where this node's certificates and secrets are. None: this process has none, and lets nobody join."""
    log_dir: Path = Path("/var/log/holdfast")
    """Logs of this node, the consoles of its machines among them."""


def make_context(
    node: str,
    store: Store,
    clock: Clock,
    *,
    session: str,
    fences: PowerFences | None = None,
    probe: Probe | None = None,
    make_bundle: MakeBundle | None = None,
    images: Images | None = None,
    files: Files | None = None,
    cluster_secret: Callable[[], bytes] | None = None,
    s3_files: S3Files | None = None,
    backends: Backends | None = None,
    hasher: PasswordHasher = HASHER,
    log_dir: Path = Path("/var/log/holdfast"),
    pki_dir: Path | None = None,
) -> ApiContext:
    """A context with its own cache (whose `run()` the caller keeps running) and authenticator, wired together."""
    auth = Authenticator(store, clock, hasher)
    cache = StatusCache(store, clock, people=auth.people)
    return ApiContext(
        node,
        session,
        store,
        clock,
        cache,
        auth,
        Works(session, store, clock),
        _means(node, store, clock, cache, fences, probe),
        JoinLimit(clock),
        fences,
        probe,
        make_bundle,
        images,
        files,
        cluster_secret,
        s3_files,
        backends,
        pki_dir,
        log_dir,
    )


def _means(
    node: str, store: Store, clock: Clock, cache: StatusCache, fences: PowerFences | None, probe: Probe | None
) -> Means:
    """What drills work with."""

    async def seen(revision: int) -> bool:
        return await cache.wait_revision(revision, 2.0)

    return Means(node, store, clock, lambda: cache.status, lambda: cache.source, seen, fences, probe)
