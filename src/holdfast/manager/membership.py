"""Moves the store's members towards the wanted management nodes, one safe step at a time.

Two records must agree in the end: etcd's own list of members, and `spec/management`, which tells each agent whether to run
a member and each client where to connect. They cannot be changed in one transaction, so every change is announced in the
record first and confirmed in it afterwards; a step begins by reading both and finishing what a crash left half done.

    joining (record) → added to etcd as a learner → learner (record) → the node's agent starts it and it catches up
    → promoted in etcd → voter (record)
    leaving (record) → leadership handed over → removed from etcd → gone (record), its agent removes the data

A learner has no vote, so adding one never endangers the quorum. A voter is removed only if those that answer are a
majority of what remains. Wanted nodes are added before others are removed, unless a dead one stands in the way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from holdfast.config import ETCD_CLIENT_PORT, ETCD_PEER_PORT, NodeConfig
from holdfast.core.model import ManagementMember, ManagementSpec, NodeSpec
from holdfast.errors import Conflict, NotFound, StoreError
from holdfast.ports import Clock, Compare, Op, Put, Store
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.etcd import EtcdAdmin, EtcdStore, MemberInfo, MemberStatus

Commit = Callable[[list[Compare], list[Op]], Awaitable[bool]]
"""Commits a store transaction with the manager's own term compared; False if a comparison failed."""

STATUS_S = 1.0
"""A voter that does not tell its status within this time counts as dead in a decision about removal."""
SETTLED_CHECK_S = 10.0
"""How often the two records are compared although nothing is to be done."""


class MemberAdmin(Protocol):
    """What is asked of the store's administration (EtcdAdmin)."""

    async def members(self) -> tuple[MemberInfo, ...]: ...
    async def add_learner(self, peer_url: str) -> int: ...
    async def promote(self, member: int) -> None: ...
    async def remove(self, member: int) -> None: ...
    async def status(self, url: str, *, timeout: float | None = None) -> MemberStatus: ...
    async def move_leader(self, target: int) -> None: ...


def member_urls(node: NodeSpec) -> tuple[str, str]:
    """Peer and client URL of a node's member, at its management address."""
    address = node.addresses["management"]
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{ETCD_PEER_PORT}", f"https://{host}:{ETCD_CLIENT_PORT}"


@dataclass(frozen=True, slots=True)
class _Situation:
    """Both records as they are at the beginning of a step."""

    spec: ManagementSpec
    revision: int
    etcd: Sequence[MemberInfo]

    def info(self, member: ManagementMember) -> MemberInfo | None:
        """The same member as etcd lists it. One that has the name but another spelling of the URL is no stranger: what is
        taken for gone is wiped by its agent."""
        named = [info for info in self.etcd if info.name == member.node]
        return next((info for info in self.etcd if member.peer_url in info.peer_urls), named[0] if named else None)

    def wanted(self, member: ManagementMember) -> bool:
        return member.node in self.spec.nodes

    def of_state(self, *states: str) -> list[ManagementMember]:
        return [member for member in self.spec.members if member.state in states]


