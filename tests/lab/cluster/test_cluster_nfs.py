"""A volume's whole life by the command line, seen by an NFS client outside the cluster."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_talk import PYTHON, Cluster
from management_talk import holders

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

VOLUME = "nfs/life"
MINE, EVERYBODY = "10.78.0.200,rw,no_root_squash", "*,rw,no_root_squash"
"""Rules for the client host, and for anybody."""

CLIENT = """
import asyncio, sys
from holdfast.errors import HoldfastError
from holdfast.services.nfs.client import Nfs41Client

async def main(host, path, text):
    try:
        async with Nfs41Client(host, patience_s=float(sys.argv[4]), owner=b"test-of-a-life") as client:
            file = await client.open_rw(path)
            if text:
                await client.write(file, 0, text.encode())
            print((await client.read(file, 0, 100)).decode())
            await client.close(file)
    except HoldfastError as error:
        sys.exit(f"refused: {error}")

asyncio.run(main(*sys.argv[1:4]))
"""
"""Opens the file, writes the text if one is given, and prints what the file holds."""


@pytest.fixture
def cluster(watched: Cluster) -> Iterator[Cluster]:
    yield watched
    for name in ("life", "six", "limited"):
        if watched.instance(f"nfs/{name}"):
            watched.do("nfs", "delete", name, "--force", node="n1")


def show(cluster: Cluster) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(cluster.do("nfs", "show", "life", "--json", node="n1"))
    return dict(shown["instances"][0])


def client(cluster: Cluster, address: str, text: str = "", *, volume: str = "life", patience_s: float = 20) -> str:
    """What the client host reads, or why it was refused."""
    done = cluster.lab.exec("client", [PYTHON, "-c", CLIENT, address, f"/{volume}/file", text, str(patience_s)])
    return (done.stdout + done.stderr).strip()


def nowhere(cluster: Cluster, address: str, volume: str = "life") -> None:
    """Neither the address nor a server of it is on any node."""
    assert holders(cluster, address) == []
    assert [pid for node in cluster.lab.nodes for pid in cluster.pids(node, f"{volume}.conf")] == []


def test_the_life_of_a_volume(cluster: Cluster) -> None:
    said = json.loads(cluster.do("nfs", "create", "life", "--access", MINE, "--json", node="n1"))
    address = said["data"]["address"]
    assert said["data"]["export"] == f"{address}:/life"
    shown = show(cluster)
    assert (shown["state"], shown["healthy"], shown["address"]) == ("running", True, address)
    assert holders(cluster, address) == [shown["node"]]
    listed = cluster.do("nfs", "list", node="n1")
    assert f"{address}:/life" in listed
    assert client(cluster, address, "written once") == "written once"

    # Who may: rules count at once, without a restart of the server.
    server = cluster.pids(shown["node"], "life.conf")
    for rules in (["10.78.0.200,none", EVERYBODY], ["10.99.0.0/16,rw"]):
        cluster.do("nfs", "access", "life", *rules, node="n1")
        cluster.until(lambda: client(cluster, address).startswith("refused: "), f"{rules} let nobody in")
    cluster.do("nfs", "access", "life", "*,ro,no_root_squash", node="n1")
    cluster.until(lambda: "ROFS" in client(cluster, address, "twice"), "nobody writes")
    cluster.do("nfs", "access", "life", EVERYBODY, node="n1")
    cluster.until(lambda: client(cluster, address) == "written once", "everybody may again, and nothing was written")
    assert cluster.pids(shown["node"], "life.conf") == server

    # Stopped and started: the name, the address and the data stay.
    cluster.do("service", "stop", VOLUME, node="n1")
    nowhere(cluster, address)
    assert show(cluster)["state"] == "stopped"
    assert client(cluster, address, patience_s=1).startswith("refused: NFS server")
    assert "is stopped. Start it first" in cluster.refused("service", "move", VOLUME)
    cluster.do("service", "start", VOLUME, node="n1")
    assert client(cluster, address) == "written once"
    assert holders(cluster, address) == [show(cluster)["node"]]

    # Deleted: nothing of it is left but the data, and the name is free.
    assert "in service. Stop it first" in cluster.refused("nfs", "delete", "life")
    assert client(cluster, address) == "written once", "a refused deletion changes nothing"
    told = cluster.do("nfs", "delete", "life", "--force", node="n1")
    assert "its data stays in /shared/nfs/life" in told
    nowhere(cluster, address)
    assert "life" not in cluster.do("nfs", "list", node="n1")
    assert "does not exist" in cluster.refused("nfs", "show", "life")
    assert cluster.lab.exec("n1", ["cat", "/shared/nfs/life/data/file"]).stdout == "written once"
    again = json.loads(cluster.do("nfs", "create", "life", "--access", EVERYBODY, "--json", node="n1"))
    assert client(cluster, again["data"]["address"]) == "written once"


def test_a_volume_over_ipv6(cluster: Cluster) -> None:
    address = "fd78::120"
    said = cluster.do("nfs", "create", "six", "--address", address, "--access", EVERYBODY, node="n1")
    assert f"[{address}]:/six" in said
    assert client(cluster, address, "by IPv6", volume="six") == "by IPv6"
    cluster.do("nfs", "delete", "six", "--force", node="n1")
    nowhere(cluster, address, "six")


def test_a_size_that_the_shared_storage_cannot_keep_is_refused_with_the_way_out(cluster: Cluster) -> None:
    """The lab's shared directory has no quotas. Such a volume is never served without its limit."""
    done = cluster.ask("n1", "nfs", "create", "limited", "--size", "1GiB", "--timeout", "5")
    assert done.returncode == 1
    assert "cannot limit the size of a volume" in done.stderr
    assert "Create the volume without a size" in done.stderr
