"""What the tests of the management plane say and look at: `ha show`, processes from outside, TLS as a browser does it."""

import json
from typing import Any

from cluster_talk import PYTHON, Cluster

DAEMONS = ("holdfast-manager", "holdfast-panel", "/usr/bin/etcd")
CA = "/root/holdfast-ca.crt"
"""Where the client host keeps the cluster's CA."""

VERIFIED = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
try:
    answer = urllib.request.urlopen(f"https://{sys.argv[2]}:8443/healthz", timeout=3, context=context)
    print(answer.status, answer.read().decode())
except OSError as error:
    print(error)
"""
"""A client that believes the cluster's CA only and compares the certificate's names with the address, as browsers do."""

PRESENTED = """
import socket, ssl, sys
from cryptography import x509
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
context.load_cert_chain("/etc/holdfast/pki/node.crt", "/etc/holdfast/pki/node.key")
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as raw, context.wrap_socket(raw) as link:
    certificate = x509.load_der_x509_certificate(link.getpeercert(True))
names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
print(*names.get_values_for_type(x509.IPAddress))
"""
"""Prints the addresses that the certificate shown at an address and port is good for."""


def ha(cluster: Cluster, node: str = "") -> dict[str, Any]:
    """`ha show` as programs read it. A node that answered a moment ago may have been relieved of the management since."""
    said: list[str] = []

    def answered() -> bool:
        done = cluster.ask(node or cluster.speaker(), "ha", "show", "--json")
        said[:] = [done.stdout] if done.returncode == 0 else []
        return bool(said)

    cluster.until(answered, "`ha show` answers")
    shown: dict[str, Any] = json.loads(said[0])
    return shown


def as_wanted(cluster: Cluster, nodes: list[str], virtual_ip: str) -> None:
    """The records agree with each other, and what runs agrees with the records."""
    shown = ha(cluster)
    assert shown["settled"], shown
    assert (shown["enabled"], shown["virtual_ip"]) == (bool(virtual_ip), virtual_ip)
    assert shown["nodes"] == nodes
    assert {m["node"]: m["state"] for m in shown["members"]} == dict.fromkeys(nodes, "voter")
    assert shown["states"] == dict.fromkeys(nodes, "up")
    assert shown["panel"]["healthy"]
    assert shown["panel"]["node"] in nodes
    # The manager of a node that was replaced may have led; the next one leads within a moment.
    cluster.until(lambda: ha(cluster)["manager"]["node"] in nodes, "a management node's manager leads")
    cluster.until(
        lambda: runs_on(cluster) == dict.fromkeys(DAEMONS, nodes_sorted(nodes)), "its processes run nowhere else"
    )
    for node in cluster.lab.nodes:
        if node not in nodes and cluster.lab.state(node)["power"] == "on":
            assert "etcd" not in left_behind(cluster, node)


def nodes_sorted(nodes: list[str]) -> list[str]:
    return sorted(nodes, key=lambda node: int(node[1:]))


def runs_on(cluster: Cluster) -> dict[str, list[str]]:
    """Daemon → nodes on which exactly one process of it is alive, read from outside."""
    return {name: [n for n in cluster.lab.nodes if len(cluster.pids(n, name)) == 1] for name in DAEMONS}


def left_behind(cluster: Cluster, node: str) -> list[str]:
    """What the state directory holds: a member that was removed must have taken its copy of the store along."""
    return cluster.lab.exec(node, ["ls", "/var/lib/holdfast"], check=True).stdout.split()


def holders(cluster: Cluster, ip: str) -> list[str]:
    """Nodes whose kernel has the address."""
    found = []
    for node in cluster.lab.nodes:
        if cluster.lab.state(node)["power"] == "on":
            shown = cluster.lab.exec(node, ["ip", "-o", "address", "show"], check=True).stdout
            found += [node] if f" {ip}/" in shown else []
    return found


def bring_ca(cluster: Cluster) -> None:
    """An administrator copies the cluster's CA to the machine from which the panel is opened."""
    ca = cluster.lab.exec("n1", ["cat", "/etc/holdfast/pki/ca.crt"], check=True).stdout
    cluster.lab.exec("client", ["sh", "-c", f"cat > {CA}"], stdin=ca, check=True)


def verified(cluster: Cluster, ip: str) -> str:
    """What a browser on the client host gets from the panel at this address, or why it refuses to speak to it."""
    return cluster.lab.exec("client", [PYTHON, "-c", VERIFIED, CA, ip]).stdout.strip()


def presented(cluster: Cluster, node: str, port: int) -> list[str]:
    """Addresses in the certificate that this node's daemon shows now."""
    address = cluster.lab.host(node).address("management")
    return cluster.lab.exec(node, [PYTHON, "-c", PRESENTED, address, str(port)], check=True).stdout.split()


def up(cluster: Cluster) -> None:
    """Everybody is there: power on, healed, `up`."""
    for host in (*cluster.lab.nodes, "client"):
        cluster.lab.heal(host)
    cluster.until(lambda: all(n["state"] == "up" for n in cluster.status()["nodes"]), "every node is up")
