"""The commands for iSCSI, against a served cluster with files of its own in place of the shared storage."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Cluster, served
from iscsi_world import CLIENT, SECRET, NoDevices, say, storage

from holdfast import locks
from holdfast.core.model import Beat, BeatPhase, Fence
from holdfast.services.iscsi.chap import OpenGroups
from holdfast.services.iscsi.config import TargetGroup
from holdfast.services.iscsi.report import Guest
from holdfast.store import codec, keys

GROUP, VOLUME = ("iscsi", "target-group"), ("iscsi", "volume")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys, files=NoDevices()) as made:
        made.do(storage(made.context.store, tmp_path))
        made.managed.set()
        yield made


def group(cluster: Cluster, name: str = "g1") -> TargetGroup:
    entry = cluster.do(cluster.context.store.get(keys.iscsi_group(name)))
    assert entry is not None
    stored = codec.decode(entry.value, TargetGroup)
    assert all(locks.is_marked(account.secret) for account in (stored.chap, stored.mutual) if account), "in clear"
    return OpenGroups(lambda: {name: stored}, lambda: b"s" * 32)()[name]


def prepare(cluster: Cluster) -> None:
    done = cluster.run(*GROUP, "create", "g1", "--nodes", "n1,n2", "--nodes", "n3", "--initiator", CLIENT)
    assert (done.status, done.err) == (0, ""), done.err
    assert done.out == "Target group g1 on n1, n2, n3 (tgt): iqn.2026-01.org.holdfast:demo:g1.\n"
    assert cluster.run(*VOLUME, "create", "v1", "--size", "1GiB").status == 0


def test_a_volume_from_its_creation_to_its_end(cluster: Cluster, tmp_path: Path) -> None:
    assert "no target group yet" in cluster.run(*GROUP, "list").out
    assert "no iSCSI volume yet" in cluster.run(*VOLUME, "list").out
    prepare(cluster)
    assert "detached" in cluster.run(*VOLUME, "list").out
    assert "It has no volumes" in cluster.run(*GROUP, "show", "g1").out
    done = cluster.run(*VOLUME, "attach", "v1", "g1", "--lun", "7")
    assert (done.status, done.out) == (0, "Volume v1 is LUN 7 of g1.\n"), done.err
    assert all(word in cluster.run(*VOLUME, "list").out for word in ("v1", "1 GiB", "g1", "7", "running"))
    shown = cluster.run(*VOLUME, "show", "v1")
    assert all(word in shown.out for word in ("running, healthy", "WWID (Linux)", "36001405", "v1.img"))
    assert cluster.run(*VOLUME, "resize", "v1", "2GiB").status == 0
    assert (tmp_path / "iscsi" / "volumes" / "v1.img").stat().st_size == 2 << 30
    done = cluster.run(*VOLUME, "detach", "v1")
    assert (done.status, done.out) == (0, "Volume v1 is detached; its data stay.\n"), done.err
    refused = cluster.run(*VOLUME, "delete", "v1")
    assert (refused.status, "would be lost for ever: 2147483648 bytes" in refused.err) == (1, True)
    assert "--yes" in refused.err
    assert "deleted with its data" in cluster.run(*VOLUME, "delete", "v1", "--yes").out
    assert cluster.run(*GROUP, "delete", "g1").out == "Target group g1 deleted.\n"
    assert cluster.run(*VOLUME, "list", "--json").json == cluster.run(*GROUP, "list", "--json").json == []


def test_what_is_shown_of_a_group(cluster: Cluster, tmp_path: Path) -> None:
    prepare(cluster)
    assert cluster.run(*VOLUME, "attach", "v1", "g1").status == 0
    say(tmp_path, "n1", paths={"g1": {1: "active"}}, guests=(Guest("g1", CLIENT, "10.78.0.200"), Guest("g2", "iqn.x")))
    say(tmp_path, "n2", paths={"g1": {1: "standby"}}, problems={"iscsi/v1": "the storage hangs."})
    say(tmp_path, "n3", paths={"g1": {1: "active"}}, guests=(Guest("g1", CLIENT),))
    cluster.put({keys.beat("n3"): Beat("s", "b", "m", 1, 1, BeatPhase.ACTIVE), keys.fence("n3"): Fence(2)})
    found = cluster.run(*GROUP, "show", "g1", "--json").json
    assert found["units"] == [
        {"lun": 1, "volume": "v1", "active": "n1", "paths": {"n1": "active", "n2": "standby", "n3": "unknown"}}
    ]
    assert found["connections"] == [{"node": "n1", "initiator": CLIENT, "address": "10.78.0.200"}]
    assert [(node["node"], node["state"], node["tag"]) for node in found["nodes"]][2] == ("n3", "claimed", 3)
    assert group(cluster).probe not in json.dumps(found)
    shown = cluster.run(*GROUP, "show", "g1").out
    assert all(
        word in shown for word in ("standby", "unknown", "iscsi/v1: the storage hangs", "10.78.0.13:3260", CLIENT)
    )
    in_use = cluster.run(*VOLUME, "detach", "v1")
    assert (in_use.status, "may be in use" in in_use.err and "--force" in in_use.err) == (1, True)
    assert cluster.run(*GROUP, "stop", "g1").status == 0
    assert "stopped" in cluster.run(*GROUP, "list").out
    assert "is stopped" in cluster.run("service", "start", "iscsi/v1").err
    assert cluster.run(*GROUP, "start", "g1").status == 0
    assert cluster.run(*VOLUME, "detach", "v1", "--force").status == 0


def test_nodes_are_added(cluster: Cluster) -> None:
    assert cluster.run(*GROUP, "create", "g1", "--nodes", "n1,n2").status == 0
    done = cluster.run(*GROUP, "add-nodes", "g1", "--nodes", "n3", "--portals", "n3=10.78.0.13:3261")
    assert (done.status, done.out) == (0, "Target group g1 is served by n1, n2, n3.\n"), done.err
    assert group(cluster).portals["n3"] == ("10.78.0.13:3261",)


def test_who_may_log_in(cluster: Cluster) -> None:
    prepare(cluster)
    assert cluster.run(*GROUP, "acl", "add", "g1", "iqn.2026-01.com.example:b", "eui.02004567A425678D").status == 0
    assert cluster.run(*GROUP, "acl", "remove", "g1", CLIENT).status == 0
    assert cluster.run(*GROUP, "acl", "list", "g1", "--json").json == [
        "iqn.2026-01.com.example:b",
        "eui.02004567A425678D",
    ]
    assert "eui.02004567A425678D" in cluster.run(*GROUP, "acl", "list", "g1").out
    refused = cluster.run(*GROUP, "acl", "add", "g1", "client")
    assert (refused.status, "Write it like iqn." in refused.err) == (1, True)


def test_chap_secrets_come_from_files_and_are_never_shown(cluster: Cluster, tmp_path: Path) -> None:
    prepare(cluster)
    one, two, short = (tmp_path / name for name in ("one", "two", "short"))
    one.write_text(f"{SECRET}\nmore\n")
    two.write_text("other.secret.34\n")
    short.write_text("short\n")
    chap = (*GROUP, "chap", "set", "g1", "--user", "client")
    assert "there is no terminal" in cluster.run(*chap).err
    assert "cannot be read" in cluster.run(*chap, "--secret-file", str(tmp_path / "none")).err
    refused = cluster.run(*chap, "--secret-file", str(short))
    assert (refused.status, "12 to 64 printable" in refused.err) == (1, True)
    assert "for nobody" in cluster.run(*chap, "--secret-file", str(one), "--mutual-secret-file", str(two)).err
    mutual = ("--mutual-user", "target", "--mutual-secret-file", str(two))
    done = cluster.run(*chap, "--secret-file", str(one), *mutual)
    assert (done.status, "asks for CHAP as client, and proves itself as target" in done.out) == (0, True), done.err
    made = group(cluster)
    assert made.chap is not None and made.mutual is not None
    assert (made.chap.secret, made.mutual.secret) == (SECRET, "other.secret.34")
    said = "".join(
        (found := cluster.run(*command)).out + found.err
        for command in (
            (*GROUP, "show", "g1"),
            (*GROUP, "show", "g1", "--json"),
            (*GROUP, "list", "--json"),
            ("iscsi", "client-config", "g1"),
            ("status", "--json"),
            ("incident", "events", "--json"),
        )
    )
    assert "client, mutual as target" in said and "node.session.auth.password = <the secret>" in said
    assert not [secret for secret in (SECRET, "other.secret.34", made.probe) if secret in said]
    assert cluster.run(*GROUP, "chap", "clear", "g1").status == 0
    assert group(cluster).chap is None


def test_generated_secrets_are_shown_once(cluster: Cluster) -> None:
    prepare(cluster)
    done = cluster.run(*GROUP, "chap", "set", "g1", "--user", "client", "--mutual-user", "target", "--generate")
    made = group(cluster)
    assert made.chap is not None and made.mutual is not None
    assert done.out.splitlines()[1:] == [f"client  {made.chap.secret}", f"target  {made.mutual.secret}"]
    assert len(made.chap.secret) == 16
    done = cluster.run(*GROUP, "chap", "set", "g1", "--user", "client", "--generate", "--json")
    found = group(cluster).chap
    assert found is not None and done.json["secrets"] == {"client": found.secret}


def test_the_settings_for_clients(cluster: Cluster) -> None:
    prepare(cluster)
    said = cluster.run("iscsi", "client-config", "g1").out
    for words in ("no_path_retry queue", "noop_out_interval = ", "--portal 10.78.0.12:3260 --login", "[Timer]"):
        assert words in said
    assert cluster.run("iscsi", "client-config", "g1", "--json").json["iscsid"]["node.startup"] == "automatic"


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("target-group", "create", "g2", "--nodes", "n1,n4"), "tgtd is not on this node"),
    (("target-group", "create", "g2", "--nodes", "n1,n2", "--iqn", "iqn.x"), "'iqn.x' is not the name"),
    (("target-group", "create", "g2", "--nodes", "n1,n2", "--portals", "10.78.0.11"), "Write it like n1="),
    (("target-group", "create", "g2", "--nodes", "n1,n2", "--portals", "n1=10.78.0.99"), "not an address of"),
    (("target-group", "show", "g9"), "Known: g1"),
    (("target-group", "stop", "g9"), "`g9` does not exist"),
    (("client-config", "g9"), "`g9` does not exist"),
    (("volume", "create", "v2"), "either a size"),
    (("volume", "create", "v2", "--size", "big"), "`big` is not a size"),
    (("volume", "create", "v2", "--device", "/dev/null"), "not a block device"),
    (("volume", "show", "v9"), "Known: v1"),
    (("volume", "attach", "v1", "g9"), "`g9` does not exist"),
    (("volume", "attach", "v1", "g1", "--lun", "300"), "from 1 to 255"),
    (("volume", "detach", "v1"), "not attached"),
    (("volume", "resize", "v1", "1000"), "multiple of 512"),
    (("volume", "resize", "v1", "0"), "cannot have 0 bytes"),
]


def test_mistakes_are_explained(cluster: Cluster) -> None:
    prepare(cluster)
    for arguments, words in MISTAKES:
        refused = cluster.run("iscsi", *arguments)
        assert (refused.status, words in refused.err) == (1, True), refused.err
        assert "Traceback" not in refused.err
