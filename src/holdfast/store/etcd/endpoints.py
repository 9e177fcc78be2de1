"""Where the store's members are, for daemons whose agent writes it down."""

from holdfast.config import NodeConfig, store_endpoints
from holdfast.ports import Clock
from holdfast.store.etcd.client import EtcdStore

LOOK_EVERY_S = 2.0


async def follow_endpoints(config: NodeConfig, store: EtcdStore, clock: Clock) -> None:
    """The agent writes down the store's members; follow them."""
    known: tuple[str, ...] = ()
    while True:
        endpoints = store_endpoints(config)
        if endpoints != known:
            known = endpoints
            store.update_endpoints(endpoints)
        await clock.sleep(LOOK_EVERY_S)
