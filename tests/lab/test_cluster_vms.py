"""Virtual machines in a real cluster: nodes die, freeze and return, guests end and hang, machines move, and the independent
watcher sees no machine twice. The tests build on each other's cluster, not on its state: each begins with everything up."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from vm_world import HEARTBEAT_LIMIT_S, MACHINES, PERIOD_S, SIZES, Machines, bring_up

from holdfast.lab import LabClient, kernel
from holdfast.lab.watcher import Watcher

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.timeout(300)]

LARGE = ("n4", "n5")
"""They carry no store."""


@pytest.fixture(scope="module")
def watched(make_lab: Callable[[str], LabClient]) -> Iterator[Machines]:
    began = time.monotonic()
    cluster = bring_up(make_lab("v"))
    print(f"five nodes and {len(MACHINES)} machines run after {time.monotonic() - began:.0f} s: {cluster.load()}")
    watcher = Watcher(cluster.lab)
    watcher.start()
    yield cluster
    report = watcher.stop()
    cluster.asking.check_disks()
    cluster.end()
    assert report.samples > 100
    assert report.violations == []
    records = {name: lines[-1]["n"] for name, lines in cluster.asking.heard.items() if lines}
    print(f"INV-1 watcher: {report.samples} samples, longest gap {report.longest_gap_s:.2f} s, no violation")
    print(f"records on disk: {records}")


@pytest.fixture
def cluster(watched: Machines) -> Iterator[Machines]:
    watched.restore(watched.lab.nodes)
    watched.wait_all()
    yield watched
    watched.asking.check_disks()


def lose(cluster: Machines, node: str) -> dict[str, Any]:
    """Cut a node's power and wait until all is as well as the planner had foreseen. Returns what it had foreseen."""
    cluster.until(lambda: not cluster.status()["open_incidents"], "nothing else is being recovered")
    cluster.wait_all()
    foreseen = cluster.what_if(node)
    lost, away = cluster.on(node), {*foreseen["unplaced"], *foreseen["stopped"]}
    back = [name for name in lost if f"vm/{name}" not in away]
    wall = datetime.now(UTC).isoformat()
    at = cluster.lab.fail(node, "power")
    cluster.until(lambda: all(cluster.places()[name] not in ("", node) for name in back), f"{back} run elsewhere")
    cluster.until(cluster.answer_since(back, kernel.boottime()), f"{back} answer")
    placed = first_places(cluster, lost, wall)
    if not away and not foreseen["moved"]:  # where room has to be made, there is more than one way to make it
        expected = {name: to for name, to in foreseen["placements"].items() if name.startswith("vm/")}
        assert {f"vm/{name}": to for name, to in placed.items()} == expected
        assert list(placed) == sorted(placed, key=lambda name: -MACHINES[name].priority), "the highest priority first"
    cluster.check_room()
    seconds = {}
    for name in back:
        answer = cluster.asking.first_since(name, at + 1.0)
        assert answer is not None
        seconds[name] = round(answer["at"] - at, 1)
    print(f"{node} died with {len(lost)} machines, placed {placed}; answered again after {seconds} s; to wait: {away}")
    return foreseen


def first_places(cluster: Machines, names: Iterable[str], since: str) -> dict[str, str]:
    """Machine → the first node that it was given after this moment (ISO 8601, UTC), in the order of the cluster's events."""
    events = json.loads(cluster.do("incident", "events", "--limit", "200", "--json"))  # the newest is the first
    found: dict[str, str] = {}
    for event in reversed(events):
        name = str(event["instance"]).removeprefix("vm/")
        if event["kind"] == "instance-placed" and event["wall"] > since[:23] and name in names:
            found.setdefault(name, str(event["node"]))
    return found


def test_the_fullest_node_dies_then_another_then_there_is_no_room(cluster: Machines) -> None:
    first = max(LARGE, key=lambda node: cluster.load()[node])
    second = next(node for node in LARGE if node != first)
    for node in (first, second):
        assert lose(cluster, node)["unplaced"] == {}, "two failures are tolerated"
    third = "n3"
    lose(cluster, third)
    waiting = [name for name, place in cluster.places().items() if not place]
    assert waiting, f"{SIZES} has no room for all"
    assert all(MACHINES[name].preemptible for name in waiting), "those of low priority wait"
    for name in waiting:
        why = cluster.instance(f"vm/{name}")["waiting"]
        print(f"{name} (priority {MACHINES[name].priority}) waits: {why}")
        assert why
    began = time.monotonic()
    cluster.restore([third])
    cluster.wait_all()
    print(f"all run {time.monotonic() - began:.0f} s after {third} was switched on")


