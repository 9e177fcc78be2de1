"""Where an instance goes: hard rules, preferences, free resources; who leaves where it is."""

from dataclasses import replace

import pytest

from holdfast.core.capacity import Amount, Fleet
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Desired,
    Exclusivity,
    Fence,
    InstanceSpec,
    NodeSpec,
    Role,
)
from holdfast.core.observers import Suspicion
from holdfast.core.placement import Choice, better_node, choose, misplaced, placement_order, rules_of
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.core.rules import Rules, compile_rules
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

T = profile("fast")
NOW = 1000.0


def node(name: str, cpu: float = 8, memory: int = 8192, **changes: object) -> NodeView:
    spec = NodeSpec(name, (Role.COMPUTE,), {"management": "10.0.0.1"})
    beat = Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, None, cpu, memory)
    return replace(NodeView(spec, Fence(1), 5, beat, 50, NOW), **changes)  # type: ignore[arg-type]


def vm(name: str, memory: int = 1024, **changes: object) -> InstanceSpec:
    spec = InstanceSpec(name, "vm", name, Exclusivity.STRICT, Role.COMPUTE, memory_mib=memory)
    return replace(spec, **changes)  # type: ignore[arg-type]


def on(instances: str, strict: bool = True, **nodes: int) -> RuleSpec:
    return RuleSpec(f"on-{instances}", RuleKind.NODE_AFFINITY, tuple(instances), nodes, strict)


def together(instances: str, strict: bool = True) -> RuleSpec:
    return RuleSpec(f"together-{instances}", RuleKind.AFFINITY, tuple(instances), strict=strict)


def apart(instances: str, strict: bool = True) -> RuleSpec:
    return RuleSpec(f"apart-{instances}", RuleKind.ANTI_AFFINITY, tuple(instances), strict=strict)


class Cluster:
    """Nodes, instances, rules, and where instances run: `{"a": "n1"}`, or `{"a": "n1 n2"}` while it migrates."""

    def __init__(
        self, nodes: list[NodeView], specs: list[InstanceSpec], *rules: RuleSpec, runs: dict[str, str] | None = None
    ) -> None:
        self.nodes = {view.id: view for view in nodes}
        self.specs = {spec.id: spec for spec in specs}
        self.rules: Rules = compile_rules(rules, self.specs, {view.id: view.spec for view in nodes})
        self.where = {name: frozenset(places.split()) for name, places in (runs or {}).items()}

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.nodes, self.specs.values(), dict(self.where), T, NOW, self.rules)

    def choose(self, name: str, **how: object) -> Choice:
        return choose(self.specs[name], self.fleet, **how)  # type: ignore[arg-type]

    def place(self, name: str, **how: object) -> str:
        """Choose and let it run there."""
        chosen = self.choose(name, **how).node
        if chosen:
            self.where[name] = frozenset((chosen,))
        return chosen

    def misplaced(self, name: str) -> str:
        (here,) = self.where[name]
        spec = self.specs[name]
        return misplaced(spec, here, self.fleet)

    def better(self, name: str, tried: tuple[str, ...] = ()) -> str:
        (here,) = self.where[name]
        spec = self.specs[name]
        return better_node(spec, here, self.fleet, tried=tried)


def three(memory: int = 8192) -> list[NodeView]:
    return [node(name, memory=memory) for name in ("n1", "n2", "n3")]


def down(name: str) -> NodeView:
    return node(name, suspicion=Suspicion(NOW - 1, ("x", "y"), "management"))


# --- free resources ------------------------------------------------------------------------------------------------


def test_most_free_memory_then_cpu_then_fewest_instances_then_name() -> None:
    nodes = [node("n1", 4, 4096), node("n2", 4, 8192), node("n3", 8, 8192), node("n4", 8, 8192)]
    cluster = Cluster(nodes, [vm(name, cpu=1.0) for name in "abc"])
    assert cluster.place("a") == "n3"
    assert cluster.place("b") == "n4"
    assert cluster.place("c") == "n2", "7168 MiB free on n3 and n4, 8192 here"
    idle = Cluster(nodes, [vm(name, memory=0) for name in "abcd"])
    assert [idle.place(name) for name in "abcd"] == ["n1", "n2", "n3", "n4"]
    assert Cluster(three()[::-1], [vm("a")]).choose("a").node == "n1"


