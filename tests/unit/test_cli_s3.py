"""The commands for S3, against a served cluster with a shared storage of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Cluster, served
from s3_world import DOMAIN, GATEWAYS, SECRET, SERVERS, files, storage

from holdfast.core.dns_model import DnsRecords, Zone
from holdfast.core.model import Beat, BeatPhase, Fence
from holdfast.services.s3.config import S3Cluster, S3User
from holdfast.services.s3.users import unlock
from holdfast.store import codec, keys


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys, s3_files=files(), cluster_secret=lambda: SECRET) as made:
        made.do(storage(made.context.store, tmp_path))
        made.managed.set()
        yield made


CREATE = ("s3", "create-cluster", "main", "--nodes", "n1,n2,n3", "--domain", DOMAIN)
FEW = ("--name-servers", "2", "--object-servers", "3")
ADDRESSES = ("--gateway-addresses", GATEWAYS, "--server-addresses", SERVERS)


def prepare(cluster: Cluster) -> None:
    done = cluster.run(*CREATE, *FEW, *ADDRESSES)
    assert done.status == 0, done.err


def record(cluster: Cluster) -> S3Cluster:
    entry = cluster.do(cluster.context.store.get(keys.s3_cluster("main")))
    assert entry is not None
    return codec.decode(entry.value, S3Cluster)


def test_a_cluster_from_its_creation_to_its_end(cluster: Cluster, tmp_path: Path) -> None:
    assert "no S3 cluster yet" in cluster.run("s3", "list").out
    done = cluster.run(*CREATE, *FEW, *ADDRESSES)
    assert done.status == 0, done.err
    said = f"S3 cluster main on n1, n2, n3 (2 name servers, 3 object servers): http://{DOMAIN}.\n"
    assert done.out == said
    assert "High availability of s3/main is off: management high availability is off" in done.err
    assert f"{DOMAIN} is not known to DNS here" in done.err and "holdfast s3 user create main USER" in done.err
    line = cluster.run("s3", "list", "--json").json[0]
    assert (line["state"], line["object_servers"], line["gateways"], line["ha"]) == ("ok", [3, 3], [3, 3], False)
    assert all(word in cluster.run("s3", "list").out for word in ("main", DOMAIN, "2/2", "3/3", "OFF"))
    refused = cluster.run("s3", "delete", "main")
    assert (refused.status, "lose their access for ever" in refused.err and "--yes" in refused.err) == (1, True)
    done = cluster.run("s3", "delete", "main", "--yes")
    assert (done.status, str(tmp_path / "s3" / "main") in done.out) == (0, True), done.err
    assert cluster.run("s3", "list", "--json").json == []


def test_what_is_shown_of_a_cluster(cluster: Cluster) -> None:
    prepare(cluster)
    assert cluster.run("s3", "user", "create", "main", "alice").status == 0
    assert cluster.run("service", "move", "s3/main/os-3", "--to", "n3").status == 0
    shown = cluster.run("s3", "show", "main")
    words = ("OFF: management", f"http://{DOMAIN}", f"*.{DOMAIN}", "alice", "os-3", "10.77.0.120", "--endpoint-url")
    assert not [word for word in words if word not in shown.out]
    assert "away from n2" in shown.out, "the stand-in for the manager places all on n1"
    assert "nowhere by Holdfast" in shown.out
    zone = Zone("example.lan", "root@example.lan", "public")
    cluster.put(
        {keys.DNS_RECORDS: DnsRecords({DOMAIN: ("10.78.0.151", "10.78.0.152")}), keys.dns_zone("example.lan"): zone}
    )
    assert "10.78.0.151, 10.78.0.152 (zone example.lan)" in cluster.run("s3", "show", "main").out
    cluster.put({keys.beat("n3"): Beat("s", "b", "m", 1, 1, BeatPhase.ACTIVE), keys.fence("n3"): Fence(2)})
    found = cluster.run("s3", "show", "main", "--json").json
    assert found["line"]["state"] == "degraded"
    assert found["nodes"][2] == {
        "node": "n3",
        "state": "claimed",
        "name_servers": 0,
        "object_servers": 1,
        "gateways": 0,
    }
    assert "1 of 3 object servers do not serve" in found["notes"][0]
    assert found["parts"][4]["part"] == "os-3" and not found["parts"][4]["healthy"]
    assert "Warning: 1 of 3 object servers" in cluster.run("s3", "show", "main").err
    assert cluster.run("service", "stop", "s3/main").status == 0
    assert "holdfast service start s3/main" in cluster.run("s3", "show", "main").err
    assert cluster.run("s3", "list", "--json").json[0]["state"] == "stopped"


def test_high_availability_is_said(cluster: Cluster) -> None:
    prepare(cluster)
    assert "HA of s3/main  OFF: management high availability is off" in cluster.run("status").out
    enabled = cluster.run("ha", "enable", "--virtual-ip", "10.77.0.100", "--nodes", "n1,n2,n3")
    assert "and with it high availability of s3/main" in enabled.out, enabled.err
    found = cluster.run("s3", "show", "main", "--json").json
    assert (found["ha_off"], found["line"]["ha"]) == ("", True)
    assert "High availability  on" in cluster.run("s3", "show", "main").out
    assert "HA of" not in cluster.run("status").out


def test_nodes_are_added_and_released(cluster: Cluster) -> None:
    prepare(cluster)
    done = cluster.run(
        "s3", "node", "add", "main", "--nodes", "n4,n5", "--gateway-addresses", "10.78.0.170-10.78.0.171"
    )
    said = "S3 cluster main is on n1, n2, n3, n4, n5 (2 name servers, 3 object servers).\n"
    assert (done.status, done.out) == (0, said), done.err
    cluster.managed.clear()
    done = cluster.run("s3", "node", "release", "main", "n5", "--no-wait")
    assert (done.status, "goes on on n1, n2, n3, n4" in done.out) == (0, True), done.err
    assert record(cluster).nodes == ("n1", "n2", "n3", "n4")
    late = cluster.run("s3", "node", "release", "main", "n4", "--timeout", "1")
    assert "still waiting for s3/main/gw-n4 to leave n4" in late.err
    assert "even" in cluster.run("s3", "rebalance", "main").out


def test_secret_keys_are_shown_once(cluster: Cluster) -> None:
    prepare(cluster)
    assert "Nobody may use it yet" in cluster.run("s3", "user", "list", "main").out
    done = cluster.run("s3", "user", "create", "main", "alice")
    assert done.status == 0, done.err

    def stored() -> S3User:
        entry = cluster.do(cluster.context.store.get(keys.s3_user("main", "alice")))
        assert entry is not None
        return codec.decode(entry.value, S3User)

    [key] = stored().keys
    first = unlock(key.secret, SECRET)
    assert done.out.splitlines()[1:] == [f"Access key  {key.id}", f"Secret key  {first}  (shown once)"]
    answer = cluster.run("s3", "user", "rotate", "main", "alice", "--keep", "--json").json["data"]
    assert [key.id for key in stored().keys] == [key.id, answer["access_key"]]
    assert unlock(stored().keys[1].secret, SECRET) == answer["secret_key"]
    assert cluster.run("s3", "user", "disable", "main", "alice").status == 0
    assert cluster.run("s3", "user", "enable", "main", "alice").status == 0
    made = record(cluster)
    hidden = [first, answer["secret_key"], made.hash_prefix, made.hash_suffix, made.probe.id, made.probe.secret]
    hidden += [key.secret for key in stored().keys]
    said = "".join(
        (found := cluster.run(*command)).out + found.err
        for command in (
            ("s3", "user", "list", "main"),
            ("s3", "user", "list", "main", "--json"),
            ("s3", "show", "main"),
            ("s3", "show", "main", "--json"),
            ("s3", "list", "--json"),
            ("status", "--json"),
            ("service", "show", "s3/main", "--json"),
            ("incident", "events", "--json"),
        )
    )
    assert key.id in said and "user alice of s3/main created" in said
    assert not [word for word in hidden if word in said]
    refused = cluster.run("s3", "user", "delete", "main", "alice")
    assert (refused.status, "nobody could reach" in refused.err) == (1, True)
    assert cluster.run("s3", "user", "delete", "main", "alice", "--yes").status == 0
    assert json.loads(cluster.run("s3", "user", "list", "main", "--json").out) == []


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("create-cluster", "main", "--nodes", "n1", "--domain", "b.lan"), "exists already"),
    (("create-cluster", "b", "--nodes", "n9", "--domain", "b.lan"), "`n9` does not exist"),
    (("create-cluster", "b", "--nodes", "n1", "--domain", DOMAIN), "would clash"),
    (("create-cluster", "b", "--nodes", "n1", "--domain", "b.lan", "--gateway-addresses", "10.1.0.1"), "not inside"),
    (("create-cluster", "b", "--nodes", "n1", "--domain", "b.lan", "--name-servers", "99"), "less than or equal to 16"),
    (("show", "nain"), "Did you mean `main`?"),
    (("delete", "b"), "`b` does not exist"),
    (("rebalance", "b"), "`b` does not exist"),
    (("node", "add", "main", "--nodes", "n2"), "of the S3 cluster `main` already"),
    (("node", "release", "main", "n5"), "`n5` does not exist"),
    (("user", "create", "main", "A B"), "cannot be the name of a user of S3"),
    (("user", "rotate", "main", "bob"), "There is no user of s3/main yet"),
    (("user", "list", "b"), "`b` does not exist"),
]


def test_mistakes_are_explained(cluster: Cluster) -> None:
    prepare(cluster)
    for arguments, words in MISTAKES:
        refused = cluster.run("s3", *arguments)
        assert (refused.status, words in refused.err) == (1, True), refused.err
        assert "Traceback" not in refused.err
