"""Bringing a cluster up in a fresh lab, with the commands an operator would type, each on the node where it belongs."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from holdfast.lab.client import LabClient, LabError, Progress
from holdfast.lab.layout import BMC_CA, NETWORKS, PANEL_ADDRESS, HostLayout
from holdfast.lab.options import LabOptions

CLUSTER = "lab"
MANAGEMENT_NODES = 3
_COMMAND_S = 120.0
_UP_S = 60.0
_EMULATED_UP_S = 240.0
_POLL_S = 0.2
_ADVICE = "Look at the logs of that node."
_CLUSTER_NETWORKS = tuple(network for network in NETWORKS if network.name != "bmc")


def bring_up(lab: LabClient, options: LabOptions, tell: Progress) -> None:
    """Create the cluster on n1, let the others join, register the BMCs, make management highly available.

    Raises LabError with the words of the command that failed.
    """
    first, *others = lab.nodes
    tell("creating the cluster on n1")
    holdfast(lab, first, *_create(lab.host(first), options), stdin=f"{lab.password}\n")
    wait_nodes_up(lab, [first])
    if options.power_fencing:
        holdfast(lab, first, "node", "fence", "set", first, "--device", fence_device(lab, first))
    if others:
        tell(f"joining {', '.join(others)}")
    with ThreadPoolExecutor(2) as pool:  # one joins while the next is added
        joining = [pool.submit(_join, lab, name, _add(lab, first, name, options)) for name in others]
        for future in joining:
            future.result()
    wait_nodes_up(lab, lab.nodes, _EMULATED_UP_S if options.emulated else _UP_S)
    if options.ha and len(lab.nodes) >= MANAGEMENT_NODES:
        tell("making management highly available")
        chosen = ",".join(lab.nodes[:MANAGEMENT_NODES])
        holdfast(lab, first, "ha", "enable", "--virtual-ip", PANEL_ADDRESS, "--nodes", chosen)


def holdfast(lab: LabClient, node: str, *words: str, stdin: str = "", timeout: float = _COMMAND_S) -> str:
    """Run a `holdfast` command on a node and return its output. Raises LabError with the command's own words."""
    try:
        done = lab.exec(node, ["holdfast", *words], timeout, stdin=stdin)
    except subprocess.TimeoutExpired:
        raise LabError(f"`holdfast {words[0]} {words[1]}` on {node} hangs", _ADVICE) from None
    if done.returncode:
        said = " ".join(done.stderr.split()).removeprefix("Error: ").rstrip(".")
        raise LabError(f"`holdfast {words[0]} {words[1]}` on {node}: {said}", _ADVICE)
    return done.stdout


def cluster_status(lab: LabClient, node: str = "n1") -> dict[str, Any] | None:
    """What `holdfast status --json` says on a node; None while the API does not answer there."""
    done = lab.exec(node, ["holdfast", "status", "--json"])
    try:
        status: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        return None
    return status


def wait_nodes_up(lab: LabClient, nodes: list[str], timeout: float = _UP_S) -> None:
    """Wait until the cluster says that these nodes are up. One that failed so often in this lab that it is quarantined is
    returned, as an operator would who has mended it. Raises LabError."""
    end = time.monotonic() + timeout
    while True:
        status = cluster_status(lab)
        states = {n["id"]: n["state"] for n in status["nodes"]} if status else {}
        missing = [node for node in nodes if states.get(node) != "up"]
        if not missing:
            return
        for node in missing:
            if states.get(node) == "quarantined":
                lab.exec(nodes[0], ["holdfast", "node", "return", node])
        if time.monotonic() > end:
            seen = ", ".join(f"{node} is {states.get(node, 'unknown')}" for node in missing)
            raise LabError(f"after {timeout:g} s {seen}", _ADVICE)
        time.sleep(_POLL_S)


def fence_device(lab: LabClient, node: str) -> str:
    """The node's BMC as the command line takes a fence device."""
    user, password = lab.bmc_credentials
    url = f"https://{lab.host(node).bmc_address}"
    return f"bmc,redfish,url={url},username={user},password={password},ca={BMC_CA.format(node=node)}"


def _create(host: HostLayout, options: LabOptions) -> list[str]:
    words = ["cluster", "create", CLUSTER, "--node", host.name, "--profile", options.profile, "--password-file", "-"]
    for network in _CLUSTER_NETWORKS:
        prefixes = [f"{network.ipv4}.0/24", *([f"{network.ipv6}/64"] if network.ipv6 else [])]
        words += ["--network", f"{network.name}={','.join(prefixes)}"]
    return words + _addresses(host)


def _addresses(host: HostLayout) -> list[str]:
    return [w for n in _CLUSTER_NETWORKS for w in ("--address", f"{n.name}={host.address(n.name)}")]


def _add(lab: LabClient, member: str, name: str, options: LabOptions) -> str:
    """Add the node on a member; returns the join token."""
    roles = "storage" if name in options.emulated else "compute,storage"
    words = ["node", "add", name, "--roles", roles, *_addresses(lab.host(name))]
    if options.power_fencing:
        words += ["--device", fence_device(lab, name)]
    return holdfast(lab, member, *words, "--token", "--expires", "10m").strip()


def _join(lab: LabClient, name: str, token: str) -> None:
    holdfast(lab, name, "node", "join", "--token", "-", stdin=f"{token}\n")


__all__ = ["bring_up", "cluster_status", "fence_device", "holdfast", "wait_nodes_up"]
