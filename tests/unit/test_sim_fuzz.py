"""Random scenarios: functions of their seeds, valid files, and all their faults end."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from holdfast.core.policy import RuleKind
from holdfast.errors import InvalidInput
from holdfast.sim.fuzz import CALM_S, SETTLE_S, Shape, generate
from holdfast.sim.scenario import loads
from holdfast.sim.setup import Scenario
from holdfast.sim.verbs import VERBS
from holdfast.sim.writing import dump

SEEDS = range(400)
NEVER = {"lie-start", "lie-stop", "watchdog-off", "watchdog-slow", "suspend", "clone", "watchdog-taken", "late-start"}
"""They break a premise of the protocol, or belong to one trap each (tests/scenarios/traps). Of others only some modes are
generated."""
ENDS = {
    "freeze": "thaw",
    "network-off": "network-on",
    "agent-stop": "agent-start",
    "guard-stop": "guard-start",
    "link-off": "link-on",
    "store-off": "store-on",
    "maintenance-on": "maintenance-off",
    "ha-pause": "ha-resume",
    "lock": "unlock",
    "power-off": "power-on",
    "shutdown": "power-on",
    "add": "remove",
}
IDENTITY = ("node", "nodes", "from", "to", "one-way", "network", "instance")


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    return [generate(seed) for seed in SEEDS]


def test_a_scenario_is_a_function_of_its_seed_alone() -> None:
    code = (
        "import hashlib; from holdfast.sim.fuzz import generate; from holdfast.sim.writing import dump\n"
        "print(hashlib.sha256(''.join(dump(generate(seed)) for seed in range(20)).encode()).hexdigest())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for hash_seed in (1, 2)
    }
    here = hashlib.sha256("".join(dump(generate(seed)) for seed in range(20)).encode()).hexdigest()
    assert answers == {here}
    assert dump(generate(1)) != dump(generate(2))


def test_what_is_generated_is_a_valid_file(scenarios: list[Scenario]) -> None:
    for scenario in scenarios[:60]:
        assert loads(dump(scenario)) == scenario


def test_all_faults_end_and_calm_follows(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        open_faults: Counter[tuple[str, object]] = Counter()
        for step in scenario.timeline:
            who = tuple(step.args.get(key) for key in IDENTITY)
            if step.verb in ENDS:
                open_faults[ENDS[step.verb], who] += 1
            elif step.verb in ENDS.values():
                open_faults[step.verb, who] = 0
            elif step.verb in ("fail-start", "fail-stop", "fail-migrate"):
                open_faults[step.verb, who] = step.args["times"]
            elif step.verb == "lie-fence":
                open_faults[step.verb, who] = step.args["mode"] != "honest"
            elif step.verb in ("loss", "delay"):
                open_faults[step.verb, who] = bool(step.args.get("percent") or step.args.get("seconds"))
            elif step.verb == "set-state":
                open_faults[step.verb, who] = step.args["state"] != "started"
            elif step.verb.startswith("hang-"):
                assert step.args["for"] > 0
            elif step.verb == "store-fault":
                assert step.args["for"] > 0 or step.args["mode"] == "leader-change"
        # An `add` and its `remove` name the same instance, and nothing else that counts.
        still = [(end, who) for (end, who), count in open_faults.items() if count and end != "remove"]
        assert not still, f"{scenario.name}: {still}"
        assert scenario.timeline[0].at >= SETTLE_S
        assert scenario.until - scenario.timeline[-1].at >= CALM_S - 20


def test_there_is_calm_between_the_groups(scenarios: list[Scenario]) -> None:
    """Most of an hour is calm: that is what an hour of a cluster looks like, and what can be passed over."""
    for scenario in scenarios:
        times = [0.0, *(step.at for step in scenario.timeline), scenario.until]
        calm = [later - earlier for earlier, later in pairwise(times) if later - earlier >= CALM_S]
        assert len(calm) >= 5, scenario.name
        assert sum(calm) > 0.4 * scenario.until, scenario.name


def test_every_verb_is_used_but_those_that_break_a_premise(scenarios: list[Scenario]) -> None:
    used = {step.verb for scenario in scenarios for step in scenario.timeline}
    assert used == VERBS.keys() - NEVER
    modes = {step.args["mode"] for s in scenarios for step in s.timeline if step.verb in ("lie-fence", "store-fault")}
    assert modes >= {"dead", "slow", "unknown", "lost", "stale", "nospace", "compact", "leader-change"}
    assert not modes & {"restore", "lie-state"}


def test_operators_confirm_the_death_only_of_nodes_that_lost_their_power(scenarios: list[Scenario]) -> None:
    """Another episode may have switched it on again since: then the simulated operator sees it and says nothing."""
    for scenario in scenarios:
        for confirmation in (step for step in scenario.timeline if step.verb == "confirm-dead"):
            node = confirmation.args["node"]
            assert any(
                step.verb == "power-off" and step.args["node"] == node and 0 < confirmation.at - step.at < 130
                for step in scenario.timeline
            )


def test_clusters_differ(scenarios: list[Scenario]) -> None:
    assert {len(scenario.nodes) for scenario in scenarios} == {3, 4, 5, 6, 7}
    assert {scenario.profile for scenario in scenarios} == {"default", "fast"}
    assert {rule.kind for scenario in scenarios for rule in scenario.rules} == {*RuleKind}
    copies = [[one.spec.home for one in scenario.instances.values() if one.spec.home] for scenario in scenarios]
    assert 0 < sum(map(bool, copies)) < len(copies), "some have gateways"
    for flag in ("power_fencing", "watchdog"):
        kinds = {frozenset(getattr(node, flag) for node in scenario.nodes.values()) for scenario in scenarios}
        assert kinds == {frozenset({True}), frozenset({False}), frozenset({True, False})}


def test_the_shape_is_kept() -> None:
    scenario = generate(7, Shape(hours=0.2, nodes=3))
    assert scenario.until == 720
    assert len(scenario.nodes) == 3
    assert {scenario.simulation["detection"] for scenario in map(generate, range(200))} == {"model", "datagrams"}
    assert generate(7, Shape(detection="datagrams")).simulation == {"detection": "datagrams"}
    with pytest.raises(InvalidInput):
        Shape(detection="guesses")
    for hours, nodes in ((0.0, 3), (-1.0, 3), (1.0, 1), (1.0, 65), (1e9, 3)):
        with pytest.raises(InvalidInput):
            Shape(hours, nodes)