def test_the_wish_wins_over_preferences_and_not_over_hard_rules() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b")], on("a", n1=2, n2=1), apart("ab"), runs={"b": "n2"})
    assert cluster.choose("b", wanted="n3").node == "n3"
    assert cluster.choose("a", wanted="n2").node == "n1"
    assert cluster.choose("a", wanted="n3").node == "n1"
    free = Cluster(three(), [vm("a")], on("a", n1=2, n2=1))
    assert free.choose("a", wanted="n2").node == "n2"


def test_tried_and_avoided_nodes_are_the_last_resort() -> None:
    cluster = Cluster(three(), [vm("a")], on("a", n1=2, n2=1))
    assert cluster.choose("a", tried=("n1",)).node == "n2"
    assert cluster.choose("a", avoid="n1").node == "n2"
    assert cluster.choose("a", tried=("n1", "n2")).node == "n1"


def test_fractions_of_cores_fill_a_node_exactly() -> None:
    cluster = Cluster([node("n1", cpu=1.0)], [vm(f"v{i}", 0, cpu=0.1) for i in range(11)])
    assert [cluster.place(f"v{i}") for i in range(10)] == ["n1"] * 10
    assert cluster.choose("v10").why_not() == "n1 has only 0 cores left, 0.1 are needed"


def test_what_an_instance_needs_is_taken_wherever_it_may_execute() -> None:
    cluster = Cluster(three(), [vm("a", cpu=0.5), vm("b")], runs={"a": "n1 n2"})
    fleet = cluster.fleet
    assert [fleet.left(name) for name in cluster.nodes] == [Amount(7168, 7_500_000)] * 2 + [Amount(8192, 8_000_000)]


def test_a_choice_that_was_tried_leaves_no_trace() -> None:
    cluster = Cluster(three(), [vm("a", cpu=0.1), vm("b", cpu=0.7)], runs={"a": "n1"})
    fleet = cluster.fleet
    before = [fleet.left(name) for name in cluster.nodes]
    mark = fleet.mark()
    fleet.fail("n1")
    fleet.remove(cluster.specs["a"], "n1")
    fleet.place(cluster.specs["a"], choose(cluster.specs["a"], fleet).node)
    fleet.place(cluster.specs["b"], choose(cluster.specs["b"], fleet).node)
    assert fleet.where == {"a": frozenset(("n2",)), "b": frozenset(("n3",))}
    assert choose(cluster.specs["a"], fleet, ["n1"]).reasons == {"n1": "has failed"}
    fleet.restore(mark)
    assert fleet.where == cluster.where
    assert [fleet.left(name) for name in cluster.nodes] == before
    assert choose(cluster.specs["a"], fleet, ["n1"]).node == "n1"


def test_reasons_are_not_read_after_something_else_was_placed() -> None:
    cluster = Cluster([node("n1", memory=1024)], [vm("a"), vm("b")], runs={"a": "n1"})
    fleet = cluster.fleet
    late = choose(cluster.specs["b"], fleet)
    fleet.remove(cluster.specs["a"], "n1")
    with pytest.raises(AssertionError, match="read before"):
        late.why_not()


# --- node affinity -------------------------------------------------------------------------------------------------


def test_strict_node_affinity_takes_the_best_permitted_node_and_no_other() -> None:
    cluster = Cluster(three(), [vm("a")], on("a", n1=1, n2=2))
    assert cluster.choose("a").node == "n2"
    cluster.nodes["n2"] = down("n2")
    assert cluster.choose("a").node == "n1"
    cluster.nodes["n1"] = down("n1")
    assert cluster.choose("a").why_not() == "n1 is suspect; n2 is suspect; n3 is not one of the nodes of rule on-a"


def test_preferred_node_affinity_falls_back_to_other_nodes() -> None:
    cluster = Cluster(three(), [vm("a")], on("a", strict=False, n2=1))
    assert cluster.choose("a").node == "n2"
    cluster.nodes["n2"] = down("n2")
    assert cluster.choose("a").node == "n1"


# --- affinity ------------------------------------------------------------------------------------------------------


def test_a_group_goes_where_all_of_it_fits() -> None:
    nodes = [node("n1", memory=5000), node("n2", memory=4500), node("n3", memory=4000)]
    cluster = Cluster(nodes, [vm("a", 1000), vm("b", 2000), vm("x", 3000)], together("ab"), runs={"x": "n1"})
    assert (cluster.place("a"), cluster.place("b")) == ("n2", "n2"), "only 2000 MiB are left on n1"


def test_a_group_that_fits_nowhere_waits_and_says_so() -> None:
    cluster = Cluster([node("n1", memory=2500)], [vm("a", 1000), vm("b", 2000)], together("ab"))
    assert cluster.choose("a").why_not() == (
        "n1 cannot also take b, which must share its node: it has only 1500 MiB of memory left, 2000 MiB are needed"
    )


