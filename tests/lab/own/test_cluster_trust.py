"""Certificates, the authority and the shared secrets change under a living cluster; a node is removed, and whoever holds
what it held is shut out; secrets stand nowhere in clear.

One story on one lab, in the order of the file: `make test-long`.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_talk import PYTHON, Cluster

from holdfast.config import ETCD_CLIENT_PORT, ETCD_PEER_PORT
from holdfast.lab import LabClient, LabOptions

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(240)]

PKI = "/etc/holdfast/pki"
STOLEN = "/root/stolen"
CHANGE_S = 60.0
CHAP = "correct.horse.99"

HOLD = """
import socket, ssl, sys, time
pki, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
ping = b"\\0\\0\\x08\\x06\\0\\0\\0\\0\\0" + b"12345678"
def connect():
    context = ssl.create_default_context(cafile=pki + "/ca.crt")
    context.load_cert_chain(pki + "/node.crt", pki + "/node.key")
    context.set_alpn_protocols(["h2"])
    link = context.wrap_socket(socket.create_connection((host, port), 3), server_hostname=host)
    link.settimeout(3)
    link.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\x04\\0\\0\\0\\0\\0")
    if not link.recv(100): raise OSError("closed")
    return link
try: link = connect(); print("in", flush=True)
except OSError as error: print("refused", flush=True); sys.exit()
try:
    while "hold" in sys.argv:
        link.sendall(ping)
        if not link.recv(1000): raise OSError("closed")
        time.sleep(0.2)
except OSError as error: print("ended", flush=True)
"""
"""With the certificate of a directory into a member of the store, and (`hold`) until somebody ends the connection."""

DUMP = """
import asyncio
from holdfast.clock import SystemClock
from holdfast.config import load
from holdfast.store.etcd import EtcdStore
async def main():
    config = load()
    store = EtcdStore(config.endpoints, config.tls, clock=SystemClock(), spread=config.id)
    for entry in (await store.list("")).entries: print(entry.key, entry.value.decode())
    await store.close()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def cluster(make_lab: Callable[[str], LabClient]) -> Iterator[Cluster]:
    """Four nodes that joined by tokens; management on the first three."""
    lab = make_lab("t")
    lab.up(LabOptions(nodes=4))
    yield Cluster(lab)


def trust(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.do("cluster", "certificates", "--json"))
    return found


def serials(cluster: Cluster) -> dict[str, str]:
    return {one["node"]: one["serial"] for one in trust(cluster)["nodes"]}


def content(cluster: Cluster, node: str, name: str) -> bytes:
    done = cluster.lab.exec(node, ["sh", "-c", f"base64 {PKI}/{name} 2>/dev/null || true"], check=True)
    return str(done.stdout).encode()


def etcd(cluster: Cluster) -> dict[str, list[int]]:
    return {node: cluster.pids(node, "/usr/bin/etcd") for node in ("n1", "n2", "n3")}


def try_store(cluster: Cluster, host: str, pki: str, node: str, port: int) -> str:
    address = cluster.lab.host(node).address("management")
    return str(cluster.lab.exec(host, [PYTHON, "-c", HOLD, pki, address, str(port)]).stdout).strip()


def test_the_private_key_of_a_node_that_joins_by_token_stays_there(cluster: Cluster) -> None:
    assert set(serials(cluster)) == {"n1", "n2", "n3", "n4"}
    mode = cluster.lab.exec("n4", ["stat", "-c", "%a", f"{PKI}/node.key", f"{PKI}/seal.key"], check=True).stdout.split()
    assert mode == ["600", "600"]


def test_all_certificates_are_renewed_and_nothing_starts_anew(cluster: Cluster) -> None:
    before, members = serials(cluster), etcd(cluster)
    agents = {node: cluster.pids(node, "holdfast-agent") for node in cluster.lab.nodes}
    cluster.do("cluster", "rotate-certificates")
    took = cluster.until(
        lambda: not set(serials(cluster).values()) & set(before.values()),
        "every node has another certificate",
        CHANGE_S,
    )
    print(f"all certificates renewed in {took:.1f} s")
    assert etcd(cluster) == members
    assert {node: cluster.pids(node, "holdfast-agent") for node in cluster.lab.nodes} == agents
    assert cluster.up(cluster.lab.nodes)
    assert not json.loads(cluster.do("incident", "list", "--json"))


def test_the_authority_changes_without_a_failure(cluster: Cluster) -> None:
    before, panel = trust(cluster)["fingerprint"], cluster.poll_panel()
    cluster.do("cluster", "rotate-authority")
    took = cluster.until(lambda: not trust(cluster)["phase"], "the change has ended", CHANGE_S)
    print(f"authority changed in {took:.1f} s")
    after = trust(cluster)
    assert after["fingerprint"] != before
    assert all(one["current_authority"] for one in after["nodes"])
    for node in cluster.lab.nodes:
        assert cluster.lab.exec(node, ["grep", "-c", "BEGIN", f"{PKI}/ca.crt"]).stdout.strip() == "1"
    assert cluster.up(cluster.lab.nodes)
    assert not json.loads(cluster.do("incident", "list", "--json"))
    panel.stop()


