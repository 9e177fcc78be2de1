"""The same cluster asked of Pacemaker's scheduler: crm_simulate with utilization-based placement."""

import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from planner_worlds import World

FEATURES = "3.16.2"
NO_PARAMETERS = "f2317cad3d54cec5d7d7aa7d0bf35cf8"
"""Digest of a resource without parameters, so that nothing is restarted for a changed definition."""
TIMEOUT_S = 3600


@dataclass(frozen=True)
class Answer:
    cpu_s: float
    """Processor seconds of the whole process: it reads the cluster as XML."""
    recovered: frozenset[str]
    """Of what ran on the failed node."""
    stopped: frozenset[str]
    """Elsewhere: it would end them so that others have room."""
    moved: frozenset[str]
    """Elsewhere: it would stop them and start them on another node, or again."""


def ask(crm_simulate: str, world: World, failed: str) -> Answer | None:
    """None: it had no answer within an hour. Raises subprocess.CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cib.xml")
        file.write_bytes(ElementTree.tostring(_cib(world, failed)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(
                [crm_simulate, "-x", str(file), "--run", "--output-as=xml"],
                env={"CIB_shadow_dir": folder, **os.environ},
                capture_output=True,
                check=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return None
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    names = {_id(name): name for name in world.instances}
    lost = {name for name, setup in world.instances.items() if setup.node == failed}
    actions = [
        (one.get("action"), one.get("resource")) for one in ElementTree.fromstring(done.stdout).iter("rsc_action")
    ]
    done_to = {names[resource]: action for action, resource in actions if resource in names}
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Answer(
        cpu_s,
        frozenset(name for name, action in done_to.items() if name in lost and action in ("start", "move", "recover")),
        frozenset(name for name, action in done_to.items() if name not in lost and action == "stop"),
        frozenset(name for name, action in done_to.items() if name not in lost and action != "stop"),
    )


def _id(name: str) -> str:
    return name.replace("/", "-")


def _cib(world: World, failed: str) -> ElementTree.Element:
    """The failed node is clean and offline, as after its fencing."""
    cib = ElementTree.Element(
        "cib",
        {"validate-with": "pacemaker-3.0", "epoch": "1", "num_updates": "0", "admin_epoch": "0", "have-quorum": "1"},
    )
    configuration = ElementTree.SubElement(cib, "configuration")
    options = ElementTree.SubElement(
        ElementTree.SubElement(configuration, "crm_config"), "cluster_property_set", id="o"
    )
    _pairs(options, "o", {"placement-strategy": "balanced", "stonith-enabled": "false", "no-quorum-policy": "ignore"})
    nodes = ElementTree.SubElement(configuration, "nodes")
    resources = ElementTree.SubElement(configuration, "resources")
    ElementTree.SubElement(configuration, "constraints")
    status = ElementTree.SubElement(cib, "status")
    histories = {}
    for number, setup in enumerate(world.nodes.values()):
        node = ElementTree.SubElement(nodes, "node", id=str(number + 1), uname=setup.name)
        use = ElementTree.SubElement(node, "utilization", id=f"{setup.name}-u")
        _pairs(use, f"{setup.name}-u", {"memory": setup.memory_mib, "cpu": int(setup.cpu * 1000)})
        dead = setup.name == failed
        words = ("false", "offline", "down", "down") if dead else ("true", "online", "member", "member")
        state = dict(zip(("in_ccm", "crmd", "join", "expected"), words, strict=True))
        made = ElementTree.SubElement(status, "node_state", {"id": str(number + 1), "uname": setup.name, **state})
        lrm = ElementTree.SubElement(made, "lrm", id=str(number + 1))
        histories[setup.name] = ElementTree.SubElement(lrm, "lrm_resources")
    agent = {"class": "ocf", "provider": "pacemaker", "type": "Dummy"}
    for name, instance in world.instances.items():
        own = _id(name)
        resource = ElementTree.SubElement(resources, "primitive", {"id": own, **agent})
        meta = ElementTree.SubElement(resource, "meta_attributes", id=f"{own}-m")
        _pairs(meta, f"{own}-m", {"priority": instance.spec.priority, "resource-stickiness": 1000})
        use = ElementTree.SubElement(resource, "utilization", id=f"{own}-u")
        _pairs(use, f"{own}-u", {"memory": instance.spec.memory_mib, "cpu": int(instance.spec.cpu * 1000)})
        history = ElementTree.SubElement(histories[instance.node], "lrm_resource", {"id": own, **agent})
        ElementTree.SubElement(history, "lrm_rsc_op", _started(own, instance.node))
    return cib


def _started(resource: str, node: str) -> dict[str, str]:
    key = "1:1:0:00000000-0000-0000-0000-000000000000"
    return {
        "id": f"{resource}_last_0",
        "operation": "start",
        "operation_key": f"{resource}_start_0",
        "crm_feature_set": FEATURES,
        "transition-key": key,
        "transition-magic": f"0:0;{key}",
        "call-id": "1",
        "rc-code": "0",
        "op-status": "0",
        "on_node": node,
        "op-digest": NO_PARAMETERS,
    }


def _pairs(parent: ElementTree.Element, prefix: str, values: dict[str, object]) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, "nvpair", id=f"{prefix}-{name}", name=name, value=str(value))