def test_cpu_of_a_group_is_summed_too() -> None:
    cluster = Cluster([node("n1", 2), node("n2", 4)], [vm("a", cpu=1.5), vm("b", cpu=1.5)], together("ab"))
    assert cluster.choose("b").node == "n2"


def test_members_that_are_not_to_run_take_no_room() -> None:
    specs = [vm("a", 2000), vm("b", 2000, desired=Desired.DISABLED), vm("c", 2000, desired=Desired.STOPPED)]
    assert Cluster([node("n1", memory=2500)], specs, together("abc")).choose("a").node == "n1"


def test_a_member_joins_the_others_or_waits() -> None:
    nodes = [node("n1", memory=2500), node("n2"), node("n3")]
    cluster = Cluster(nodes, [vm("a"), vm("b"), vm("c", 4000)], together("abc"), runs={"a": "n1"})
    assert cluster.place("b") == "n1", "although c finds no room with them"
    assert cluster.choose("c").why_not() == (
        "n1 has only 452 MiB of memory left, 4000 MiB are needed; n2 does not run a, with which c must share a node; "
        "n3 does not run a, with which c must share a node"
    )


def test_a_member_waits_for_one_that_may_still_run_on_a_lost_node() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b")], together("ab"), runs={"a": "n1"})
    cluster.nodes["n1"] = down("n1")
    assert cluster.choose("b").node == ""
    assert cluster.choose("b").reasons["n1"] == "is suspect"
    del cluster.where["a"]
    assert cluster.place("a") == cluster.place("b") == "n2"


def test_a_member_waits_while_another_leaves_or_migrates_or_they_are_spread() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b"), vm("c")], together("abc"), runs={"a": "n1"})
    assert cluster.choose("b", leaving=("a",)).why_not() == (
        "waiting until a, which must share its node, has stopped on n1"
    )
    cluster.where["a"] = frozenset(("n1", "n2"))
    assert cluster.choose("b").why_not() == (
        "waiting until a, which must share its node, has moved: it may be on n1 and n2"
    )
    cluster.where |= {"a": frozenset(("n1",)), "c": frozenset(("n2",))}
    assert cluster.choose("b").why_not() == (
        "waiting until those which must share its node are on one themselves: a on n1, c on n2"
    )


def test_a_whole_group_moves_where_it_fits() -> None:
    nodes = [node("n1"), node("n2", memory=1500), node("n3", memory=2500)]
    cluster = Cluster(nodes, [vm("a"), vm("b")], together("ab"), runs={"a": "n1", "b": "n1"})
    assert (
        cluster.choose("a", among=("n2", "n3"), moving=True).node
        == cluster.choose("b", among=("n2", "n3"), moving=True).node
        == "n3"
    )
    assert cluster.choose("a", among=("n2", "n3"), moving=True, wanted="n2").node == "n3"


def test_a_group_does_not_move_without_its_ignored_member() -> None:
    specs = [vm("a"), vm("b", desired=Desired.IGNORED)]
    cluster = Cluster(three(), specs, together("ab"), runs={"a": "n1", "b": "n1"})
    assert cluster.choose("a", among=("n2", "n3"), moving=True).node == ""
    assert (
        cluster.choose("a", among=("n2", "n3"), moving=True).reasons["n2"]
        == "does not run b, with which a must share a node"
    )


def test_a_group_gathers_where_its_ignored_member_stays() -> None:
    specs = [vm("a"), vm("b", desired=Desired.IGNORED), vm("c")]
    cluster = Cluster(three(), specs, together("abc"), runs={"a": "n3", "b": "n1"})
    assert cluster.misplaced("a") == "does not run b, with which a must share a node"
    assert cluster.choose("a", moving=True).node == "n1"
    cluster.where["a"] = frozenset(("n1",))
    assert cluster.place("c") == "n1"


def test_a_group_does_not_gather_where_there_is_no_room() -> None:
    specs = [vm("a", 4000), vm("b", desired=Desired.IGNORED), vm("c", 4000)]
    nodes = [node("n1", memory=6000), node("n2"), node("n3")]
    cluster = Cluster(nodes, specs, together("abc"), runs={"a": "n3", "b": "n1"})
    assert cluster.misplaced("a") == "", "all of it would have to fit"
    assert cluster.choose("c").why_not() == (
        "waiting until those which must share its node are on one themselves: a on n3, b on n1"
    )


