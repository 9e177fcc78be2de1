"""CHAP secrets: locked in the store, opened where a target or a health check needs them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from holdfast import locks
from holdfast.errors import HoldfastError
from holdfast.services.iscsi.config import ChapAccount, TargetGroup

log = structlog.get_logger(__name__)


def locked_group(group: TargetGroup, secret: bytes) -> TargetGroup:
    """With its CHAP secrets locked. What is locked already stays as it is."""
    return replace(group, chap=_locked(group.chap, secret), mutual=_locked(group.mutual, secret))


def _locked(account: ChapAccount | None, secret: bytes) -> ChapAccount | None:
    if account is None or locks.is_marked(account.secret):
        return account
    return replace(account, secret=locks.marked(account.secret, secret))


class OpenGroups:
    """Target groups as they are stored, with their secrets opened.

    A secret that cannot be opened at the moment (the cluster's secret is being changed) must not take a target away from
    those who use it: what was opened last goes on to count. Where nothing was, the target lets nobody in.
    """

    def __init__(self, stored: Callable[[], Mapping[str, TargetGroup]], secret: Callable[[], bytes]) -> None:
        self._stored = stored
        self._secret = secret
        self._opened: dict[str, tuple[TargetGroup, TargetGroup]] = {}
        """Name → as stored, and opened."""
        self._told: dict[str, TargetGroup] = {}
        """What was said not to open."""

    def __call__(self) -> dict[str, TargetGroup]:
        found = {name: self._open(name, group) for name, group in self._stored().items()}
        self._opened = {name: pair for name, pair in self._opened.items() if name in found}
        return found

    def _open(self, name: str, group: TargetGroup) -> TargetGroup:
        accounts = [account for account in (group.chap, group.mutual) if account]
        if not any(locks.is_marked(account.secret) for account in accounts):
            return group
        known = self._opened.get(name)
        if known is not None and known[0] == group:
            return known[1]
        try:
            secret = self._secret()
            opened = replace(group, chap=_clear(group.chap, secret), mutual=_clear(group.mutual, secret))
        except HoldfastError as error:
            if self._told.get(name) != group:
                log.warning("CHAP secrets not opened", group=name, error=str(error))
            self._told[name] = group
            if known is not None:
                return replace(group, chap=known[1].chap, mutual=known[1].mutual)
            return replace(group, chap=_shut(group.chap), mutual=_shut(group.mutual))
        self._opened[name] = (group, opened)
        return opened


def _clear(account: ChapAccount | None, secret: bytes) -> ChapAccount | None:
    return replace(account, secret=locks.clear(account.secret, secret)) if account else None


def _shut(account: ChapAccount | None) -> ChapAccount | None:
    """With a secret that nobody knows who does not have the store, and the same at each look."""
    if account is None:
        return None
    return replace(account, secret=hashlib.sha256(account.secret.encode()).hexdigest()[:16])