def test_a_removed_node_is_shut_out_wherever_what_it_held_is_used(cluster: Cluster) -> None:
    """Its files are copied to a host outside while it is a member; there somebody holds a connection open."""
    lab = cluster.lab
    files = lab.exec("n4", ["sh", "-c", f"cd {PKI} && tar c . | base64"], check=True).stdout
    lab.exec("client", ["sh", "-c", f"mkdir -p {STOLEN} && base64 -d | tar x -C {STOLEN}"], stdin=files, check=True)
    assert try_store(cluster, "client", STOLEN, "n1", ETCD_CLIENT_PORT) == "in", "it is a good certificate so far"
    address = lab.host("n1").address("management")
    argv = [PYTHON, "-c", HOLD, STOLEN, address, str(ETCD_CLIENT_PORT), "hold"]
    thief = lab.popen("client", argv, stdout=subprocess.PIPE, text=True)
    keys = {name: content(cluster, "n1", name) for name in ("beat.key", "cluster.secret")}
    lab.fail("n4", "shutdown")
    lab.wait_power("n4", "off")
    cluster.until(lambda: cluster.node_state("n4") in ("released", "claimed"), "n4 has left")
    said = cluster.do("node", "remove", "n4")
    assert "n4 removed" in said
    told, _ = thief.communicate(timeout=30)
    assert told.split() == ["in", "ended"], "the open connection was ended"
    for node in ("n1", "n2", "n3"):
        cluster.until(
            lambda node=node: try_store(cluster, "client", STOLEN, node, ETCD_CLIENT_PORT) == "refused",
            f"{node} refuses the certificate",
        )
        assert try_store(cluster, "client", STOLEN, node, ETCD_PEER_PORT) == "refused"
    for node in ("n1", "n2", "n3"):
        cluster.until(lambda node=node: content(cluster, node, "beat.key") != keys["beat.key"], f"{node}'s beat key")
        assert content(cluster, node, "cluster.secret") != keys["cluster.secret"]
    took = cluster.until(
        lambda: not any(content(cluster, node, "cluster.previous") for node in ("n1", "n2", "n3")),
        "everything is locked with the new secret",
        CHANGE_S,
    )
    print(f"what was locked is locked anew after {took:.1f} s")
    cluster.until(
        lambda: not any(content(cluster, node, "beat.previous") for node in ("n1", "n2", "n3")),
        "the beat key before is forgotten",
        CHANGE_S,
    )
    assert cluster.up(["n1", "n2", "n3"])
    results = json.loads(cluster.do("node", "fence", "test", "n2", "--json"))
    assert all(result["ok"] for result in results), "fence devices' secrets open with the new secret"


def test_the_removed_machine_switched_on_again_reaches_nothing(cluster: Cluster) -> None:
    cluster.lab.heal("n4")
    cluster.lab.wait_power("n4", "on")
    cluster.until(lambda: cluster.pids("n4", "holdfast-agent"), "its agent runs")
    assert try_store(cluster, "n4", PKI, "n1", ETCD_CLIENT_PORT) == "refused"
    assert "n4" not in {node["id"] for node in cluster.status()["nodes"]}


def test_no_secret_stands_in_the_store_in_an_answer_or_in_a_log(cluster: Cluster, tmp_path: Path) -> None:
    user, password = cluster.lab.bmc_credentials
    cluster.do(
        "iscsi", "target-group", "create", "g1", "--nodes", "n1,n2", "--initiator", "iqn.2026-01.org.test:client"
    )
    secret = f"printf '{CHAP}\\n' > /root/chap"
    cluster.lab.exec(cluster.speaker(), ["sh", "-c", secret], check=True)
    cluster.do("iscsi", "target-group", "chap", "set", "g1", "--user", "client", "--secret-file", "/root/chap")
    store = cluster.lab.exec("n1", [PYTHON, "-c", DUMP], check=True).stdout
    assert '"locked:gAAAAA' in store
    assert f'"{user}"' in store, "the dump shows what is no secret"
    private = (
        content(cluster, "n1", "cluster.secret").decode().strip(),
        content(cluster, "n1", "beat.key").decode().strip(),
    )
    answers = [cluster.do(*words, "--json") for words in (["status"], ["node", "show", "n1"], ["audit"])]
    cluster.lab.save_logs(tmp_path)
    logs = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(logs) > 8
    for hidden in (password, CHAP, *private, "PRIVATE KEY"):
        assert hidden not in store
        assert not [answer for answer in answers if hidden in answer]
        assert not [text for text in logs if hidden in text]
