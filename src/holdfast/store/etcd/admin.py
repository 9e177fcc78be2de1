"""Members of the store cluster and their upkeep."""

from dataclasses import dataclass

from holdfast.errors import Conflict, NotFound, StoreUnavailable
from holdfast.store.etcd import rpc_pb2 as pb
from holdfast.store.etcd.client import EtcdStore
from holdfast.store.etcd.methods import (
    ALARM,
    COMPACT,
    DEFRAGMENT,
    MEMBER_ADD,
    MEMBER_LIST,
    MEMBER_PROMOTE,
    MEMBER_REMOVE,
    MOVE_LEADER,
    RANGE,
    STATUS,
    Method,
    Req,
    Res,
)
from holdfast.store.etcd.outcomes import AGAIN

TIMEOUT_S = 5.0
"""Changes of membership wait for the members to apply them."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member as etcd lists it. `name` and `client_urls` are empty until it has started for the first time."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool

    @property
    def started(self) -> bool:
        return bool(self.name)


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What one member says of itself."""

    id: int
    leader: int
    """Id of the leader it follows; 0: none."""
    term: int
    revision: int
    version: str
    db_bytes: int
    db_used_bytes: int
    learner: bool
    errors: tuple[str, ...]
    """Alarms and other troubles, e.g. NOSPACE."""


class EtcdAdmin:
    """Changes members and looks after them, over the connection of a store. Errors are those of the Store port, plus
    Conflict (etcd refuses now: not healthy or not caught up) and NotFound (no such member)."""

    def __init__(self, store: EtcdStore, *, timeout_s: float = TIMEOUT_S) -> None:
        self._engine = store.engine
        self._timeout_s = timeout_s

    async def members(self) -> tuple[MemberInfo, ...]:
        """All members, as of now: etcd 3.4 answers from the member asked, so a linearizable read on the same connection
        makes sure that it has caught up."""
        for _ in range(5):
            await self._call(RANGE, pb.RangeRequest(key=b"\0", count_only=True), "read the members", linear=True)
            connection = self._engine.pool.current
            answer = await self._call(MEMBER_LIST, pb.MemberListRequest(linearizable=True), "list the members")
            if connection is self._engine.pool.current:
                return tuple(_member(member) for member in answer.members)
        raise StoreUnavailable("the store's connection changes all the time while its members are listed", AGAIN)

    async def add_learner(self, peer_url: str) -> int:
        """Returns the new member's id; that of the present one if the URL belongs to a member already."""
        request = pb.MemberAddRequest(peer_urls=[peer_url], is_learner=True)
        try:
            answer = await self._call(MEMBER_ADD, request, f"add the member {peer_url}", write=True)
        except Conflict:
            for member in await self.members():
                if peer_url in member.peer_urls:
                    return member.id
            raise
        return answer.member.ID

    async def promote(self, member: int) -> None:
        """Make a learner a voter. Raises Conflict while it has not caught up."""
        await self._call(MEMBER_PROMOTE, pb.MemberIdRequest(ID=member), f"promote the member {member:x}", write=True)

    async def remove(self, member: int) -> None:
        """Nothing happens if it is no member any more."""
        try:
            await self._call(MEMBER_REMOVE, pb.MemberIdRequest(ID=member), f"remove the member {member:x}", write=True)
        except NotFound:
            return

    async def status(self, url: str, *, timeout: float | None = None) -> MemberStatus:
        """What the member at this client URL says of itself."""
        limit = self._timeout_s if timeout is None else timeout
        answer = await self._engine.call_at(url, STATUS, pb.StatusRequest(), what="tell its status", timeout=limit)
        return MemberStatus(
            id=answer.header.member_id,
            leader=answer.leader,
            term=answer.raft_term,
            revision=answer.header.revision,
            version=answer.version,
            db_bytes=answer.db_size,
            db_used_bytes=answer.db_size_in_use,
            learner=answer.is_learner,
            errors=tuple(answer.errors),
        )

    async def leader(self) -> int:
        """Id of the leader now. Raises StoreUnavailable if there is none."""
        answer = await self._call(STATUS, pb.StatusRequest(), "find the leader")
        if not answer.leader:
            raise StoreUnavailable("the store has no leader", AGAIN)
        return answer.leader

    async def move_leader(self, target: int) -> None:
        """Hand leadership to this member; nothing happens if it leads already."""
        leader = await self.leader()
        if leader == target:
            return
        url = next((url for m in await self.members() if m.id == leader for url in m.client_urls), None)
        if url is None:
            raise StoreUnavailable("the store's leader has no client address yet", AGAIN)
        request = pb.MoveLeaderRequest(target_id=target)
        await self._engine.call_at(url, MOVE_LEADER, request, what="hand over leadership", timeout=self._timeout_s)
        self._engine.lineage.election_noticed()

    # --- space ---

    async def compact(self, revision: int) -> None:
        """Forget the history before `revision` (etcd also does that by itself, every ten minutes)."""
        await self._call(
            COMPACT, pb.CompactionRequest(revision=revision, physical=True), "compact the store", write=True
        )

    async def defragment(self, url: str, *, timeout: float = 60.0) -> None:
        """Give unused space of one member back. The member answers nobody meanwhile."""
        await self._engine.call_at(url, DEFRAGMENT, pb.DefragmentRequest(), what="defragment", timeout=timeout)

    async def disarm(self) -> None:
        """Clear the NOSPACE alarms, after space was freed."""
        answer = await self._call(ALARM, pb.AlarmRequest(action=pb.AlarmRequest.GET), "read the alarms")
        for alarm in answer.alarms:
            request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, member_id=alarm.member_id, alarm=alarm.alarm)
            if alarm.alarm == pb.NOSPACE:
                await self._call(ALARM, request, "clear an alarm", write=True)

    async def _call(
        self, method: Method[Req, Res], request: Req, what: str, *, write: bool = False, linear: bool = False
    ) -> Res:
        return await self._engine.call(method, request, what=what, timeout=self._timeout_s, write=write, linear=linear)


def _member(member: pb.Member) -> MemberInfo:
    return MemberInfo(member.ID, member.name, tuple(member.peer_urls), tuple(member.client_urls), member.is_learner)
