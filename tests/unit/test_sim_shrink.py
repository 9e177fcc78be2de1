"""Shrinking, with a runner that breaks an invariant when certain steps, nodes and instances are there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.sim.campaign import SeedReport
from holdfast.sim.findings import investigate, most_telling
from holdfast.sim.fuzz import Shape, generate
from holdfast.sim.scenario import loads
from holdfast.sim.setup import Scenario
from holdfast.sim.shrink import Shrinker, Violation, parse_violation, without_nodes

MINIMAL = """\
nodes:
  node2: {roles: [management, compute, storage, s3, backup]}
  node3: {roles: [management, compute, storage, s3, backup]}
instances:
  vm/1: {node: node3}
timeline:
- {at: 0, do: freeze, node: node3}
- {at: 0, do: power-off, node: node2}
until: 10
"""

NOISY = """\
nodes: {node1: {}, node2: {}, node3: {}, node4: {}, node5: {}}
instances: {vm/1: {node: node3}, vm/2: {node: node1}, nfs/3: {nodes: [node1, node2]}}
rules:
- {kind: anti-affinity, instances: [vm/1, vm/2]}
- {kind: node-affinity, instances: [vm/1], nodes: {node3: 2, node4: 1}}
timeline:
- {at: 11, do: add, instance: vm/9}
- {at: 33.21, do: freeze, node: node1}
- {at: 34.5, do: thaw, node: node1}
- {at: 61.37, do: freeze, node: node3}
- {at: 62, do: store-off, nodes: [node1, node4]}
- {at: 63, do: migrate, instance: vm/9, to: node2}
- {at: 70.01, do: link-off, from: node1, to: node2}
- {at: 118.99, do: power-off, node: node2}
- {at: 140, do: remove, instance: vm/9}
- {at: 300, do: power-on, node: node2}
until: 3600
"""


def broken(scenario: Scenario) -> Sequence[str]:
    """INV-1 once node2 loses its power after node3 was frozen, if vm/1 began there. INV-4 always."""
    frozen = [step.at for step in scenario.timeline if step.verb == "freeze" and step.args["node"] == "node3"]
    lost = [step.at for step in scenario.timeline if step.verb == "power-off" and step.args["node"] == "node2"]
    found = ["INV-4 at 1.000 s: always"]
    if "vm/1" in scenario.instances and scenario.instances["vm/1"].node == "node3":
        found += [
            f"INV-1 at {at + 0.25:.3f} s: vm/1 lives on two nodes" for at in lost if min(frozen, default=at + 1) <= at
        ]
    return found


def shrink(scenario: Scenario, max_runs: int = 400) -> Shrinker:
    shrinker = Shrinker(scenario, "INV-1", broken, lambda _text: None, max_runs)
    shrinker.run()
    return shrinker


def test_only_what_is_needed_is_left() -> None:
    shrinker = shrink(loads(NOISY, "noisy"))
    small = shrinker.scenario
    expected = loads(MINIMAL, "noisy")
    assert small.timeline == expected.timeline
    assert small.instances.keys() == {"vm/1"}
    assert small.nodes.keys() == {"node2", "node3"}
    assert not small.rules
    assert small.until <= 15
    assert shrinker.violation is not None and shrinker.violation.invariant == "INV-1"


def test_each_candidate_that_was_kept_breaks_the_same_invariant() -> None:
    """INV-4 is broken by everything, and must not draw the reduction away from INV-1."""
    small = shrink(loads(NOISY, "noisy")).scenario
    assert any(text.startswith("INV-1") for text in broken(small))


@pytest.mark.parametrize("max_runs", [0, 1, 5, 20])
def test_the_number_of_runs_is_bounded(max_runs: int) -> None:
    shrinker = shrink(loads(NOISY, "noisy"), max_runs)
    assert shrinker.runs <= max_runs
    assert any(text.startswith("INV-1") for text in broken(shrinker.scenario))


def test_a_generated_hour_shrinks_to_the_two_steps_that_matter() -> None:
    def find(scenario: Scenario) -> Sequence[str]:
        verbs = [step.verb for step in scenario.timeline]
        later = "store-fault" in verbs and "power-on" in verbs[verbs.index("store-fault") :]
        return ["LIVE-1 at 3500.000 s: it is not back"] if later else []

    scenario = next(s for s in map(generate, range(100)) if find(s))
    small = Shrinker(scenario, "LIVE-1", find, lambda _text: None).run()
    assert sorted(step.verb for step in small.timeline) == ["power-on", "store-fault"]
    assert not small.instances and not small.rules
    assert len(small.nodes) <= 2
    assert all(step.at % 10 == 0 for step in small.timeline)


def test_a_removed_node_leaves_no_name_behind() -> None:
    without = without_nodes(loads(NOISY), ["node1", "node4"])
    assert without is not None
    assert loads(_text(without)) == without
    assert not [step for step in without.timeline if step.verb == "store-off"], "it named these two alone"
    assert without.instances["vm/2"].node == ""
    assert without.instances["nfs/3"].spec.nodes == ("node2",)
    assert [rule.nodes for rule in without.rules] == [{}, {"node3": 2}]


def test_a_copy_goes_with_its_home() -> None:
    copies = "instances: {s3/x/gw-a: {}, s3/x/gw-b: {}, backup/x/gw-a: {home: b}}\n"
    crash = "timeline: [{at: 9, do: crash, instance: s3/x/gw-b}, {at: 10, do: crash, instance: s3/x/gw-a}]"
    without = without_nodes(loads("nodes: {a: {}, b: {}}\n" + copies + crash), ["b"])
    assert without is not None
    assert list(without.instances) == ["s3/x/gw-a"]
    assert [step.at for step in without.timeline] == [10]


def test_the_last_node_stays() -> None:
    assert without_nodes(loads(MINIMAL), ["node2", "node3"]) is None


def test_violations_name_their_invariant_and_time() -> None:
    violation = parse_violation("INV-2 at 12.500 s: node1 was claimed")
    assert (violation.invariant, violation.at) == ("INV-2", 12.5)
    assert parse_violation("CRASH: KeyError('x')") == Violation("CRASH: KeyError", None, "CRASH: KeyError('x')")
    assert parse_violation("CRASH: StoreFull: the store").invariant == "CRASH: StoreFull"
    assert parse_violation("LIVE-1: so it is").invariant == "LIVE-1"


def report(seed: int, *violations: str) -> SeedReport:
    return SeedReport(seed, 3600.0, 0.0, 10, violations=violations)


def test_one_seed_of_each_invariant_comes_first() -> None:
    failed = [report(4, "INV-1 at 1 s: a"), report(2, "INV-1 at 1 s: a"), report(9, "LIVE-1 at 1 s: b")]
    assert [r.seed for r in most_telling(failed, 2)] == [2, 9]
    assert [r.seed for r in most_telling(failed, 9)] == [2, 9, 4]


@pytest.mark.parametrize("needs_skipping", [False, True])
def test_a_finding_is_a_file_that_replays(tmp_path: Path, needs_skipping: bool) -> None:
    seed = next(s for s in range(100) if any(step.verb == "freeze" for step in generate(s).timeline))

    def run(scenario: Scenario, _seed: int, skip_quiet: bool) -> Sequence[str]:
        frozen = any(step.verb == "freeze" for step in scenario.timeline)
        return ["INV-6 at 77.000 s: a late write"] if frozen and skip_quiet >= needs_skipping else []

    failed = report(seed, "INV-6 at 9.000 s: a late write")
    finding = investigate(failed, Shape(), True, tmp_path / "new", lambda _text: None, run=run)
    assert finding.file == tmp_path / "new" / f"violation-seed{seed}.yaml"
    assert finding.command == f"holdfast sim run {finding.file} --seed {seed}" + (" --skip" if needs_skipping else "")
    written = loads(finding.file.read_text())
    assert [step.verb for step in written.timeline] == ["freeze"]
    assert "INV-6" in written.why and finding.command in written.why
    assert finding.violation == "INV-6 at 77.000 s: a late write"


def test_a_finding_that_is_not_shrunk_is_written_whole(tmp_path: Path) -> None:
    def run(_scenario: Scenario, _seed: int, _skip: bool) -> Sequence[str]:
        raise AssertionError("nothing is run")

    finding = investigate(
        report(3, "INV-1 at 9.000 s: x"), Shape(), True, tmp_path, lambda _text: None, max_runs=0, run=run
    )
    written = loads(finding.file.read_text())
    assert replace(written, name="", why="") == replace(generate(3), name="", why="")


def _text(scenario: Scenario) -> str:
    from holdfast.sim.writing import dump

    return dump(scenario)
