"""Whether what S3 and backup clusters consist of is recovered elsewhere, and if not, why. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from holdfast.core.model import InstanceSpec, ManagementSpec

LEAST_NODES = {"s3": 3, "backup": 2}
"""Kind → how many nodes its cluster needs for high availability."""
NEEDS_MANAGEMENT_HA = ("s3",)
"""Kinds that wait for the high availability of the management plane. A backup cluster has none but gateways, which its
clients find without it."""


def ha_off(kind: str, nodes: int, management: ManagementSpec) -> str:
    """Why the high availability of a cluster of so many nodes is off, with what turns it on. "": it is on."""
    least = LEAST_NODES[kind]
    if nodes < least:
        have = "1 node" if nodes == 1 else f"{nodes} nodes"
        return f"it has {have} of the {least} that are needed; add some with `holdfast {kind} node add`"
    if kind in NEEDS_MANAGEMENT_HA and not management.virtual_ip:
        return "management high availability is off; enable it with `holdfast ha enable`"
    return ""


def adapted(instances: Iterable[InstanceSpec], management: ManagementSpec) -> Iterator[InstanceSpec]:
    """Those of S3 and backup clusters whose `ha` is not as it is to be now, changed. Their `nodes` are the cluster's."""
    for spec in instances:
        if spec.kind in LEAST_NODES:
            wanted = not ha_off(spec.kind, len(spec.nodes), management)
            if spec.ha is not wanted:
                yield replace(spec, ha=wanted)
