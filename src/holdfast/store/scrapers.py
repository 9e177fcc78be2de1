"""Who may read a daemon's figures: API tokens with the scope `metrics` or `read`, looked up in its own copy of the store, so
that figures can be read while the store is away."""

import hashlib
from dataclasses import dataclass

from holdfast.errors import StoreError
from holdfast.store import keys
from holdfast.store.mirror import Mirror

SCOPES = frozenset({"metrics", "read"})


@dataclass(frozen=True, slots=True)
class TokenWord:
    """What matters here of an API token's record."""

    owner: str
    scopes: tuple[str, ...] = ()
    """Empty: whatever its owner may, which every role's `read` is part of."""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class AccountWord:
    """The same of an account's."""

    disabled: bool = False


def may_scrape(mirror: Mirror, authorization: str, wall: str) -> bool:
    """Is this the header of somebody who may read the figures?"""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return False
    digest = hashlib.sha256(token.strip().encode(errors="surrogatepass")).hexdigest()
    try:
        word = mirror.read(keys.token(digest), TokenWord)
        owner = mirror.read(keys.user(word.owner), AccountWord) if word is not None else None
    except StoreError:
        return False
    if word is None or owner is None or owner.disabled or (word.expires and wall >= word.expires):
        return False
    return not word.scopes or not SCOPES.isdisjoint(word.scopes)
