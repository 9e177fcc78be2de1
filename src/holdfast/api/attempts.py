"""The limits on guessing passwords.

In this process, at once: a handful of wrong passwords per account and address, and per address, within a minute. In the
store, so that it holds in every panel process and after a fail-over, by lease: who goes on is locked out.

Nobody can lock somebody else out everywhere: the lock-outs bind an *address*, alone or with an account. Only when very many
addresses guess at one account is the account closed, and then for *unfamiliar* networks: those from which its password was
right before may go on, and root on a management node needs no password at all.
"""

import hashlib
from contextlib import suppress

from holdfast.api.origin import network
from holdfast.api.people import Failures, People
from holdfast.bootstrap.users import User
from holdfast.errors import NotPermitted, StoreError
from holdfast.ports import Clock, Compare, Get, Put, Store
from holdfast.store import codec, keys

FAILURES = 5
ADDRESS_FAILURES = 15
WINDOW_S = 60.0
"""After FAILURES wrong passwords for an account from an address (ADDRESS_FAILURES for any accounts) within this time further
ones are refused unread."""
TRACKED = 10_000

LOCKOUT_S = 900
"""A lock-out ends so long after the last wrong password that was tried; counts without a lock-out are forgotten then too."""
LOCK_AFTER = {"pair": 10, "address": 50, "account": 100}
"""What is counted in the store → how many make a lock-out. `account` binds unfamiliar networks only."""
STORED = 3000
"""The store keeps no more counts than this: whoever has so many addresses is held by the account's count."""
FAMILIAR = 8
"""Networks remembered per account."""


class TooManyAttempts(NotPermitted):
    """Refused unread."""

    http_status = 429

    def __init__(self, message: str, wait_s: float) -> None:
        wait = int(wait_s) + 1
        super().__init__(message, f"Wait {wait} seconds, then try again.")
        self.retry_after_s = wait


class Attempts:
    """Counts failed logins. An attempt counts as failed until it is proven right, so guesses in parallel count as well."""

    def __init__(self, store: Store, clock: Clock, people: People) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._recent: dict[str, list[float]] = {}

    def begin(self, name: str, address: str) -> None:
        """Raises TooManyAttempts."""
        source = network(address)
        self._check(f"{name} from {source}", FAILURES)
        self._check(f"address {source}", ADDRESS_FAILURES)
        self._check_locked(name, source)
        if len(self._recent) > TRACKED:
            self._recent.clear()
        now = self._clock.now()
        for what in (f"{name} from {source}", f"address {source}"):
            self._recent[what] = [*self._lately(what), now]

    def succeeded(self, name: str, address: str) -> None:
        """The count of the address alone stays: an account of one's own is no way to guess at others for ever."""
        self._recent.pop(f"{name} from {network(address)}", None)

    async def failed(self, name: str, address: str) -> None:
        """Count it in the store. While the store is away nobody can log in anyway."""
        source = network(address)
        counted = {what: key for what, key in self._keys(name, source).items() if self._room_for(key)}
        with suppress(StoreError):
            for _ in range(3):
                if await self._count(counted, name, source):
                    return

    def locked(self, name: str, address: str) -> str:
        """Why a login would be refused in every panel process, or an empty text."""
        source = network(address)
        for what, key in self._keys(name, source).items():
            found = self._people.failures.get(key.removeprefix(keys.LOGIN_FAILURES))
            if found is None or found.count < LOCK_AFTER[what]:
                continue
            return {
                "pair": "too many wrong passwords for this account from this address",
                "address": "too many wrong passwords from this address",
                "account": "too many wrong passwords for this account, and nobody logged in to it from here lately",
            }[what]
        return ""

    def _check_locked(self, name: str, source: str) -> None:
        why = self.locked(name, source)
        if why:
            raise TooManyAttempts(why, LOCKOUT_S)

    def _check(self, what: str, limit: int) -> None:
        recent = self._lately(what)
        if len(recent) >= limit:
            raise TooManyAttempts("too many wrong passwords", WINDOW_S - (self._clock.now() - recent[0]))

    def _lately(self, what: str) -> list[float]:
        limit = self._clock.now() - WINDOW_S
        return [at for at in self._recent.get(what, ()) if at > limit]

    def _familiar(self, name: str, source: str) -> bool:
        user = self._people.users.get(name)
        return user is not None and source in user.familiar

    def _room_for(self, key: str) -> bool:
        return len(self._people.failures) < STORED or key.removeprefix(keys.LOGIN_FAILURES) in self._people.failures

    def _keys(self, name: str, source: str) -> dict[str, str]:
        """`pair`, `address` and `account` → key. A familiar network's slips do not count against the whole account. Names
        that are no account are counted alike, so that nobody learns which exist; so little of their hash is kept that it
        tells nothing about a password that was typed into the field for the name."""
        who, where = _hash(name)[:5], _hash(source)
        found = {
            "pair": keys.login_failures("pair", f"{who}-{where}"),
            "address": keys.login_failures("address", where),
        }
        if not self._familiar(name, source):
            found["account"] = keys.login_failures("account", who)
        return found

    async def _count(self, counted: dict[str, str], name: str, source: str) -> bool:
        """One step up, for all at once; False: somebody else counted at the same time."""
        read = await self._store.txn([], [Get(key) for key in counted.values()])
        lease = await self._store.lease(LOCKOUT_S)
        compare, puts = [], []
        for what, key in counted.items():
            entry = read.gets[key]
            before = codec.decode(entry.value, Failures, key).count if entry else 0
            compare.append(Compare(key, entry.mod_revision if entry else 0))
            who = name if what != "address" and name in self._people.users else ""
            seen = Failures(before + 1, who, source if what != "account" else "", self._clock.wall())
            puts.append(Put(key, codec.encode(seen), lease))
        return (await self._store.txn(compare, puts)).succeeded


def with_familiar(user: User, address: str) -> tuple[str, ...]:
    """The account's familiar networks with this one as the newest."""
    source = network(address)
    return (source, *(known for known in user.familiar if known != source))[:FAMILIAR]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
