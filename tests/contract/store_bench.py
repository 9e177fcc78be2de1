"""Makes clients of one store, in memory or in etcd."""

from dataclasses import dataclass, field

from etcd_members import Members

from holdfast.clock import SystemClock
from holdfast.ports import Store
from holdfast.store.etcd import EtcdAdmin, EtcdStore
from holdfast.store.memory import MemoryCluster, MemoryStore


@dataclass
class StoreBench:
    """Makes clients of one store."""

    kind: str
    members: Members | None = None
    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    prefix: str = ""
    made: list[Store] = field(default_factory=list)

    def client(self) -> Store:
        store: Store
        if self.members is None:
            store = MemoryStore(self.cluster, SystemClock(), progress_s=0.1)
        else:
            store = EtcdStore(self.members.endpoints, self.members.tls, prefix=self.prefix, default_timeout_s=10)
        self.made.append(store)
        return store

    async def compact(self, revision: int) -> None:
        if self.members is None:
            self.cluster.compact(revision)
        else:
            store = EtcdStore(self.members.endpoints, self.members.tls)
            await EtcdAdmin(store).compact(revision)
            await store.close()
