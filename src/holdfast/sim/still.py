"""A cluster at rest: nodes, instances and rules in the words of scenario files, as the view that a planner is asked with.

Nothing is simulated; what a whole scenario holds besides is passed over.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.core.model import (
    Beat,
    BeatPhase,
    Desired,
    Fence,
    Goal,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Proof,
)
from holdfast.core.plan import evacuate
from holdfast.core.policy import RuleSpec
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.errors import InvalidInput
from holdfast.sim.document import Cursor, parse
from holdfast.sim.fields import Names
from holdfast.sim.scenario import read_instances, read_nodes, read_rules
from holdfast.sim.setup import ClusterSetup, InstanceSetup, NodeSetup

MAX_BYTES = 64 * 1024 * 1024
"""Larger than any cluster that is planned here."""
NOW = 1000.0
"""The moment of the view, seconds; any will do."""
_PARTS = ("nodes", "instances", "rules", "start")
_PASSED_OVER = ("name", "why", "group", "profile", "cluster", "timeline", "until", "simulation", "expect")


def load_view(path: Path) -> View:
    """The cluster in a YAML or JSON file, every instance where the file says. Raises InvalidInput, naming the place."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path}: the file is larger than {MAX_BYTES // 1024 // 1024} MiB", "Is it a cluster?")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}", "Give the path of a cluster's file.") from None
    return read_view(_document(content, str(path)))


def read_view(document: Cursor) -> View:
    """The same of a document."""
    if document.value is None:
        raise document.error("is empty", "A cluster needs at least nodes.")
    parts = document.mapping((*_PARTS, *_PASSED_OVER))

    def part(key: str) -> Cursor:
        return parts.get(key, Cursor(document.file, key, None))

    nodes = read_nodes(part("nodes"), part("start"), ClusterSetup())
    instances = read_instances(part("instances"), nodes)
    return view_of(nodes, instances, read_rules(part("rules"), Names(nodes, instances)))


def view_of(
    nodes: Mapping[str, NodeSetup], instances: Mapping[str, InstanceSetup], rules: tuple[RuleSpec, ...] = ()
) -> View:
    """Everything that is on is well, and everything that has a node runs there, or is off there."""
    ordered = tuple(sorted(rules, key=lambda rule: rule.id))
    views = {name: InstanceView(setup.spec, 1) for name, setup in instances.items()}
    homes = {name: setup.node for name, setup in instances.items() if setup.node}
    view = View(profile("default"), 1, {name: _node(setup) for name, setup in nodes.items()}, views, rules=ordered)
    return at_home(view, homes)


def at_home(view: View, homes: Mapping[str, str]) -> View:
    """These instances are on these nodes."""
    placed = {name: _at(view.instances[name], node) for name, node in homes.items()}
    return replace(view, instances={**view.instances, **placed})


def placed_first(view: View) -> tuple[View, dict[str, str]]:
    """What is nowhere yet is placed; where it went."""
    plan = evacuate(view, (), now=NOW)
    homes = {**plan.placements, **plan.homes}
    return at_home(view, homes), homes


def _document(content: bytes, file: str) -> Cursor:
    if content.lstrip()[:1] == b"{":
        try:
            return Cursor(file, "", json.loads(content, object_pairs_hook=_distinct))
        except _Twice as error:
            raise InvalidInput(f"{file}: the key {error.args[0]!r} stands twice") from None
        except RecursionError:
            raise InvalidInput(f"{file}: is nested too deeply") from None
        except ValueError:
            pass  # YAML may begin like this, too; else its reader says where the mistake is
    return parse(content, file)


class _Twice(Exception):
    """The key stands twice in an object."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _node(setup: NodeSetup) -> NodeView:
    domain = setup.labels.get("rack", "")
    spec = NodeSpec(setup.name, setup.roles, {"management": ""}, domain, setup.labels, slots=setup.slots)
    beat = Beat(setup.name, setup.name, setup.name, 1, 1, BeatPhase.ACTIVE, cpu=setup.cpu, memory_mib=setup.memory_mib)
    fence = Fence(1) if setup.on else Fence(2, Proof.POWER_OFF)
    return NodeView(spec, fence, 1, beat, 1, NOW)


def _at(instance: InstanceView, node: str) -> InstanceView:
    states = {
        Desired.STARTED: InstanceState.RUNNING,
        Desired.IGNORED: InstanceState.IGNORED,
    }
    desired = instance.spec.desired
    runs = desired in states
    return replace(
        instance,
        placement=Placement(node, 1, 1, Goal.RUN if runs else Goal.STOP),
        status=InstanceStatus(node, node, 1, states.get(desired, InstanceState.STOPPED), healthy=runs, stable=runs),
        status_revision=2,
    )