def test_preferred_affinity_is_followed_where_there_is_room() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b"), vm("c", 8000)], together("abc", strict=False), runs={"a": "n2"})
    assert cluster.place("b") == "n2"
    assert cluster.place("c") == "n1"


def test_node_affinity_comes_before_preferred_affinity() -> None:
    rules = (together("ab", strict=False), on("b", strict=False, n3=1))
    assert Cluster(three(), [vm("a"), vm("b")], *rules, runs={"a": "n2"}).choose("b").node == "n3"


# --- anti-affinity -------------------------------------------------------------------------------------------------


def test_strict_anti_affinity_never_shares_a_node() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b"), vm("c")], apart("abc"), runs={"a": "n1"})
    assert cluster.choose("b", wanted="n1").node == "n2"
    assert cluster.place("b") == "n2"
    assert cluster.place("c") == "n3"
    cluster.nodes["n3"] = down("n3")
    assert cluster.choose("c").why_not() == (
        "n1 runs a, with which c must not share a node; n2 runs b, with which c must not share a node; n3 is suspect"
    )


def test_both_ends_of_a_migration_count() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b")], apart("ab"), runs={"a": "n1 n3"})
    assert cluster.choose("b").node == "n2"


def test_a_group_keeps_away_from_whom_any_of_its_members_must() -> None:
    rules = (together("ab"), apart("bc"), together("cd"))
    cluster = Cluster(three(), [vm(name) for name in "abcd"], *rules, runs={"d": "n1"})
    assert cluster.choose("a").node == "n2"
    assert cluster.choose("a").reasons == {"n1": "runs d, with which b must not share a node"}
    assert cluster.choose("c").node == "n1"


def test_preferred_anti_affinity_spreads_while_it_can() -> None:
    nodes = [node("n1", memory=16000), node("n2")]
    cluster = Cluster(nodes, [vm("a"), vm("b"), vm("c")], apart("abc", strict=False))
    assert [cluster.place(name) for name in "abc"] == ["n1", "n2", "n1"]


# --- infeasible rules ----------------------------------------------------------------------------------------------


def test_instances_of_infeasible_rules_wait_and_what_runs_stays() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b"), vm("c")], together("ab"), apart("ab"), runs={"a": "n1"})
    assert cluster.choose("b").why_not() == (
        "a placement rule cannot be kept: a and b must share a node (rule together-ab) and must not (rule apart-ab)"
    )
    assert cluster.misplaced("a") == cluster.better("a") == ""
    assert cluster.choose("c").node


# --- order ---------------------------------------------------------------------------------------------------------


def test_a_group_is_placed_without_others_in_between() -> None:
    specs = [vm("a", priority=100), vm("b", priority=900), vm("c", priority=500), vm("d", priority=950)]
    cluster = Cluster(three(), specs, together("ab"))
    assert [spec.id for spec in placement_order(specs, cluster.rules)] == ["d", "b", "a", "c"]
    assert [spec.id for spec in placement_order(specs, Rules())] == ["d", "b", "c", "a"]


# --- leaving -------------------------------------------------------------------------------------------------------


def test_an_instance_leaves_a_node_that_a_new_rule_forbids() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b")], on("a", n2=1), together("ab"), runs={"a": "n1", "b": "n1"})
    assert cluster.misplaced("a") == cluster.misplaced("b") == "is not one of the nodes of rule on-a"
    assert cluster.choose("b", among=("n2", "n3"), moving=True).node == "n2"


def test_of_two_that_must_be_apart_the_lesser_leaves() -> None:
    specs = [vm("a", priority=100), vm("b", priority=900)]
    cluster = Cluster(three(), specs, apart("ab"), runs={"a": "n1", "b": "n1"})
    assert cluster.misplaced("a") == "runs b, with which a must not share a node"
    assert cluster.misplaced("b") == ""


def test_of_two_that_must_be_apart_the_one_that_can_leaves() -> None:
    specs = [vm("a", priority=100), vm("b", priority=900)]
    pinned = Cluster(three(), specs, apart("ab"), on("a", n1=1), runs={"a": "n1", "b": "n1"})
    assert pinned.misplaced("b") == "runs a, with which b must not share a node"
    ignored = [replace(specs[0], desired=Desired.IGNORED), specs[1]]
    assert Cluster(three(), ignored, apart("ab"), runs={"a": "n1", "b": "n1"}).misplaced("b")


