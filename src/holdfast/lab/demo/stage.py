"""Setting the stage: a cluster with a volume, panel and volume on one node, and that node the one that leads."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from holdfast.config import Tls
from holdfast.lab import kernel
from holdfast.lab.client import LabClient, LabError
from holdfast.lab.demo.talk import Cluster, Silent, wait_for_nodes

VOLUME = "demo"
PANEL = "panel/admin"
ADDRESSES = "10.78.0.101-10.78.0.110"
"""Pool of service addresses on the lab's public network."""
MOVE_S = 60.0


def instance(status: dict[str, Any], instance_id: str) -> dict[str, Any]:
    """The instance's view in an API status. Raises LabError."""
    found = next((i for i in status["instances"] if i["id"] == instance_id), None)
    if found is None:
        raise LabError(f"the cluster has no instance {instance_id}", "See `holdfast service list` in a node.")
    return dict(found)


def make_volume(lab: LabClient, cluster: Cluster, name: str = VOLUME) -> str:
    """Prepare NFS on all nodes and create a volume, unless it is there; returns its address once it answers."""
    status = cluster.get("/status")
    if not any(kind["kind"] == "nfs" for kind in status["kinds"]):
        cluster.post("/nfs/cluster", {"nodes": lab.nodes, "addresses": [ADDRESSES], "network": "public"})
    if not any(i["id"] == f"nfs/{name}" for i in status["instances"]):
        cluster.post("/nfs/volumes", {"name": name, "size": "", "address": "", "access": []})
    wait_until(
        cluster, lambda s: any(i["id"] == f"nfs/{name}" and i["healthy"] for i in s["instances"]), f"volume {name}"
    )
    return str(instance(cluster.get("/status"), f"nfs/{name}")["address"])


def leader(cluster: Cluster) -> str:
    """The node whose manager leads. Raises LabError."""
    wait_until(cluster, lambda status: bool(status["manager"]["node"]), "a manager to lead")
    return str(cluster.get("/status")["manager"]["node"])


def gather(lab: LabClient, cluster: Cluster, node: str, instances: list[str]) -> None:
    """Move these instances to the node, gracefully, and wait until the cluster is whole."""
    for name in instances:
        if instance(cluster.get("/status"), name)["node"] != node:
            cluster.post(f"/instances/{name}/move", {"node": node})

            def arrived(status: dict[str, Any], name: str = name) -> bool:
                found = instance(status, name)
                return bool(found["node"] == node and found["healthy"] and not found["moving_to"])

            wait_until(cluster, arrived, f"{name} to move to {node}")
    wait_for_nodes(lab, cluster)


def store_leader(lab: LabClient, cluster: Cluster) -> str:
    """The node whose etcd leads; empty if that cannot be found out. For information."""
    status = cluster.get("/status")
    members = status["management"]["members"]
    words = etcdctl(*(member["client_url"] for member in members))
    done = lab.exec(members[0]["node"], [*words, "endpoint", "status", "-w", "json"], 20)
    with suppress(json.JSONDecodeError, KeyError, TypeError):
        for answer in json.loads(done.stdout):
            if answer["Status"]["leader"] == answer["Status"]["header"]["member_id"]:
                wanted = f"{answer['Status']['header']['member_id']:x}"
                return str(next((m["node"] for m in members if m["member_id"] == wanted), ""))
    return ""


def etcdctl(*endpoints: str) -> list[str]:
    """The begin of an etcdctl command inside a management node."""
    tls = Tls()
    files = [f"--cacert={tls.ca}", f"--cert={tls.cert}", f"--key={tls.key}"]
    return ["env", "ETCDCTL_API=3", "etcdctl", *files, "--endpoints=" + ",".join(endpoints)]


def authority(lab: LabClient) -> str:
    """The certificate of the cluster's CA, which a client is given."""
    return lab.exec(lab.nodes[0], ["cat", Tls().ca], check=True).stdout


def wait_until(cluster: Cluster, reached: Callable[[dict[str, Any]], bool], what: str) -> None:
    """Until the API's status says so. Raises LabError."""
    end = kernel.boottime() + MOVE_S
    pause = threading.Event()
    while True:
        with suppress(Silent):
            if reached(cluster.get("/status")):
                return
        if kernel.boottime() > end:
            raise LabError(f"after {MOVE_S:g} s still waiting for {what}", "See `holdfast lab log NODE`.")
        pause.wait(0.2)
