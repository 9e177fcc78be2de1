"""What an operator decides about virtual machines, in a real cluster: maintenance, lost storage, machines that are off
or not protected, imported ones; and that nobody gets at a disk behind Holdfast's back."""

import json
from typing import Any

import pytest
from vm_world import MACHINES, SIZES, Machines

from holdfast.lab import kernel
from holdfast.lab.guest.image import VM_COMMAND_LINE

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.timeout(900)]

LARGE = ("n4", "n5")
"""They carry no store."""
SOCKET = "/run/holdfast/vm/run/libvirt-sock"
OLD_IP = "10.78.0.90"
OLD = f"""<domain type='qemu'><name>old</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/shared/guests/kernel</kernel><initrd>/shared/guests/initrd</initrd>
<cmdline>{VM_COMMAND_LINE} hvm.name=old hvm.ip={OLD_IP}/24</cmdline></os><features><acpi/></features>
<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/shared/guests/old.raw'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><source bridge='br-public'/><model type='virtio'/></interface></devices></domain>"""


def boots(cluster: Machines, names: "list[str]") -> dict[str, str]:
    """Machine → its guest's boot, by its newest answer."""
    return {name: cluster.asking.last(name)["boot"] for name in names}


def precheck(cluster: Machines, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.do("node", "maintenance", "enter", node, "--precheck", "--json"))
    return found


def test_maintenance_moves_machines_off_and_back_without_a_reboot(cluster: Machines) -> None:
    cluster.settled()
    occupied = sorted((n for n in cluster.lab.nodes if cluster.on(n)), key=lambda n: len(cluster.on(n)))
    # One whose last live migration failed, as that of a machine whose target died, would move by a restart.
    node = next(n for n in occupied if all(move["how"] == "live" for move in _machines(precheck(cluster, n)["moves"])))
    names = cluster.on(node)
    before, at = boots(cluster, names), kernel.boottime()
    moves = {move["instance"]: move["to"] for move in precheck(cluster, node)["moves"]}
    assert {f"vm/{name}" for name in names} <= set(moves)
    assert cluster.on(node) == names, "so far nothing is done"
    assert "would not survive" in cluster.refused("node", "maintenance", "enter", node), (
        "two failures more are too many"
    )
    cluster.do("node", "maintenance", "enter", node, "--force")
    assert cluster.on(node) == []
    status = json.loads(cluster.do("node", "maintenance", "status", node, "--json"))
    assert status["progress"] == {"moved": len(moves), "of": len(moves)}
    cluster.until(cluster.answer_since(names, kernel.boottime()), f"{names} answer")
    cluster.do("node", "maintenance", "exit", node)
    assert cluster.on(node) == names
    cluster.until(cluster.answer_since(names, kernel.boottime()), f"{names} answer")
    assert boots(cluster, names) == before
    print(f"{node} in maintenance: {moves}, and back after {kernel.boottime() - at:.1f} s")


