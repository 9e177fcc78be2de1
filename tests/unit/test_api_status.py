"""The picture built from the store's entries, whole or in part."""

from holdfast.api.records import Records
from holdfast.api.status import UNKNOWN, UNPLACED, build_status
from holdfast.core.history import Event, Incident, ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    DeathConfirmation,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    ManagementSpec,
    NodeSpec,
    NodeState,
    Placement,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.ports import Entry
from holdfast.store import codec, keys


def entries(values: dict[str, object]) -> list[Entry]:
    return [Entry(key, codec.encode(value), number, number) for number, (key, value) in enumerate(values.items(), 1)]


def node(name: str, **more: object) -> NodeSpec:
    return NodeSpec(name, (Role.MANAGEMENT, Role.STORAGE), {"management": f"10.77.0.1{name[1:]}"}, **more)  # type: ignore[arg-type]


def beat(epoch: int = 1, phase: BeatPhase = BeatPhase.ACTIVE) -> Beat:
    return Beat("s1", "b", "m", 7, epoch, phase)


NFS = InstanceSpec(
    "nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, Role.STORAGE, address=ServiceAddress("10.78.0.101", "public")
)


def test_an_empty_store_gives_an_empty_picture() -> None:
    status = build_status([])
    assert status.cluster.name == ""
    assert status.manager.node == ""
    assert status.nodes == ()
    assert status.revision == 0


def test_node_states_come_from_the_records_while_no_manager_has_spoken() -> None:
    status = build_status(
        entries(
            {
                keys.node_spec("n1"): node("n1"),
                keys.node_spec("n2"): node("n2"),
                keys.node_spec("n3"): node("n3"),
                keys.node_spec("n4"): node("n4"),
                keys.fence("n1"): Fence(1),
                keys.fence("n2"): Fence(2),
                keys.beat("n1"): beat(),
                keys.beat("n2"): beat(),
                keys.beat("n3"): beat(phase=BeatPhase.RELEASED),
            }
        )
    )
    assert [n.state for n in status.nodes] == [
        NodeState.UP,
        NodeState.CLAIMED,
        NodeState.RELEASED,
        NodeState.NEVER_SEEN,
    ]


def test_the_view_of_the_leading_manager_counts_and_that_of_a_former_one_does_not() -> None:
    common: dict[str, object] = {keys.node_spec("n1"): node("n1"), keys.fence("n1"): Fence(1), keys.beat("n1"): beat()}
    view = ManagerView("n2", 4, {"n1": NodeState.SUSPECT}, {"n1": "missed by n2 and n3"}, hold="h")
    now = build_status(entries({**common, keys.MANAGER_TERM: {"node": "n2", "term": 4}, keys.MANAGER_VIEW: view}))
    assert (now.nodes[0].state, now.nodes[0].note, now.hold) == (NodeState.SUSPECT, "missed by n2 and n3", "h")
    later = build_status(entries({**common, keys.MANAGER_TERM: {"node": "n3", "term": 5}, keys.MANAGER_VIEW: view}))
    assert (later.nodes[0].state, later.nodes[0].note, later.hold) == (NodeState.UP, "", "")
    assert (later.manager.node, later.manager.term) == ("n3", 5)


def test_instances_say_where_they_run_and_only_a_word_that_counts_is_believed() -> None:
    values: dict[str, object] = {
        keys.node_spec("n1"): node("n1"),
        keys.fence("n1"): Fence(1),
        keys.beat("n1"): beat(),
        keys.service("nfs", "vol1"): ServiceSpec("nfs", "vol1", {"size": "10G"}),
        keys.instance("nfs/vol1"): NFS,
    }
    assert build_status(entries(values)).instances[0].state == UNPLACED
    values[keys.placement("nfs/vol1")] = Placement("n1", 3, fence_epoch=1, reason="most free memory")
    assert build_status(entries(values)).instances[0].state == UNKNOWN
    values[keys.status("nfs/vol1")] = InstanceStatus("n1", "s1", 2, InstanceState.RUNNING, healthy=True)
    assert build_status(entries(values)).instances[0].state == UNKNOWN
    values[keys.status("nfs/vol1")] = InstanceStatus("n1", "s0", 3, InstanceState.RUNNING, healthy=True)
    assert build_status(entries(values)).instances[0].state == UNKNOWN, "the word of an earlier run of the agent"
    values[keys.status("nfs/vol1")] = InstanceStatus("n1", "s1", 3, InstanceState.RUNNING, healthy=True)
    status = build_status(entries(values))
    view = status.instances[0]
    assert (view.state, view.healthy, view.node, view.epoch) == ("running", True, "n1", 3)
    assert status.nodes[0].instances == ("nfs/vol1",)
    assert status.services[0].instances == ("nfs/vol1",)
    values[keys.fence("n1")] = Fence(2)
    view = build_status(entries(values)).instances[0]
    assert (view.state, view.healthy) == (UNKNOWN, False)


