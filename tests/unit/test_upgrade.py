"""When a node may be upgraded, when that is done, and which daemons a new agent replaces."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import __version__
from holdfast.agent.runner_memory import MemoryHost, MemoryRunner
from holdfast.agent.system import SystemUnits
from holdfast.api.records import ManagerInfo
from holdfast.api.status import ClusterStatus, InstanceView, NodeStatus
from holdfast.api.upgrade import backwards, hindrances, not_yet, versions
from holdfast.cli.upgrade import take_turn
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.history import GuaranteeWord, Incident
from holdfast.core.model import Exclusivity, ManagementMember, ManagementSpec, NodeState, Role
from holdfast.core.policy import HaPause
from holdfast.errors import Conflict
from holdfast.ports import Unit
from holdfast.software import announce, is_current, older
from holdfast.store import keys
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

HANG_S = 20.0
NEW = "0.2.0"


def node(name: str, state: NodeState = NodeState.UP, **more: object) -> NodeStatus:
    return NodeStatus(name, (Role.STORAGE,), {}, state, session=f"{name}-1", version="0.1.0", **more)  # type: ignore[arg-type]


VOLUME = InstanceView(
    "nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, "started", node="n2", state="running", healthy=True
)
HEALTHY = ClusterStatus(
    manager=ManagerInfo("n1", 1),
    management=ManagementSpec(("n1",), members=(ManagementMember("n1", "", "", "voter"),)),
    nodes=(node("n1"), node("n2", instances=("nfs/vol1",)), node("n3", NodeState.MAINTENANCE)),
    instances=(VOLUME,),
)


def with_node(status: ClusterStatus, changed: NodeStatus) -> ClusterStatus:
    return replace(status, nodes=tuple(changed if each.id == changed.id else each for each in status.nodes))


def test_a_healthy_cluster_stands_against_nothing() -> None:
    assert hindrances(HEALTHY, "n2") == []
    assert hindrances(HEALTHY, "n3") == [], "one in maintenance may be upgraded just as well"


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (with_node(HEALTHY, node("n3", NodeState.SUSPECT)), "n3 is suspect"),
        (with_node(HEALTHY, node("n3", NodeState.JOINING)), "n3 is joining"),
        (with_node(HEALTHY, node("n2", NodeState.CLAIMED)), "n2 itself is claimed"),
        (replace(HEALTHY, pause=HaPause("work", "", "freeze")), "paused"),
        (replace(HEALTHY, hold="most are suspect"), "holds: most"),
        (replace(HEALTHY, manager=ManagerInfo()), "no manager"),
        (replace(HEALTHY, store_problem="no answer"), "the store: no answer"),
        (replace(HEALTHY, open_incidents=(Incident("7", "n3", "", "open"),)), "incident 7 of n3"),
        (replace(HEALTHY, guarantee=GuaranteeWord(1, holds=False, text="vm/a does not fit")), "vm/a does not fit"),
        (replace(HEALTHY, instances=(replace(VOLUME, healthy=False),)), "nfs/vol1 on n2"),
        (
            replace(HEALTHY, management=ManagementSpec(("n1",), members=(ManagementMember("n1", "", "", "learner"),))),
            "member on n1 is learner",
        ),
    ],
)
def test_what_stands_against_an_upgrade_is_named(status: ClusterStatus, word: str) -> None:
    (said,) = hindrances(status, "n2")
    assert word in said


def test_it_is_done_when_the_new_agent_has_adopted_everything() -> None:
    before = HEALTHY.node("n2")
    assert before is not None
    assert "agent of n2" in not_yet(HEALTHY, before, NEW)
    joined = replace(before, session="n2-2", version=NEW)
    assert "agent of n2" in not_yet(with_node(HEALTHY, replace(joined, version="0.1.0")), before, NEW)
    assert "to be up" in not_yet(with_node(HEALTHY, replace(joined, state=NodeState.JOINING)), before, NEW)
    upgraded = with_node(HEALTHY, joined)
    assert "nfs/vol1" in not_yet(replace(upgraded, instances=(replace(VOLUME, healthy=False),)), before, NEW)
    assert "manager" in not_yet(replace(upgraded, manager=ManagerInfo()), before, NEW)
    assert not_yet(upgraded, before, NEW) == ""
    assert versions(upgraded) == {"0.1.0": ("n1", "n3"), NEW: ("n2",)}


def test_back_to_a_version_that_knows_less_is_refused_and_says_why() -> None:
    mixed = with_node(HEALTHY, replace(node("n3"), version="0.1.0+900.gffffffff"))
    assert backwards(mixed, ["spec/nvme/volumes/v"], "0.1.0+901.g00000000") == [], "that leads forward"
    assert backwards(mixed, ["spec/nvme/volumes/v"], "0.2.0") == []
    assert backwards(mixed, [], "0.1.0+899.g00000000") == [], "it knows all there is"
    unread = replace(mixed, problems=("spec/rules/r holds no valid RuleSpec",))
    strange = replace(unread, instances=(VOLUME, replace(VOLUME, id="nvme/v", kind="nvme")))
    found = backwards(strange, [f"spec/nvme/volumes/v{k}" for k in range(5)], "0.1.0+899.g00000000")
    assert ["RuleSpec" in found[0], "and 2 more" in found[1], "kind nvme" in found[2]] == [True] * 3
    assert all("is older than 0.1.0+900.gffffffff, which runs on n3" in text for text in found)


def test_versions_are_compared_by_their_numbers_and_every_key_of_ours_is_known() -> None:
    assert older("0.1.0", "0.1.0+640.g1") and older("0.1.0+640.g2", "0.1.0+1640.g1") and older("0.9.0+7.g1", "0.10.0")
    assert not older("0.1.0+640.g1", "0.1.0+640.g2.dirty")
    assert not older("", "0.1.0")
    assert not older("0.1.0", "")
    ours = (
        keys.beat("n1"),
        keys.instance("nfs/v"),
        keys.SERIAL,
        keys.drill("7"),
        keys.audit(3, "x"),
        keys.sealed("n1"),
    )
    assert all(map(keys.known, ours))
    assert not keys.known("spec/nvme/volumes/v")
    assert not keys.known("spec/cluster2")


@pytest.mark.parametrize("current", [False, True])
async def test_a_new_agent_replaces_older_daemons_of_ours_and_nothing_else(tmp_path: Path, current: bool) -> None:
    config = NodeConfig("n1", "demo", {"management": "10.77.0.11"}, (), state_dir=str(tmp_path), run_dir=str(tmp_path))
    host = MemoryHost()
    runner = MemoryRunner(host)
    for name in ("manager", "panel", "etcd"):
        await runner.start(Unit(name, (name,), strict=False))
        (tmp_path / f"{name}.version").write_text(__version__ if current else "0.0.9")
    store = MemoryStore(MemoryCluster(), SystemClock(), faults=Faults(unavailable=True))
    units = asyncio.create_task(
        SystemUnits(config, runner, SystemClock(), store, Mirror(store)).run()  # type: ignore[arg-type]
    )
    try:
        async with asyncio.timeout(HANG_S):
            while not current and {"manager", "panel"} & set(host.units):  # noqa: ASYNC110 - nothing to wait on
                await asyncio.sleep(0.02)
        await asyncio.sleep(0)
        assert set(host.units) == ({"manager", "panel", "etcd"} if current else {"etcd"})
    finally:
        units.cancel()
        await asyncio.gather(units, return_exceptions=True)


def test_a_daemon_says_its_version(tmp_path: Path) -> None:
    assert not is_current(str(tmp_path), "manager")
    announce(str(tmp_path), "manager")
    assert is_current(str(tmp_path), "manager")
    announce(str(tmp_path / "missing"), "manager")


async def test_one_node_at_a_time() -> None:
    store = MemoryStore(MemoryCluster(), SystemClock())
    lease = await take_turn(store, "n1", 60)
    with pytest.raises(Conflict, match="n1 is being upgraded"):
        await take_turn(store, "n2", 60)
    await store.revoke(lease)
    await take_turn(store, "n2", 60)