class MembershipReconciler:
    """Each `step` does at most one change and says what it did or what it waits for; "" when all is as wanted."""

    def __init__(
        self,
        store: Store,
        admin: MemberAdmin,
        commit: Commit,
        urls: Callable[[NodeSpec], tuple[str, str]] = member_urls,
    ) -> None:
        self._store = store
        self._admin = admin
        self._commit = commit
        self._urls = urls

    async def step(self) -> str:
        """Raises StoreError; calling it again is always right."""
        entry = await self._store.get(keys.MANAGEMENT)
        if entry is None:
            return ""
        spec = decode(entry.value, ManagementSpec, keys.MANAGEMENT)
        now = _Situation(spec, entry.mod_revision, await self._admin.members())
        rules = (
            self._agree,
            self._finish_leaving,
            self._finish_learner,
            self._finish_joining,
            self._bury,
            self._join,
            self._leave,
        )
        try:
            for rule in rules:
                said = await rule(now)
                if said:
                    return said
        except (Conflict, NotFound) as error:
            return f"waits: {error}"
        return self._strangers(now)

    # --- the rules, in their order ---

    async def _agree(self, now: _Situation) -> str:
        """Write down what etcd already did: the end of a step whose second half was lost."""
        for member in now.spec.members:
            info = now.info(member)
            if info is None:
                if member.state == "joining" and now.wanted(member):
                    continue
                said = "is a member of the store no longer" if member.state != "joining" else "is not wanted any more"
                return await self._write(now, member, None, f"{member.node} {said}")
            state = "learner" if info.learner else "voter"
            if member.state == "leaving" and not now.wanted(member):
                state = "leaving"
            if member.state != state or member.member_id != f"{info.id:x}":
                agreed = replace(member, state=state, member_id=f"{info.id:x}")
                return await self._write(now, member, agreed, f"{member.node} is now {state} in the store")
        return ""

    async def _finish_leaving(self, now: _Situation) -> str:
        """Remove a member that was announced to leave."""
        for member in now.of_state("leaving"):
            info = now.info(member)
            assert info is not None, "_agree drops those that etcd does not list"
            if not info.learner:
                obstacle = await self._make_removable(now, member, info)
                if obstacle:
                    return obstacle
            try:
                await self._admin.remove(info.id)
            except Conflict as error:
                return f"waits to remove {member.node} from the store: {error.message}"
            return await self._write(now, member, None, f"removed {member.node} from the store")
        return ""

    async def _finish_learner(self, now: _Situation) -> str:
        """Promote the learner once it has caught up; let one go that is not wanted."""
        for member in now.of_state("learner"):
            info = now.info(member)
            assert info is not None, "_agree drops those that etcd does not list"
            if not now.wanted(member):
                return await self._write(now, member, replace(member, state="leaving"), f"{member.node} is to leave")
            if not info.started:
                return f"waits for the store's member on {member.node} to start"
            try:
                await self._admin.promote(info.id)
            except Conflict as error:
                return f"waits for the store's member on {member.node} to catch up: {error.message}"
            return await self._write(now, member, replace(member, state="voter"), f"{member.node} votes in the store")
        return ""

    async def _finish_joining(self, now: _Situation) -> str:
        """Add a member that was announced. Its agent starts it when it reads `learner`."""
        for member in now.of_state("joining"):
            try:
                number = await self._admin.add_learner(member.peer_url)
            except Conflict as error:
                buried = await self._bury(now, even_if_joining=True)
                return buried or f"waits to add {member.node} to the store: {error.message}"
            added = replace(member, state="learner", member_id=f"{number:x}")
            return await self._write(now, member, added, f"added {member.node} to the store as a learner")
        return ""

    async def _bury(self, now: _Situation, *, even_if_joining: bool = False) -> str:
        """A dead voter that is not wanted goes first: etcd adds nobody while a voter is missing."""
        unwanted = [member for member in now.of_state("voter") if not now.wanted(member)]
        if not unwanted or (now.of_state("joining") and not even_if_joining):
            return ""
        alive = await self._alive(now.of_state("voter"))
        for member in unwanted:
            if member.node not in alive and _safe_without(member, now.of_state("voter"), alive):
                leaving = replace(member, state="leaving")
                return await self._write(now, member, leaving, f"{member.node} is dead and is to leave the store")
        return ""

    async def _join(self, now: _Situation) -> str:
        """Announce the next wanted node."""
        present = {member.node for member in now.spec.members}
        for node in now.spec.nodes:
            if node in present:
                continue
            entry = await self._store.get(keys.node_spec(node))
            if entry is None:
                return f"{node} shall become a management node but is no node of the cluster; name another one"
            peer, client = self._urls(decode(entry.value, NodeSpec, entry.key))
            joining = ManagementMember(node, peer, client, "joining")
            return await self._write(now, None, joining, f"{node} is to join the store")
        return ""

    async def _leave(self, now: _Situation) -> str:
        """Everyone wanted votes: announce the next one that has to go, the leader last."""
        unwanted = [member for member in now.of_state("voter") if not now.wanted(member)]
        if not unwanted:
            return ""
        voters = now.of_state("voter")
        alive = await self._alive(voters)
        leader = _leader(alive)
        unwanted.sort(key=lambda member: (member.node in alive, member.member_id == f"{leader:x}"))
        for member in unwanted:
            if _safe_without(member, voters, alive):
                leaving = replace(member, state="leaving")
                return await self._write(now, member, leaving, f"{member.node} is to leave the store")
        return _too_few(unwanted[0], voters, alive)

    def _strangers(self, now: _Situation) -> str:
        known = [now.info(member) for member in now.spec.members]
        strange = [url for info in now.etcd if info not in known for url in info.peer_urls]
        return f"the store has members Holdfast does not know: {', '.join(strange)}; remove them" if strange else ""

    # --- parts ---

    async def _make_removable(self, now: _Situation, member: ManagementMember, info: MemberInfo) -> str:
        """ "" if the quorum survives the removal now; hands leadership over first."""
        voters = now.of_state("voter", "leaving")
        alive = await self._alive(voters)
        if not _safe_without(member, voters, alive):
            return _too_few(member, voters, alive)
        if _leader(alive) != info.id:
            return ""
        heirs = [heir for heir in now.of_state("voter") if heir.node in alive and now.wanted(heir)]
        if not heirs:
            return f"waits to remove {member.node} from the store: it leads, and no wanted member answers"
        await self._admin.move_leader(int(heirs[0].member_id, 16))
        return f"handed the store's leadership from {member.node} to {heirs[0].node}"

    async def _alive(self, members: Sequence[ManagementMember]) -> dict[str, MemberStatus]:
        """Node → status of those that answer and follow a leader."""
        asked = [self._admin.status(member.client_url, timeout=STATUS_S) for member in members]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: dict[str, MemberStatus] = {}
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, MemberStatus):
                if answer.leader:
                    found[member.node] = answer
            elif not isinstance(answer, StoreError):
                raise answer
        return found

    async def _write(
        self, now: _Situation, old: ManagementMember | None, new: ManagementMember | None, said: str
    ) -> str:
        """Replace one member in the record, unless the record changed since it was read."""
        members = tuple(new if member is old else member for member in now.spec.members)
        if old is None:
            members = (*members, new)
        if not any((info := now.info(member)) is not None and not info.learner for member in members if member):
            return "the management record and the store have no voting member in common; nothing is changed, mend it by hand"
        spec = replace(now.spec, members=tuple(member for member in members if member is not None))
        committed = await self._commit([Compare(keys.MANAGEMENT, now.revision)], [Put(keys.MANAGEMENT, encode(spec))])
        return said if committed else "the management record changed meanwhile; looks again"


