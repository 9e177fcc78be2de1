"""Scenario files (design, section 8): read and checked. Everything about a file is imported from here."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.model import Exclusivity, InstanceSpec, Role, ShutdownPolicy
from holdfast.core.policy import RuleKind, RuleSpec, Scope
from holdfast.core.timing import Timing, profile
from holdfast.sim.document import MAX_SECONDS, Cursor, parse, read
from holdfast.sim.expect import read_expectation
from holdfast.sim.fields import CLUSTER_FIELDS, INSTANCE_FIELDS, NODE_FIELDS, PROFILE, Names, Value, read_fields
from holdfast.sim.setup import (
    AFTER_LAST_STEP_S,
    KINDS,
    ClusterSetup,
    InstanceSetup,
    NodeSetup,
    Scenario,
    Step,
    default_roles,
    instance_setup,
)
from holdfast.sim.verbs import VERBS
from holdfast.sim.writing import dump

__all__ = ["ClusterSetup", "InstanceSetup", "NodeSetup", "Scenario", "Step", "dump", "load", "loads"]

DETECTION = ("datagrams", "model")
_INSTANCE_ID = re.compile(r"([a-z0-9]+)/([A-Za-z0-9._-]+)(/[A-Za-z0-9._-]+)?")
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LEAST = {RuleKind.NODE_AFFINITY: 1, RuleKind.AFFINITY: 2, RuleKind.ANTI_AFFINITY: 2, RuleKind.START_ORDER: 1}
"""Kind of rule → so many instances at least."""
_ABOUT = ("name", "why", "group")
_CONTENT = ("profile", "cluster", "nodes", "instances", "rules", "start", "timeline", "until", "simulation", "expect")


def load(path: Path) -> Scenario:
    """The scenario in a file. Raises InvalidInput, naming the place in it."""
    return _scenario(read(path), path.stem)


def loads(text: str, file: str = "scenario") -> Scenario:
    """The scenario in a text. Raises InvalidInput."""
    return _scenario(parse(text, file), file)


# --- reading ----------------------------------------------------------------------------------------------------------


def _scenario(document: Cursor, default_name: str) -> Scenario:
    if document.value is None:
        raise document.error("is empty", "A scenario needs at least nodes.")
    parts = document.mapping((*_ABOUT, *_CONTENT))

    def part(key: str) -> Cursor:
        return parts.get(key, Cursor(document.file, key, None))

    def line(key: str, default: str = "") -> str:
        text = part(key).text().strip() if key in parts else default
        if "\n" in text:
            raise part(key).error("must be one line")
        return text

    values: dict[str, Any] = dict(read_fields(part("cluster"), CLUSTER_FIELDS, Names()))
    if values["management"] not in (1, 3, 5):
        raise part("cluster").child("management", None).error(f"is {values['management']}", "Allowed: 1, 3, 5.")
    cluster = ClusterSetup(**{**values, "shutdown_policy": ShutdownPolicy(values["shutdown_policy"])})
    profile_name = part("profile").choice(PROFILE.choices, "timing profile") if "profile" in parts else "default"
    nodes = read_nodes(part("nodes"), part("start"), cluster)
    if not any(Role.MANAGEMENT in node.roles for node in nodes.values()):
        raise part("nodes").error("none has the role management", "Give it to one, three or five nodes.")
    instances = read_instances(part("instances"), nodes)
    timeline = _timeline(part("timeline"), nodes, instances, profile(profile_name))
    added = [step.args["instance"] for step in timeline if step.verb == "add"]
    names = Names(nodes, list(dict.fromkeys([*instances, *added])))
    return Scenario(
        line("name", default_name),
        nodes,
        instances,
        read_rules(part("rules"), names),
        timeline,
        _until(part("until"), timeline),
        profile_name,
        cluster,
        line("why"),
        line("group"),
        _simulation(part("simulation")),
        read_expectation(part("expect"), names),
    )


def read_nodes(cursor: Cursor, start: Cursor, cluster: ClusterSetup) -> dict[str, NodeSetup]:
    entries = cursor.mapping()
    if not entries:
        raise cursor.error("is missing or empty", "Describe at least one node.")
    powers = start.mapping()
    for name, power in powers.items():
        if name not in entries:
            raise power.unknown("node", name, entries)
    nodes: dict[str, NodeSetup] = {}
    for index, (name, entry) in enumerate(entries.items()):
        if not _NODE_NAME.fullmatch(name):
            raise entry.error("is no name for a node", "Use letters, digits, dots and hyphens.")
        values: dict[str, Any] = dict(read_fields(entry, NODE_FIELDS, Names()))
        if not values["cpu"]:
            raise entry.child("cpu", 0).error("is 0", "A node has cores.")
        roles = tuple(Role(role) for role in values["roles"]) or default_roles(index, len(entries), cluster)
        on = powers[name].switch() if name in powers else True
        nodes[name] = NodeSetup(
            name,
            values["cpu"],
            values["memory"],
            roles,
            values["power_fencing"],
            values["watchdog"],
            values["labels"],
            on,
            values["slots"],
            values["joined"],
        )
    return nodes


def read_instances(cursor: Cursor, nodes: Mapping[str, NodeSetup]) -> dict[str, InstanceSetup]:
    names = Names(nodes)
    return {
        name: _instance(entry, name, dict(read_fields(entry, INSTANCE_FIELDS, names)), nodes)
        for name, entry in cursor.mapping().items()
    }


def _instance(cursor: Cursor, name: str, values: dict[str, Value], nodes: Mapping[str, NodeSetup]) -> InstanceSetup:
    """What these fields describe, after checks that concern one instance alone."""
    found = _INSTANCE_ID.fullmatch(name)
    if found is None:
        raise cursor.error(
            "is no id of an instance", "Write it as KIND/NAME or KIND/NAME/PART, e.g. vm/101 or s3/main/os-1."
        )
    if found[1] not in KINDS:
        raise cursor.unknown("kind of instance", found[1], tuple(KINDS))
    priority = values["priority"]
    if not isinstance(priority, int) or priority > 1000:
        raise cursor.child("priority", None).error(f"is {priority}", "Allowed: 0 to 1000.")
    setup = instance_setup(name, values)
    everywhere = setup.spec.exclusivity is Exclusivity.EVERYWHERE
    if everywhere and setup.spec.home not in nodes:
        raise cursor.error(
            f"is the copy of {setup.spec.home or 'no node'}" + (", which does not exist" if setup.spec.home else ""),
            "What runs everywhere has a copy for each node: call its part gw-NODE, or name its home.",
        )
    if setup.spec.home and not everywhere:
        raise cursor.child("home", None).error("belongs to exclusivity everywhere", "Only such copies have a home.")
    _may_be_on(cursor, "node", setup.node, setup.spec, nodes)
    _may_be_on(cursor, "home", setup.spec.home, setup.spec, nodes)
    return setup


def _may_be_on(cursor: Cursor, key: str, node: str, spec: InstanceSpec, nodes: Mapping[str, NodeSetup]) -> None:
    if node and spec.role not in nodes[node].roles:
        able = [each.name for each in nodes.values() if spec.role in each.roles]
        raise cursor.child(key, None).error(
            f"{node} does not have the role {spec.role}", f"These have: {', '.join(able) or 'none'}."
        )
    if node and spec.nodes and node not in spec.nodes:
        raise cursor.child(key, None).error(f"{node} is not one of its nodes", f"These are: {', '.join(spec.nodes)}.")


def read_rules(cursor: Cursor, names: Names) -> tuple[RuleSpec, ...]:
    rules: dict[str, RuleSpec] = {}
    for index, entry in enumerate(cursor.items()):
        parts = entry.mapping(("id", "kind", "instances", "nodes", "after", "strict", "by"))
        for key in ("kind", "instances"):
            if key not in parts:
                raise entry.error(f"{key} is missing", "Needed: kind, instances; and nodes with kind node-affinity.")
        kind = RuleKind(parts["kind"].choice(tuple(RuleKind), "kind of rule"))
        instances = _named(parts["instances"], names)
        if len(instances) < _LEAST[kind]:
            raise parts["instances"].error("are too few", "An affinity needs two, node-affinity and start-order one.")
        after = _named(parts["after"], names) if "after" in parts else ()
        if bool(after) is not (kind is RuleKind.START_ORDER):
            raise entry.error("after belongs to kind start-order", "It names whom the instances are started after.")
        if "nodes" in parts and kind is not RuleKind.NODE_AFFINITY:
            raise parts["nodes"].error(f"means nothing with kind {kind}", "Only node-affinity names nodes.")
        name = parts["id"].text() if "id" in parts else f"rule-{index + 1}"
        if name in rules:
            raise entry.error(f"the id {name} stands twice")
        strict = parts["strict"].flag() if "strict" in parts else True
        nodes = _rule_nodes(parts.get("nodes", entry.child("nodes", None)), names)
        by = Scope(parts["by"].choice(tuple(Scope), "scope")) if "by" in parts else Scope.NODE
        if by is not Scope.NODE and kind is not RuleKind.ANTI_AFFINITY:
            raise parts["by"].error(f"means nothing with kind {kind}", "Only anti-affinity is about failure domains.")
        rules[name] = RuleSpec(name, kind, instances, nodes, strict, after, by)
    return tuple(rules.values())


def _named(cursor: Cursor, names: Names) -> tuple[str, ...]:
    """Instances, each once."""
    found = tuple(item.text() for item in cursor.items())
    for name in found:
        if name not in names.instances:
            raise cursor.unknown("instance", name, names.instances)
    if len(set(found)) < len(found):
        raise cursor.error("names one twice")
    return found


def _rule_nodes(cursor: Cursor, names: Names) -> dict[str, int]:
    """Node → priority; a mere list gives all the same."""
    if isinstance(cursor.value, list):
        found = {item.text(): 1 for item in cursor.items()}
    else:
        found = {name: priority.whole() for name, priority in cursor.mapping().items()}
    for name in found:
        if name not in names.nodes:
            raise cursor.unknown("node", name, names.nodes)
    return found


def _timeline(
    cursor: Cursor, nodes: Mapping[str, NodeSetup], instances: Mapping[str, InstanceSetup], timing: Timing
) -> tuple[Step, ...]:
    """Steps in the order of time, those of the same moment in the order of the file. An instance may be named from
    the moment it is added until it is removed."""
    entries = []
    for entry in cursor.items():
        keys = entry.mapping()
        for key in ("at", "do"):
            if key not in keys:
                raise entry.error(f"{key} is missing", "Each step needs at (seconds) and do (a verb).")
        entries.append((keys["at"].number(0, MAX_SECONDS), keys["do"].choice(tuple(VERBS), "verb"), entry))
    present = dict.fromkeys(instances)
    steps: list[Step] = []
    for at, verb, entry in sorted(entries, key=lambda item: item[0]):
        step = Step(at, verb, _arguments(entry, verb, Names(nodes, present), timing))
        if verb == "add":
            name = step.args["instance"]
            if name in present:
                raise entry.child("instance", None).error(
                    f"{name} is there already", "Take another id, or remove it first."
                )
            _instance(entry.child("instance", name), name, step.args, nodes)
            present[name] = None
        elif verb == "remove":
            del present[step.args["instance"]]
        steps.append(step)
    return tuple(steps)


def _arguments(entry: Cursor, name: str, names: Names, timing: Timing) -> dict[str, Any]:
    verb = VERBS[name]
    values: dict[str, Any] = read_fields(entry, verb.fields, names, ignore=("at", "do"))
    given = entry.mapping()
    for group in verb.one_of:
        if sum(key in given for key in group) != 1:
            raise entry.error(f"needs exactly one of {' and '.join(group)}")
    if verb.any_of and not any(key in given for key in verb.any_of):
        raise entry.error(f"needs at least one of {', '.join(verb.any_of)}")
    if values.get("slots") and not values.get("node"):
        raise entry.child("slots", None).error("belongs to a node", "An instance needs one slot of its kind.")
    if name == "clock-rate" and abs(values["rate"] - 1) > timing.rho + 1e-9:
        raise entry.child("rate", None).error(
            f"is {values['rate']:g}: the profile {timing.name} allows {1 - timing.rho:g} to {1 + timing.rho:g}",
            "The protocol promises nothing for clocks that are further off; 1 is exact.",
        )
    if values.get("from") and values.get("from") == values.get("to"):
        raise entry.child("to", None).error("is the same node as from")
    return values


def _until(cursor: Cursor, timeline: Sequence[Step]) -> float:
    last = timeline[-1].at if timeline else 0.0
    if cursor.value is None:
        return last + AFTER_LAST_STEP_S
    until = cursor.number(0, MAX_SECONDS)
    if until < last:
        raise cursor.error(f"is {until:g}, before the last step at {last:g}", "Let it go on longer.")
    return until


def _simulation(cursor: Cursor) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, child in cursor.mapping().items():
        if key == "detection":
            settings[key] = child.choice(DETECTION, "kind of detection")
        elif isinstance(child.value, bool):
            settings[key] = child.value
        else:
            settings[key] = child.text() if isinstance(child.value, str) else child.number()
    return settings
