"""Which names lead to which addresses, and serials that only grow."""

from dataclasses import replace

from decide_world import NOW, T, claimed, node
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.dns_model import DnsRecords, ServedZone, UpdateTarget, Zone
from holdfast.core.dns_records import (
    Standing,
    candidates,
    changed,
    names_for,
    names_of,
    newer,
    next_serial,
    served,
    zone_of,
)
from holdfast.core.model import (
    Desired,
    Exclusivity,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Role,
    ServiceAddress,
)
from holdfast.core.observers import MANAGEMENT, Suspicion
from holdfast.core.view import InstanceView, NodeView, View

NAME = "s3.example.lan"
SUSPECT = Suspicion(NOW, ("n8", "n9"), MANAGEMENT)


def gateway(
    number: int,
    on: str = "",
    *,
    state: InstanceState | None = InstanceState.RUNNING,
    healthy: bool = True,
    desired: Desired = Desired.STARTED,
    goal: Goal = Goal.RUN,
    fence_epoch: int = 1,
) -> InstanceView:
    """The gateway of n<number>, placed at home unless `on` says where; "-": nowhere."""
    home = f"n{number}"
    where = on or home
    spec = InstanceSpec(
        f"s3/main/gw-{home}", "s3", "main", Exclusivity.EVERYWHERE, Role.S3, home=home, desired=desired,
        address=ServiceAddress(f"10.78.0.6{number}", "public"), names=(NAME, f"*.{NAME}"),
    )  # fmt: skip
    placement = None if where == "-" else Placement(where, 7, fence_epoch, goal)
    status = InstanceStatus(where, f"s-{where}", 7, state, healthy=healthy) if placement and state else None
    return InstanceView(spec, 1, placement=placement, status=status)


def published(nodes: list[NodeView], *instances: InstanceView) -> tuple[str, ...]:
    view = View(T, 500, {each.id: each for each in nodes}, {each.id: each for each in instances})
    names = names_of(candidates(view, NOW))
    assert names[NAME] == names[f"*.{NAME}"]
    return names[NAME]


def up(*names: str) -> list[NodeView]:
    return [node(name) for name in names]


def test_healthy_gateways_at_home_are_published() -> None:
    assert published(up("n1", "n2"), gateway(1), gateway(2)) == ("10.78.0.61", "10.78.0.62")


def test_a_suspect_node_leaves_at_once() -> None:
    nodes = [node("n1", suspicion=SUSPECT), node("n2")]
    assert published(nodes, gateway(1), gateway(2)) == ("10.78.0.62",)


def test_one_that_does_not_answer_leaves() -> None:
    assert published(up("n1", "n2"), gateway(1, healthy=False), gateway(2)) == ("10.78.0.62",)
    assert published(up("n1", "n2"), gateway(1, state=InstanceState.STARTING), gateway(2)) == ("10.78.0.62",)
    assert published(up("n1", "n2"), gateway(1, state=None), gateway(2)) == ("10.78.0.62",)


def test_one_whose_network_is_lost_leaves() -> None:
    assert published([node("n1", lost_networks=("public",)), node("n2")], gateway(1), gateway(2)) == ("10.78.0.62",)
    nodes = [node("n1", lost_networks=("storage",)), node("n2")]
    assert published(nodes, gateway(1), gateway(2)) == ("10.78.0.61", "10.78.0.62")


def test_one_that_runs_elsewhere_is_out_while_another_is_at_home() -> None:
    """Its address is answered for those who are connected; nobody new is sent there."""
    nodes = [claimed("n1"), node("n2")]
    assert published(nodes, gateway(1, on="n2"), gateway(2)) == ("10.78.0.62",)


def test_the_next_best_is_published_rather_than_nothing() -> None:
    away = [claimed("n1"), node("n2")]
    assert published(away, gateway(1, on="n2"), gateway(2, healthy=False)) == ("10.78.0.61",)
    missed = [node("n1", suspicion=SUSPECT), node("n2", suspicion=SUSPECT)]
    assert published(missed, gateway(1), gateway(2)) == ("10.78.0.61", "10.78.0.62")
    one_missed = [node("n1", suspicion=SUSPECT), node("n2")]
    assert published(one_missed, gateway(1), gateway(2, healthy=False)) == ("10.78.0.62",), (
        "what stands behind it moves"
    )
    gone = [claimed("n1"), claimed("n2")]
    assert published(gone, gateway(1), gateway(2, "-")) == ("10.78.0.61", "10.78.0.62"), (
        "both are wanted, and will return"
    )
    assert published([claimed("n1"), node("n2")], gateway(1), gateway(2, healthy=False)) == ("10.78.0.62",)


def test_what_an_operator_stopped_is_never_published() -> None:
    stopped = gateway(1, desired=Desired.STOPPED, goal=Goal.STOP)
    assert published(up("n1", "n2"), stopped, gateway(2, healthy=False)) == ("10.78.0.62",)
    assert published(up("n1"), stopped) == (), "the name exists, and has no address"
    assert published(up("n1"), replace(gateway(1), deleting=True)) == ()