def test_a_frozen_node_that_thaws_in_time_and_one_that_does_not(cluster: Machines) -> None:
    """Its BMC is unreachable, so that nothing but its watchdog can end it."""
    node = LARGE[0]
    for name in ("db-2", "test-1"):
        if cluster.places()[name] != node:
            cluster.do("vm", "migrate", name, "--to", node)
    cluster.wait_all()
    names, boots = cluster.on(node), cluster.boots(node)
    assert names
    before = {name: cluster.asking.last(name)["boot"] for name in names}
    cluster.lab.fail(node, "bmc", mode="unreachable")
    cluster.lab.fail(node, "freeze")
    time.sleep(3.0)
    cluster.lab.heal(node)
    cluster.until(cluster.answer_since(names, kernel.boottime()), "they go on")
    assert {name: cluster.asking.last(name)["boot"] for name in names} == before
    assert cluster.boots(node) == boots
    cluster.until(lambda: cluster.node_state(node) == "up", f"{node} is up")
    cluster.lab.fail(node, "bmc", mode="unreachable")
    at = cluster.lab.fail(node, "freeze")
    cluster.until(lambda: all(cluster.places()[name] not in ("", node) for name in names), "they run elsewhere")
    cluster.until(cluster.answer_since(names, kernel.boottime()), "they answer")
    print(f"{node} froze for good with {names}: all ran elsewhere after {kernel.boottime() - at:.1f} s")


def test_a_live_migration_keeps_the_guests_heart_beating(cluster: Machines) -> None:
    name = "db-1"
    source = cluster.places()[name]
    target = next(node for node in reversed(cluster.lab.nodes) if node != source and fits(cluster, name, node))
    before, at = cluster.asking.last(name), kernel.boottime()
    cluster.do("vm", "migrate", name, "--to", target)
    cluster.until(lambda: cluster.where(f"vm/{name}") == target, f"{name} on {target}")
    cluster.until(cluster.answer_since([name], kernel.boottime() + 1), "it answers")
    after = cluster.asking.last(name)
    assert after["boot"] == before["boot"], "it was not booted again"
    # A guest's clock stands while the guest does.
    pause = max(0.0, (after["at"] - before["at"]) - (after["up"] - before["up"]))
    silence = cluster.asking.silence(name, at)
    print(f"{name} {source} → {target}: stood {pause:.2f} s, silent for {silence:.2f} s (asked each {PERIOD_S} s)")
    assert silence - pause < 10.0, "generous: the machine is shared"


@pytest.mark.parametrize("dies", ["source", "target"])
def test_a_node_dies_in_mid_migration(cluster: Machines, dies: str) -> None:
    source, target = LARGE
    name = max((n for n in MACHINES if fits(cluster, n, target)), key=lambda n: MACHINES[n].memory_mib)
    if cluster.places()[name] != source:
        cluster.do("vm", "migrate", name, "--to", source)
        cluster.until(lambda: cluster.places()[name] == source, f"{name} on {source}")
    victim = source if dies == "source" else target
    asked = cluster.begin_migration(name, target, victim)
    end = time.monotonic() + 30
    while not cluster.receiving(target, name):
        assert time.monotonic() < end, "the migration does not begin"
    at = cluster.lab.fail(victim, "power")
    asked.communicate()
    cluster.until(lambda: cluster.places()[name] not in ("", victim), f"{name} runs")
    cluster.until(cluster.answer_since([name], kernel.boottime()), f"{name} answers")
    print(f"{dies} died in mid-migration: {name} ran on {cluster.places()[name]} {kernel.boottime() - at:.1f} s later")


def test_a_guest_that_powers_itself_off_stays_off(cluster: Machines) -> None:
    name = "test-1"
    cluster.http(name, "/off")
    cluster.until(lambda: cluster.instance(f"vm/{name}")["desired"] == "stopped", "it is off, and that is wanted")
    at = kernel.boottime()
    assert cluster.instance(f"vm/{name}")["state"] == "stopped"
    time.sleep(2.0)
    assert cluster.asking.first_since(name, at) is None
    assert all(not cluster.qemus(node, name) for node in cluster.lab.nodes)
    cluster.do("vm", "start", name)


def test_a_killed_qemu_is_restarted_in_place(cluster: Machines) -> None:
    name = "test-2"
    node, boot = cluster.places()[name], cluster.asking.last(name)["boot"]
    at = cluster.lab.fail(node, "kill", unit=f"vm/{name}")
    cluster.until(lambda: cluster.asking.last(name)["boot"] != boot, f"{name} was booted again")
    cluster.until(lambda: bool(cluster.places()[name]), f"{name} runs")
    assert cluster.places()[name] == node
    print(f"killed QEMU: its guest answered again after {cluster.asking.last(name)['at'] - at:.1f} s")


def test_a_hung_guest_is_reset(cluster: Machines) -> None:
    name = "build-2"
    node, boot = cluster.places()[name], cluster.asking.last(name)["boot"]
    pids, at = cluster.qemus(node, name), kernel.boottime()
    cluster.http(name, "/hang")
    cluster.until(lambda: cluster.asking.last(name)["boot"] != boot, f"{name} was booted again")
    assert cluster.qemus(node, name) == pids, "reset, not started anew"
    seconds = cluster.asking.last(name)["at"] - at
    print(f"hung guest: answered again after {seconds:.1f} s (limit {HEARTBEAT_LIMIT_S} s)")


def fits(cluster: Machines, name: str, node: str) -> bool:
    free = SIZES[node][1] - 512 - cluster.load()[node]
    return cluster.places()[name] == node or MACHINES[name].memory_mib <= free


def test_the_operator_sees_the_machines(cluster: Machines) -> None:
    listed = json.loads(cluster.do("vm", "list", "--json"))
    assert {vm["service"] for vm in listed["vms"]} == set(MACHINES)
