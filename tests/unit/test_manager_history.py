"""The leading manager keeps the newest of what would grow without end."""

from test_manager_nodes import managed

from holdfast.manager.loop import KEPT
from holdfast.ports import Put
from holdfast.store import keys


async def test_the_oldest_records_of_the_audit_go() -> None:
    async with managed() as cluster:
        many = [Put(keys.audit(number, "x"), b"{}") for number in range(KEPT[keys.AUDIT] + 250)]
        for start in range(0, len(many), 100):
            cluster.cluster.txn([], many[start : start + 100], ())
        await cluster.run_for(62)
        left = [entry.key for entry in cluster.cluster.list(keys.AUDIT).entries]
        assert left == [put.key for put in many[250:]]
