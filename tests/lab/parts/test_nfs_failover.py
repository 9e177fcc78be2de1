"""NFS volumes through the death of their node, a planned move and a crash, seen by a client that checks every record.

Nodes are namespaces with the real driver, runner, addresses and NFS-Ganesha; the client is our own NFSv4.1 client, or, in
the last test, Linux's own in an emulated machine. Stalls are printed (pytest -s), not judged: the machine is shared.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nfs_world import ADDRESS, ADDRESS_6, World, until

from holdfast.core.model import InstanceSpec
from holdfast.lab.guest import GuestNfsClient
from holdfast.services.nfs.driver import GANESHA

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0 or not Path(GANESHA).exists(), reason="needs root and nfs-ganesha"),
]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def show(**values: Any) -> None:
    print(json.dumps(values))


def nothing_lost(summary: dict[str, Any]) -> None:
    assert (summary["lost"], summary["torn"], summary["lock_kept"]) == (0, 0, True), summary


def writing(world: World, more: int = 20) -> None:
    """Wait for that many more acknowledged records."""
    wanted = len(world.acked()) + more
    until(lambda: len(world.acked()) >= wanted, "records acknowledged")


def remembered(world: World, instance: InstanceSpec) -> None:
    """Wait until the client is in the volume's list of clients, as after a second of service."""
    file = Path(instance.config["path"]).parent / "clients.json"
    until(lambda: file.exists() and str(world.client.number) in file.read_text(), "client remembered")


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS_6], ids=["ipv4", "ipv6"])
def test_power_loss_of_the_node(world: World, address: str) -> None:
    first, second = world.nodes
    volume = world.volume("vol1", address)
    second.ask("prepare", volume)
    first.ask("start", volume)
    journal = world.journal(volume, "--opens", "0.2")
    writing(world)
    remembered(world, volume)
    first.power_off()
    started = second.ask("start", volume)
    writing(world, 100)
    assert second.ask("probe", volume)["problem"] == ""
    summary = world.finish(journal)
    show(test="power loss", address=address, **started, **summary)
    nothing_lost(summary)
    assert summary["servers_met"] == 2
    assert "clid count(1)" in second.log(volume), "health probes must not be waited for in the grace period"


def test_planned_move_and_back(world: World) -> None:
    volume = world.volume("vol1")
    here, there = world.nodes
    here.ask("start", volume)
    journal = world.journal(volume)
    writing(world)
    for _ in range(2):
        remembered(world, volume)
        assert here.ask("stop", volume) == {"running": []}
        there.ask("start", volume)
        here, there = there, here
        writing(world)
    summary = world.finish(journal)
    show(test="planned moves", **summary)
    nothing_lost(summary)


def test_second_power_loss_within_the_grace_period(world: World) -> None:
    """The server that took over dies before all is reclaimed: the next one finds the same recovery state."""
    first, second = world.nodes
    volume = world.volume("vol1")
    first.ask("start", volume)
    journal = world.journal(volume)
    writing(world)
    remembered(world, volume)
    first.power_off()
    second.ask("start", volume)
    second.ask("stop", volume)
    second.ask("start", volume)
    writing(world)
    summary = world.finish(journal)
    show(test="twice", **summary)
    nothing_lost(summary)


def test_two_volumes_on_one_node_do_not_disturb_each_other(world: World) -> None:
    first, second = world.nodes
    one, two = world.volume("one"), world.volume("two", "10.78.0.102")
    first.ask("start", one)
    second.ask("start", two)
    journal = world.journal(two, file="two")
    until(lambda: len(world.acked("two")) > 20, "records acknowledged")
    first.power_off()
    second.ask("start", one)
    before = len(world.acked("two"))
    until(lambda: len(world.acked("two")) > before + 50, "records acknowledged")
    assert second.ask("probe", one)["problem"] == ""
    summary = world.finish(journal)
    nothing_lost(summary)
    assert summary["servers_met"] == 1


@pytest.mark.guest
def test_power_loss_with_linux_own_client(world: World) -> None:
    first, second = world.nodes
    volume = world.volume("vol1")
    second.ask("prepare", volume)
    first.ask("start", volume)
    with GuestNfsClient(f"/run/netns/{world.client.netns}", "10.78.0.201", ADDRESS, "vol1") as guest:
        before = guest.acked()
        until(lambda: guest.acked() >= before + 20, "records acknowledged")
        file = Path(volume.config["path"]).parent / "clients.json"
        until(lambda: file.exists() and "10.78.0.201" in file.read_text(), "guest remembered")
        first.power_off()
        started = second.ask("start", volume)
        before = guest.acked()
        until(lambda: guest.acked() >= before + 50, "records acknowledged by the new server")
        opens = sum("open" in event for event in guest.events())
        until(lambda: sum("open" in event for event in guest.events()) > opens, "a new file opened")
        held = world.client_check(volume, "/vol1/guest")
        summary = guest.stop()
    show(test="power loss, Linux client", held=held, **started, **summary)
    assert (summary["lost"], summary["torn"], summary["errors"], summary["lock_lost"]) == (0, 0, 0, []), summary
    assert held