def test_secrets_are_not_in_the_picture() -> None:
    device = FenceDeviceSpec("bmc", "redfish", {"password": "geheim"})
    status = build_status(
        entries(
            {
                keys.node_spec("n1"): node("n1", fence_devices=(device,)),
                keys.user("admin"): {"password": "geheim"},
                keys.session("abc"): {"user": "geheim"},
                keys.CA_KEY: "geheim",
            }
        )
    )
    assert b"geheim" not in codec.encode(status)
    assert status.nodes[0].fence_devices[0].type == "redfish"


def test_incidents_and_events_are_sorted_and_limited() -> None:
    values: dict[str, object] = {
        keys.incident(f"i{n}"): Incident(f"i{n}", "n1", f"2026-01-01T00:00:{n:02d}Z", "open" if n > 57 else "closed")
        for n in range(60)
    }
    values |= {keys.event(n): Event("k", "w", str(n)) for n in range(100)}
    status = build_status(entries(values))
    assert [i.id for i in status.open_incidents] == ["i58", "i59"]
    assert status.recent_incidents[0].id == "i57"
    assert len(status.recent_incidents) == 20
    assert [e.text for e in status.recent_events[:2]] == ["99", "98"]


def test_a_damaged_entry_is_reported_and_hides_nothing_else() -> None:
    damaged = Entry(keys.node_spec("n2"), b"{", 9, 9)
    status = build_status([*entries({keys.CLUSTER: ClusterSpec("c", "id"), keys.node_spec("n1"): node("n1")}), damaged])
    assert [n.id for n in status.nodes] == ["n1"]
    assert "spec/nodes/n2" in status.problems[0]
    assert status.revision == 9


def test_records_follow_changes() -> None:
    records = Records(entries({keys.MANAGEMENT: ManagementSpec(("n1",)), keys.node_spec("n1"): node("n1")}))
    assert build_status(records).management.nodes == ("n1",)
    records.delete(keys.node_spec("n1"))
    records.put(Entry(keys.node_spec("n2"), codec.encode(node("n2")), 12, 12))
    status = build_status(records, 15)
    assert [n.id for n in status.nodes] == ["n2"]
    assert status.revision == 15


def test_a_death_confirmation_counts_for_exactly_one_beat() -> None:
    values: dict[str, object] = {keys.beat("n1"): beat(), keys.node_spec("n1"): node("n1")}
    values[keys.death_confirmation("n1")] = DeathConfirmation("root", 1)
    assert build_status(entries(values)).nodes[0].confirmed_dead
    values[keys.death_confirmation("n1")] = DeathConfirmation("root", 2)
    assert not build_status(entries(values)).nodes[0].confirmed_dead


def test_an_ordinary_beat_is_no_news_but_a_change_of_phase_is() -> None:
    records = Records()

    def put(key: str, value: object, revision: int) -> bool:
        return records.put(Entry(key, codec.encode(value), revision, revision))

    assert put(keys.beat("n1"), beat(), 1)
    assert not put(keys.beat("n1"), Beat("s1", "b", "m", 8, 1, BeatPhase.ACTIVE), 2)
    assert put(keys.beat("n1"), beat(phase=BeatPhase.RELEASED), 3)
    assert not put(keys.MANAGER_ALIVE, {"term": 1}, 4)
    assert put(keys.death_confirmation("n1"), DeathConfirmation("root", 3), 5)
    assert put(keys.beat("n1"), beat(), 6)
    assert put(keys.beat("n1"), Beat("s1", "b", "m", 9, 1, BeatPhase.ACTIVE), 7), "it voids the confirmation"


def test_a_manager_that_resigned_leads_no_more() -> None:
    view = ManagerView("n2", 4)
    status = build_status(entries({keys.MANAGER_TERM: {"node": "", "term": 4, "session": ""}, keys.MANAGER_VIEW: view}))
    assert (status.manager.node, status.manager.term) == ("", 4)
