"""Admission control on clusters whose answer can be seen."""

from collections.abc import Iterable
from dataclasses import replace

from decide_world import T, node, vm, volume

from holdfast.core.admission import Guarantee, survives
from holdfast.core.model import Beat, Desired, Exclusivity, Role
from holdfast.core.policy import InstanceLock, RuleKind, RuleSpec
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.planning.cpsat import CpSatSolver


def sized(name: str, memory_mib: int, domain: str = "") -> NodeView:
    view = node(name)
    assert isinstance(view.beat, Beat)
    spec = replace(view.spec, failure_domain=domain)
    return replace(view, spec=spec, beat=replace(view.beat, cpu=64, memory_mib=memory_mib))


def cluster(nodes: Iterable[NodeView], *instances: InstanceView) -> View:
    return View(T, 500, {view.id: view for view in nodes}, {view.id: view for view in instances})


def guest(name: str, on: str, memory_mib: int, **spec: object) -> InstanceView:
    return vm(f"vm/{name}", on, spec={"memory_mib": memory_mib, **spec}, status={"stable": True})


THREE = [sized("n1", 4096), sized("n2", 4096), sized("n3", 4096)]


def test_room_for_one_failure_but_not_for_two() -> None:
    view = cluster(THREE, guest("a", "n1", 3072), guest("b", "n2", 3072, priority=900))
    assert survives(view, 1) == Guarantee(1, True, checked=3)
    found = survives(view, 2, CpSatSolver())
    assert (found.survivable, found.worst, found.checked, found.exact) == (False, ("n2", "n3"), 3, True)
    assert found.unplaced["vm/b"]["n1"] == "has only 1024 MiB of memory left, 3072 MiB are needed"
    assert found.text == "if n2 and n3 failed, vm/b would find no room"


def test_the_worst_set_loses_most_weighted_work_and_has_the_first_names() -> None:
    nodes = [sized(f"n{number}", 2048) for number in range(1, 5)]
    four = [guest(name, f"n{number}", 2048) for number, name in enumerate("abcd", start=1)]
    assert survives(cluster(nodes, *four), 1).worst == ("n1",)
    four[2] = replace(four[2], spec=replace(four[2].spec, priority=501))
    assert survives(cluster(nodes, *four), 1).worst == ("n3",)


def test_a_move_makes_the_guarantee_true_and_a_lock_takes_it_away() -> None:
    """c needs 3 GiB: only if a or b goes to the other."""
    nodes = [sized("n1", 4096), sized("n2", 4096), sized("n3", 3072)]
    some = [guest("c", "n1", 3072), guest("a", "n2", 2048), guest("b", "n3", 1024)]
    view = cluster(nodes, *some)
    alone = survives(view, 1)
    assert (alone.survivable, alone.worst, alone.exact) == (False, ("n1",), False)
    assert "not proven" in alone.text
    assert survives(view, 1, CpSatSolver()).survivable
    locked = [replace(instance, lock=InstanceLock("backup")) for instance in some]
    found = survives(cluster(nodes, *locked), 1, CpSatSolver())
    assert (found.survivable, found.worst, found.exact) == (False, ("n1",), True)


def test_stopping_something_makes_no_room_for_everything() -> None:
    view = cluster(
        [sized("n1", 4096), sized("n2", 4096)],
        guest("a", "n1", 3072, priority=900),
        guest("b", "n2", 3072, preemptible=True, priority=100),
    )
    assert not survives(view, 1, CpSatSolver()).survivable


def test_what_does_not_count() -> None:
    full = [sized("n1", 4096), sized("n2", 4096)]
    runs = guest("a", "n1", 1024)
    for other in (
        guest("own", "n2", 4096, ha=False),
        guest("off", "", 4096, desired=Desired.STOPPED),
        guest("everywhere", "n2", 2048, exclusivity=Exclusivity.EVERYWHERE, nodes=("n2",)),
    ):
        assert survives(cluster(full, runs, other), 1).survivable == (other.id != "vm/own"), other.id
    found = survives(cluster(full, runs, guest("waits", "", 8192)), 1)
    assert (found.survivable, found.waiting) == (True, ("vm/waits",))


def test_one_role_is_asked_for_and_the_others_take_room() -> None:
    """The gateway can run on n1 only; it is no virtual machine's fault."""
    gateway = volume("nfs/a", "n1", spec={"role": Role.STORAGE, "memory_mib": 1024, "nodes": ("n1",)})
    nodes = [replace(node, spec=replace(node.spec, roles=(Role.COMPUTE, Role.STORAGE))) for node in THREE]
    view = cluster(nodes, gateway, guest("a", "n1", 3072))
    assert survives(view, 1).worst == ("n1",)
    assert survives(view, 1, role=Role.COMPUTE).survivable
    full = cluster(nodes, gateway, guest("a", "n2", 4096), guest("b", "n3", 4096))
    assert survives(full, 1, role=Role.COMPUTE).unplaced.keys() == {"vm/a"}, "n1 is not empty"


def test_nodes_that_carry_nothing_and_could_not_are_left_out() -> None:
    idle = replace(sized("n9", 4096), spec=replace(sized("n9", 4096).spec, roles=()))
    view = cluster([*THREE, idle], guest("a", "n1", 1024))
    assert survives(view, 1).checked == 3
    assert survives(view, 2).checked == 3


def test_a_failure_domain_fails_as_one() -> None:
    nodes = [sized("n1", 4096, "rack-a"), sized("n2", 4096, "rack-a"), sized("n3", 4096, "rack-b")]
    view = cluster(nodes, guest("a", "n1", 3072), guest("b", "n2", 3072))
    assert survives(view, 1).survivable
    found = survives(view, 1, domains=True)
    assert (found.survivable, found.worst, found.checked) == (False, ("n1", "n2"), 2)


def test_an_answer_that_covers_not_every_set_says_so() -> None:
    """Where a count is enough nothing else is asked. It is not where the large ones may go to few nodes only."""
    nodes = [sized(f"n{number}", 4096) for number in range(9)]
    small = [guest(str(number), f"n{number}", 512) for number in range(9)]
    counted = survives(cluster(nodes, *small), 3, budget=40)
    assert (counted.survivable, counted.checked, counted.complete) == (True, 84, True)
    large = guest("large", "n0", 2048, nodes=("n0", "n1", "n2", "n3"))
    view = cluster(nodes, *small, large)
    whole = survives(view, 3)
    assert (whole.survivable, whole.checked, whole.complete) == (True, 84, True)
    part = survives(view, 3, budget=20)
    assert part.survivable and not part.complete and part.checked < 84
    assert part.text.endswith(f"only {part.checked} sets of failures were checked")


def test_more_failures_than_nodes() -> None:
    found = survives(cluster(THREE, guest("a", "n1", 1024)), 5)
    assert (found.survivable, found.worst, found.checked) == (False, ("n1", "n2", "n3"), 1)


def test_none_tolerated_is_always_kept() -> None:
    assert survives(cluster(THREE, guest("a", "n1", 1024)), 0).survivable


def test_others_that_keep_an_instance_off_are_counted() -> None:
    """Two that must be apart: after the failure of n1 and n2 one of them has n3 alone, where the other one is."""
    apart = (RuleSpec("r", RuleKind.ANTI_AFFINITY, ("vm/a", "vm/b")),)
    view = cluster(THREE, guest("a", "n1", 256), guest("b", "n3", 256))
    assert survives(view, 2).survivable
    assert survives(replace(view, rules=apart), 1).survivable
    assert survives(replace(view, rules=apart), 2).worst == ("n1", "n2")
