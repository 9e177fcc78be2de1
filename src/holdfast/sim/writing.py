"""A scenario written back to a file."""

from holdfast.core.policy import RuleSpec, Scope
from holdfast.sim.document import Switch, write
from holdfast.sim.expect import write_expectation
from holdfast.sim.fields import CLUSTER_FIELDS, INSTANCE_FIELDS, NODE_FIELDS, Value, plain_number, write_fields
from holdfast.sim.setup import InstanceSetup, NodeSetup, Scenario, default_roles, usual_exclusivity, usual_home
from holdfast.sim.verbs import VERBS


def dump(scenario: Scenario) -> str:
    """A file's text that `loads` reads as the same scenario."""
    nodes = scenario.nodes.values()
    document: dict[str, object] = {
        "name": scenario.name,
        "why": scenario.why,
        "group": scenario.group,
        "profile": scenario.profile,
        "cluster": write_fields(
            {
                "tolerate": scenario.cluster.tolerate,
                "shutdown_policy": scenario.cluster.shutdown_policy.value,
                "dead_node_power_on": scenario.cluster.dead_node_power_on,
                "management": scenario.cluster.management,
                "rebalance": scenario.cluster.rebalance,
            },
            CLUSTER_FIELDS,
        ),
        "nodes": {node.name: _node_fields(index, node, scenario) for index, node in enumerate(nodes)},
        "instances": {
            name: write_fields(_instance_values(setup), INSTANCE_FIELDS) for name, setup in scenario.instances.items()
        },
        "rules": [_rule_fields(rule) for rule in scenario.rules],
        "start": {node.name: Switch("off") for node in nodes if not node.on},
        "timeline": [
            {"at": plain_number(step.at), "do": step.verb, **write_fields(step.args, VERBS[step.verb].fields)}
            for step in scenario.timeline
        ],
        "until": plain_number(scenario.until),
        "simulation": scenario.simulation,
        "expect": write_expectation(scenario.expect),
    }
    return write({key: value for key, value in document.items() if value not in ("", {}, [])})


def _node_fields(index: int, node: NodeSetup, scenario: Scenario) -> dict[str, object]:
    default = node.roles == default_roles(index, len(scenario.nodes), scenario.cluster)
    values: dict[str, Value] = {
        "cpu": node.cpu,
        "memory": node.memory_mib,
        "roles": () if default else tuple(role.value for role in node.roles),
        "power_fencing": node.power_fencing,
        "watchdog": node.watchdog,
        "labels": node.labels,
        "slots": node.slots,
        "joined": node.joined,
    }
    return write_fields({k: "" if v == () else v for k, v in values.items()}, NODE_FIELDS)


def _instance_values(setup: InstanceSetup) -> dict[str, Value]:
    spec = setup.spec
    return {
        "node": setup.node,
        "nodes": spec.nodes,
        "state": spec.desired.value,
        "cpu": spec.cpu,
        "memory": spec.memory_mib,
        "priority": spec.priority,
        "max_restarts": spec.max_restarts,
        "max_relocations": spec.max_relocations,
        "failback": spec.failback,
        "ha": spec.ha,
        "preemptible": spec.preemptible,
        "exclusivity": "" if spec.exclusivity is usual_exclusivity(spec.id) else spec.exclusivity.value,
        "home": "" if spec.home == usual_home(spec.id, spec.exclusivity, setup.node) else spec.home,
    }


def _rule_fields(rule: RuleSpec) -> dict[str, object]:
    document: dict[str, object] = {"id": rule.id, "kind": rule.kind.value, "instances": list(rule.instances)}
    if rule.nodes:
        document["nodes"] = rule.nodes
    if rule.after:
        document["after"] = list(rule.after)
    if rule.by is not Scope.NODE:
        document["by"] = rule.by.value
    return {**document, "strict": rule.strict}