def _machines(moves: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    return [move for move in moves if move["instance"].startswith("vm/")]


def test_a_node_loses_its_storage(cluster: Machines) -> None:
    """What a process has opened stays open in the lab: QEMU sees no error, only new accesses fail. Its owner's policy says
    whether a machine waits for better times there or runs where the storage is."""
    cluster.settled()
    node = max(cluster.lab.nodes, key=lambda n: len(cluster.on(n)))
    names = cluster.on(node)
    goes, stays = names[-1], names[0]
    before = boots(cluster, names)
    cluster.do("vm", "set", goes, "--storage-loss-after", "3")
    cluster.do("vm", "set", stays, "--on-storage-loss", "ignore")
    at = cluster.lab.fail(node, "storage")
    cluster.until(lambda: cluster.places()[goes] not in ("", node), f"{goes} is to run elsewhere")
    cluster.until(cluster.answer_since([goes], kernel.boottime()), f"{goes} answers")
    print(
        f"{node} lost its storage: {goes} answered from {cluster.places()[goes]} after {kernel.boottime() - at:.1f} s"
    )
    assert cluster.qemus(node, goes) == []
    cluster.lab.heal(node)
    others = [name for name in names if name != goes]
    cluster.until(cluster.answer_since(others, kernel.boottime()), f"{others} answer")
    assert boots(cluster, others) == {name: before[name] for name in others}, "they have waited"
    assert set(others) <= set(cluster.on(node))


def test_an_imported_machine_and_its_disk(cluster: Machines) -> None:
    cluster.empty_disk("old")
    (cluster.lab.layout.shared_dir / "old.xml").write_text(OLD)
    cluster.do("vm", "import", "/shared/old.xml", "--start", "--force", "--no-wait")
    ask = ["timeout", "2", "busybox", "wget", "-q", "-O", "-", f"http://{OLD_IP}/"]
    cluster.until(lambda: '"name":"old"' in cluster.lab.exec("client", ask).stdout, "the imported machine answers")
    node = cluster.home("vm/old")
    other = next(n for n in LARGE if n != node)
    for where in (node, other):
        virsh = ["virsh", "-c", f"qemu+unix:///system?mode=legacy&socket={SOCKET}", "create", "/shared/old.xml"]
        refused = cluster.lab.exec(where, virsh)
        assert refused.returncode != 0
        assert ("already exists" if where == node else "does not permit vm/old") in refused.stderr
        disk = "file=/shared/guests/old.raw,format=raw,if=virtio"
        by_hand = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-accel", "tcg", "-drive", disk]
        refused = cluster.lab.exec(where, by_hand)
        assert refused.returncode != 0
        assert 'Failed to get "write" lock' in refused.stderr
    assert "HVM-UP name=old" in cluster.do("vm", "console-log", "old"), "from any node"
    cluster.do("vm", "delete", "old", "--force", "--delete-disks")


def test_machines_that_are_off_or_wait_for_their_node(cluster: Machines) -> None:
    cluster.settled()
    node, second = LARGE
    off = "build-2"
    cluster.have({off: node, "test-1": node, "test-2": second})
    room = ["--cpu", "0.1", "--memory", "64MiB", "--disk-size", "1MiB"]
    cluster.do("vm", "create", "solo", *room, "--no-ha", "--node", node)
    cluster.do("vm", "stop", off)
    cluster.lab.fail(node, "power")
    cluster.until(lambda: cluster.instance(f"vm/{off}")["node"] not in ("", node), f"{off} has a new home")
    cluster.until(
        lambda: cluster.instance(f"vm/{off}")["state"] == "stopped", f"its new home says of {off} that it is off"
    )
    assert cluster.qemus(cluster.instance(f"vm/{off}")["node"], off) == []
    solo = cluster.instance("vm/solo")
    assert solo["node"] == node
    assert solo["waiting"]
    print(f"solo waits: {solo['waiting']}")
    running = [name for name in MACHINES if name != off]
    cluster.until(cluster.answer_since(running, kernel.boottime()), f"{running} answer")

    cluster.do("compute", "ha", "disable")
    names = cluster.on(second)
    cluster.lab.fail(second, "power")
    cluster.until(lambda: cluster.node_state(second) == "claimed", f"{second} is claimed")
    cluster.until(lambda: set(names) <= set(cluster.waiting()), f"{names} wait for {second}")
    assert set(cluster.on(second)) == set(names)
    cluster.do("compute", "ha", "enable")
    cluster.until(lambda: not cluster.on(second), f"{names} are to run elsewhere")
    cluster.lab.heal(node)
    cluster.do("vm", "start", off, "--no-wait", "--force")  # the nodes that died are not back yet
    cluster.until(lambda: cluster.where("vm/solo") == node, "solo runs again")
    cluster.do("vm", "delete", "solo", "--force", "--delete-disks")


def test_the_operator_sees_the_machines(cluster: Machines) -> None:
    listed = json.loads(cluster.do("vm", "list", "--json"))
    assert {vm["service"] for vm in listed["vms"]} == set(MACHINES)
    assert set(SIZES) == set(cluster.lab.nodes)
