"""What operators do with an S3 cluster while clients use it: nodes join it and leave it, keys come and go."""

import json
from pathlib import Path

import pytest
from cluster_talk import PYTHON
from gateways_talk import NODES, S3_ADDRESSES, S3_SERVER_ADDRESSES
from s3_talk import DOMAIN, NAME, S3, nothing_lost

from holdfast.lab import kernel

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

ASK = str(Path(__file__).parents[1] / "s3_ask.py")
NEW = "n1"


@pytest.mark.long
def test_a_node_joins_with_a_server_and_leaves_again(s3: S3) -> None:
    """The new object server takes devices over from the others; no object is copied, and none is missed."""
    addresses = ("--gateway-addresses", S3_ADDRESSES, "--server-addresses", S3_SERVER_ADDRESSES)
    at = kernel.boottime()
    s3.do("node", "add", NAME, "--nodes", NEW, "--object-servers", "4", *addresses)
    s3.wait_spread([NEW, *NODES])
    s3.wait_all()
    print(f"{NEW} joined with an object server: {s3.journal.stalls(at)}")
    assert s3.places()[f"gw-{NEW}"] == NEW
    cluster = s3.show()["cluster"]
    assert len(cluster["object_servers"]) == 4
    s3.cluster.until(lambda: len(s3.resolved()) == 4, "clients find the new gateway")
    at = kernel.boottime()
    s3.do("node", "release", NAME, NEW)
    s3.wait_spread(NODES)
    s3.wait_all()
    print(f"and left: {s3.journal.stalls(at)}")
    assert f"gw-{NEW}" not in s3.places()
    s3.cluster.until(lambda: len(s3.resolved()) == len(NODES), "clients do not find the former gateway")
    nothing_lost(s3.read_back())


def test_keys_come_and_go_without_a_restart(s3: S3) -> None:
    made: dict[str, str] = {}

    def key(name: str, *words: str) -> None:
        answer = json.loads(s3.do("user", *words, "--json"))["data"]
        made[name] = f"/root/s3-{name}"
        s3.write_keys(made[name], answer["access_key"], answer["secret_key"])

    def until(name: str, wanted: str) -> None:
        argv = [PYTHON, ASK, "PUT", f"http://{DOMAIN}/carols/object", made[name], "0"]

        def answered() -> bool:
            return s3.cluster.lab.exec("client", argv, stdin="x").stdout.startswith(wanted)

        s3.cluster.until(answered, f"the key {name} gets {wanted}")

    key("first", "create", NAME, "carol")
    argv = [PYTHON, ASK, "PUT", f"http://{DOMAIN}/carols", made["first"], "0"]
    s3.cluster.until(lambda: s3.cluster.lab.exec("client", argv).stdout.startswith("200"), "carol has a bucket")
    key("second", "rotate", NAME, "carol", "--keep")
    until("second", "200")
    until("first", "200")
    key("third", "rotate", NAME, "carol")
    until("third", "200")
    until("second", "403")
    s3.do("user", "disable", NAME, "carol")
    until("third", "403")
    s3.do("user", "enable", NAME, "carol")
    until("third", "200")
    s3.do("user", "delete", NAME, "carol", "--yes")
    until("third", "403")