def _leader(alive: Mapping[str, MemberStatus]) -> int:
    """The leader of the highest term anybody knows; 0: none."""
    return max(alive.values(), key=lambda status: status.term).leader if alive else 0


def _safe_without(member: ManagementMember, voters: Sequence[ManagementMember], alive: Mapping[str, object]) -> bool:
    """Whether those that answer are a majority of the voters that remain."""
    rest = [voter.node for voter in voters if voter.node != member.node]
    return bool(rest) and 2 * sum(node in alive for node in rest) > len(rest)


def _too_few(member: ManagementMember, voters: Sequence[ManagementMember], alive: Mapping[str, object]) -> str:
    dead = [voter.node for voter in voters if voter.node not in alive and voter.node != member.node]
    return (
        f"waits to remove {member.node} from the store: without it there would be no majority"
        f"{' while ' + ', '.join(dead) + ' does not answer' if dead else ''}"
    )


def membership_stepper(
    config: NodeConfig, store: EtcdStore, clock: Clock
) -> Callable[[ManagementSpec, Commit], Awaitable[str]]:
    """The manager's step: `spec` (which may be stale) only tells whether there is anything to do at all."""
    del config  # every member is reached through the store's own connection and certificate
    admin = EtcdAdmin(store)
    checked = float("-inf")

    async def step(spec: ManagementSpec, commit: Commit) -> str:
        nonlocal checked
        voters = [member.node for member in spec.members if member.state == "voter" and member.member_id]
        settled = sorted(voters) == sorted(spec.nodes) and len(voters) == len(spec.members)
        if settled and clock.now() - checked < SETTLED_CHECK_S:
            return ""
        said = await MembershipReconciler(store, admin, commit).step()
        checked = clock.now()
        return said

    return step
