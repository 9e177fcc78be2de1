"""Guards against answers of another cluster, of a restored one, and notices elections."""

import asyncio
from dataclasses import dataclass

from holdfast.errors import StoreRejected
from holdfast.store.etcd import rpc_pb2 as pb


@dataclass(frozen=True, slots=True)
class Mark:
    """What was known when a call was sent."""

    term: int
    revision: int


class Lineage:
    """Cluster id, raft term and revision as they were seen.

    Linearizable answers never go back: not in their term, not in their revision. One that does comes from a cluster that
    was restored from a backup; what was known of it before is void (`generation` grows).
    """

    def __init__(self, cluster_id: int | None = None) -> None:
        self.cluster_id = cluster_id
        self.term = 0
        self.revision = 0
        self.generation = 0
        self._leader_term = 0
        self._elected: asyncio.Future[None] | None = None

    def mark(self) -> Mark:
        return Mark(self.term, self.revision)

    def check(self, header: pb.ResponseHeader) -> None:
        """Raises StoreRejected for an answer of another cluster than the first one seen."""
        if not header.cluster_id:
            return
        if self.cluster_id is None:
            self.cluster_id = header.cluster_id
        if header.cluster_id != self.cluster_id:
            raise StoreRejected(
                f"the store belongs to another cluster (id {header.cluster_id:x}, expected {self.cluster_id:x})",
                "Mend the list of endpoints; if the store was replaced on purpose, restart this daemon.",
            )

    def accept(self, mark: Mark, header: pb.ResponseHeader) -> None:
        """Take note of a linearizable answer to a call that was sent at `mark`."""
        self.check(header)
        if header.raft_term < mark.term or header.revision < mark.revision:
            self.generation += 1
            self.term, self.revision, self._leader_term = header.raft_term, header.revision, 0
            return
        self.term = max(self.term, header.raft_term)
        self.revision = max(self.revision, header.revision)

    def delivered(self, revision: int) -> None:
        """A watch has delivered everything up to here, so it was committed."""
        self.revision = max(self.revision, revision)

    # --- elections ---

    def leader_seen(self, term: int) -> None:
        """A member follows a leader of this term. A new one means that forwarded proposals may be lost for ever."""
        if term <= self._leader_term:
            return
        first = self._leader_term == 0
        self._leader_term = term
        if not first:
            self.election_noticed()

    def election_noticed(self) -> None:
        if self._elected is not None and not self._elected.done():
            self._elected.set_result(None)
        self._elected = None

    def election(self) -> "asyncio.Future[None]":
        """Done at the next change of the leader."""
        if self._elected is None:
            self._elected = asyncio.get_running_loop().create_future()
        return self._elected