def test_a_spread_group_gathers_where_most_of_it_is() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b"), vm("c")], together("abc"), runs={"a": "n1", "b": "n3", "c": "n3"})
    assert cluster.misplaced("a") == "does not run b, with which a must share a node"
    assert cluster.misplaced("b") == cluster.misplaced("c") == ""
    cluster.where["a"] = frozenset(("n1", "n3"))
    assert cluster.misplaced("b") == "", "it is on its way"
    del cluster.where["a"]
    assert cluster.place("a") == "n3"


def test_a_spread_group_that_fits_nowhere_stays_as_it_is() -> None:
    cluster = Cluster(three(1500), [vm("a"), vm("b")], together("ab"), runs={"a": "n1", "b": "n2"})
    assert cluster.misplaced("a") == cluster.misplaced("b") == ""


# --- failback ------------------------------------------------------------------------------------------------------


def test_failback_to_the_preferred_node_when_it_takes_the_instance() -> None:
    cluster = Cluster(three(), [vm("a")], on("a", n1=3, n2=2, n3=1), runs={"a": "n3"})
    assert cluster.better("a") == "n1"
    assert cluster.better("a", tried=("n1",)) == "n2"
    cluster.nodes["n1"] = down("n1")
    assert cluster.better("a") == "n2"
    cluster.where["a"] = frozenset(("n2",))
    assert cluster.better("a") == ""


def test_no_failback_without_rules_or_to_equals_or_where_it_is_not_wanted() -> None:
    assert Cluster(three(), [vm("a", 4000), vm("b", 4000)], runs={"a": "n1", "b": "n1"}).better("a") == ""
    equals = Cluster(three(), [vm("a")], on("a", n1=1, n2=1), runs={"a": "n1"})
    assert equals.better("a") == ""
    cluster = Cluster(three(), [vm("a", failback=False)], on("a", n1=2, n2=1), runs={"a": "n2"})
    assert cluster.better("a") == ""


def test_a_group_fails_back_as_a_whole_or_not_at_all() -> None:
    rules = (together("ab"), on("a", strict=False, n1=1))
    cluster = Cluster(three(), [vm("a"), vm("b")], *rules, runs={"a": "n2", "b": "n2"})
    assert cluster.better("a") == cluster.better("b") == "n1"
    cluster.nodes["n1"] = node("n1", memory=1500)
    assert cluster.better("a") == cluster.better("b") == ""
    stays = Cluster(three(), [vm("a"), vm("b", failback=False)], *rules, runs={"a": "n2", "b": "n2"})
    assert stays.better("a") == ""


def test_failback_to_company_never_swaps_two() -> None:
    specs = [vm("a"), vm("b", priority=900)]
    cluster = Cluster(three(), specs, together("ab", strict=False), runs={"a": "n1", "b": "n2"})
    assert (cluster.better("a"), cluster.better("b")) == ("n2", "")
    rather_not = Cluster(three(), specs, apart("ab", strict=False), runs={"a": "n1", "b": "n1"})
    assert (rather_not.better("a"), rather_not.better("b")) == ("n2", "")


def test_failback_keeps_the_hard_rules() -> None:
    cluster = Cluster(three(), [vm("a"), vm("b")], on("a", n1=2, n2=1), apart("ab"), runs={"a": "n2", "b": "n1"})
    assert cluster.better("a") == ""


# --- size ----------------------------------------------------------------------------------------------------------


def test_rules_of_a_view_and_a_thousand_nodes() -> None:
    """Takes about a second; work that grows in the wrong order would not end before the test run's bound."""
    nodes = {f"n{i:04}": node(f"n{i:04}") for i in range(1000)}
    views = {f"v{i:05}": InstanceView(vm(f"v{i:05}"), 1) for i in range(5000)}
    names, hosts = tuple(views), tuple(nodes)
    preference = dict.fromkeys(hosts[:500], 2) | dict.fromkeys(hosts[500:], 1)
    rules = (
        RuleSpec("apart", RuleKind.ANTI_AFFINITY, names[:900]),
        RuleSpec("on", RuleKind.NODE_AFFINITY, names, preference),
        *(RuleSpec(f"t{i}", RuleKind.AFFINITY, names[i : i + 2]) for i in range(1000, 4000, 2)),
    )
    view = View(T, 1, nodes, views, rules=rules)
    compiled = rules_of(view)
    assert rules_of(view) is compiled
    where = {name: frozenset((f"n{i:04}",)) for i, name in enumerate(names[:500])}
    fleet = Fleet(nodes, [instance.spec for instance in views.values()], where, T, NOW, compiled)
    for name in names[800:820]:
        assert choose(views[name].spec, fleet).node == "n0500"