def test_an_ordinary_service_address_is_always_published() -> None:
    spec = InstanceSpec(
        "nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, Role.STORAGE,
        address=ServiceAddress("10.78.0.50", "public"), names=("Vol1.Example.Lan.",),
    )  # fmt: skip
    view = View(T, 500, {}, {spec.id: InstanceView(spec, 1)})
    assert names_of(candidates(view, NOW)) == {"vol1.example.lan": ("10.78.0.50",)}


def test_it_says_why() -> None:
    nodes = [node("n1", suspicion=SUSPECT), node("n2")]
    view = View(T, 500, {each.id: each for each in nodes}, {g.id: g for g in (gateway(1), gateway(2))})
    why = {one.address: (one.published, one.why) for one in candidates(view, NOW) if one.name == NAME}
    assert why == {"10.78.0.61": (False, "n1 is suspect"), "10.78.0.62": (True, "healthy on n2")}


gateways = st.builds(
    gateway,
    st.integers(1, 4),
    st.sampled_from(["", "n1", "n2", "-"]),
    state=st.sampled_from([None, *InstanceState]),
    healthy=st.booleans(),
    desired=st.sampled_from(list(Desired)),
    goal=st.sampled_from(list(Goal)),
    fence_epoch=st.integers(1, 2),
)
conditions = st.sampled_from(
    [lambda n: node(n), lambda n: claimed(n), lambda n: node(n, suspicion=SUSPECT), lambda n: node(n, beat=None)]
)


@given(st.lists(gateways, max_size=4, unique_by=lambda g: g.id), st.lists(conditions, min_size=4, max_size=4))
def test_never_empty_and_never_worse_than_possible(gateways: list[InstanceView], conditions: list) -> None:  # type: ignore[type-arg]
    nodes = {f"n{k}": make(f"n{k}") for k, make in enumerate(conditions, 1)}
    view = View(T, 500, nodes, {each.id: each for each in gateways})
    found = [one for one in candidates(view, NOW) if one.name == NAME]
    addresses = names_of(found).get(NAME, ())
    wanted = [g for g in gateways if g.spec.desired not in (Desired.STOPPED, Desired.DISABLED)]
    assert bool(addresses) == bool(wanted)
    assert {one.address for one in found if one.published} == set(addresses)
    for one in found:
        if one.standing is Standing.GOOD:
            home = nodes[f"n{one.instance[-1]}"]
            assert one.published and home.up(T, NOW), "who is well is in, and only at a home that nobody misses"
        elif one.published:
            assert all(other.standing >= one.standing for other in found)


# --- zones ---------------------------------------------------------------------------------------------------------


def test_every_management_node_is_a_name_server() -> None:
    nodes = {
        f"n{k}": NodeSpec(f"n{k}", (), {"management": f"10.77.0.1{k}", "public": f"10.78.0.1{k}"}) for k in (1, 2, 3)
    }
    zone = Zone("example.lan", "a@example.lan", "public", servers=("NS.Other.net",))
    [made] = served([zone], ["n2", "n1", "n9"], nodes)
    assert made.servers == {
        "ns-n1.example.lan": ("10.78.0.11",),
        "ns-n2.example.lan": ("10.78.0.12",),
        "ns.other.net": (),
    }


def test_a_name_lies_in_the_nearest_zone() -> None:
    assert zone_of("a.b.lan", ["lan", "b.lan", "xb.lan"]) == "b.lan"
    assert zone_of("b.lan", ["b.lan"]) == "b.lan"
    assert zone_of("ab.lan", ["b.lan"]) == ""


def test_a_target_gets_the_names_of_its_zone() -> None:
    target = UpdateTarget("t", "192.0.2.1", "b.lan", None)  # type: ignore[arg-type]
    assert names_for(target, {"a.b.lan": ("1",), "a.c.lan": ("2",)}) == {"a.b.lan": ("1",)}


def test_a_change_is_one_of_names_or_zones() -> None:
    zones = (ServedZone("a.lan", "x@a.lan", 5, 5, {}),)
    known = DnsRecords({"x.a.lan": ("10.0.0.1",)}, 3, "then", zones)
    assert not changed(known, {"x.a.lan": ("10.0.0.1",)}, zones)
    assert changed(known, {"x.a.lan": ()}, zones)
    assert changed(known, {"x.a.lan": ("10.0.0.1",)}, ())
    assert changed(None, {}, ())


# --- serials -------------------------------------------------------------------------------------------------------

serials = st.integers(0, 2**32 - 1)


@given(serials, serials)
def test_a_serial_is_always_newer_than_the_last(last: int, wall: int) -> None:
    made = next_serial(last, wall)
    assert newer(made, last) and 0 < made < 2**32
    assert not newer(last, made) and not newer(last, last)


def test_after_a_restore_the_clock_makes_it_newer_than_what_was_forgotten() -> None:
    first = next_serial(0, 1_764_000_000)
    last = next_serial(next_serial(first, 1_764_000_100), 1_764_000_100)
    assert last == 1_764_000_101
    assert newer(next_serial(first, 1_764_003_600), last)


def test_serials_wrap_around() -> None:
    assert next_serial(2**32 - 1, 5) == 5
    assert next_serial(2**32 - 1, 2**31 + 100) == 1, "a clock that is far behind does not count"
