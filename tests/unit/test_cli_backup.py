"""The commands for backup clusters, against a served cluster with a back-end in memory."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_world import RANGE, S3, SECRET, FakeBackends
from cli_world import Cluster, served

from holdfast.store import keys

NEW = ("backup", "create-cluster", "main", "--domain", "backup.example.lan", "--addresses", RANGE)
LOCAL = ("--backend", "local:/shared/backup")


@pytest.fixture
def backends() -> FakeBackends:
    return FakeBackends()


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backends: FakeBackends
) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys, backends=backends, cluster_secret=lambda: SECRET) as made:
        made.managed.set()
        yield made


def test_a_cluster_from_its_creation_to_its_end(cluster: Cluster) -> None:
    assert "no backup cluster yet" in cluster.run("backup", "list").out
    done = cluster.run(*NEW, *LOCAL, "--nodes", "n1,n2", "--nodes", "n3")
    assert done.status == 0, done.err
    assert done.out == "Backup cluster main on n1, n2, n3: https://backup.example.lan:8000/.\n"
    assert "backup user create main USER" in done.err
    listed = cluster.run("backup", "list").out
    assert all(word in listed for word in ("main", "ok", "3/3", "on", "local:/shared/backup"))
    shown = cluster.run("backup", "show", "main").out
    assert all(word in shown for word in ("10.78.0.171", "running", "of the cluster's authority", "Append-only"))
    assert cluster.run("backup", "node", "add", "main", "--nodes", "n4").status == 0
    assert "4/4" in cluster.run("backup", "list").out
    refused = cluster.run("backup", "node", "release", "main", "n9")
    assert (refused.status, "n9" in refused.err) == (1, True)
    assert cluster.run("backup", "node", "release", "main", "n4", "--no-wait").status == 0
    assert cluster.run("backup", "update", "main", "--append-only").out == "Backup cluster main: append only changed.\n"
    refused = cluster.run("backup", "delete", "main")
    assert (refused.status, "--yes" in refused.err) == (1, True)
    done = cluster.run("backup", "delete", "main", "--yes")
    assert (done.status, "stays in local:/shared/backup" in done.out) == (0, True), done.err
    assert cluster.run("backup", "list", "--json").json == []


def test_users_see_their_password_once(cluster: Cluster) -> None:
    assert cluster.run(*NEW, *LOCAL, "--nodes", "n1,n2").status == 0
    assert "Nobody may use it yet" in cluster.run("backup", "user", "list", "main").out
    done = cluster.run("backup", "user", "create", "main", "web-1", "--append-only")
    found = re.search(r"Password  (\w{28})  \(shown once\)", done.out)
    assert found, done.out + done.err
    everything = [
        cluster.run(*words).out
        for words in (
            ("backup", "user", "list", "main", "--json"),
            ("backup", "show", "main", "--json"),
            ("backup", "client-config", "main", "web-1"),
            ("status", "--json"),
        )
    ]
    assert found[1] not in "".join(everything) and "argon2" not in "".join(everything)
    assert "web-1" in cluster.run("backup", "user", "list", "main").out
    rotated = cluster.run("backup", "user", "rotate", "main", "web-1", "--json").json["data"]["password"]
    assert rotated != found[1]
    assert cluster.run("backup", "user", "change", "main", "web-1", "--no-append-only").status == 0
    assert cluster.run("backup", "user", "delete", "main", "web-1").status == 0
    refused = cluster.run("backup", "user", "create", "main", "Web 1")
    assert (refused.status, "cannot be the name" in refused.err) == (1, True)


def test_what_a_client_is_told(cluster: Cluster) -> None:
    assert cluster.run(*NEW, *LOCAL, "--nodes", "n1,n2", "--port", "8001").status == 0
    assert cluster.run("backup", "user", "create", "main", "web-1").status == 0
    told = cluster.run("backup", "client-config", "main", "web-1").out
    assert "export RESTIC_REPOSITORY=rest:https://backup.example.lan:8001/web-1/$(hostname)/\n" in told
    assert "export RESTIC_CACERT=/etc/restic/main-ca.crt\n" in told and "BEGIN CERTIFICATE" in told
    assert "--stuck-request-timeout 30s" in told and "net.ipv4.tcp_retries2 = 6" in told
    refused = cluster.run("backup", "client-config", "main", "web-2")
    assert (refused.status, "web-1" in refused.err) == (1, True)


def test_credentials_come_from_files(cluster: Cluster, backends: FakeBackends, tmp_path: Path) -> None:
    authority, told = tmp_path / "ca.pem", tmp_path / "told"
    authority.write_text("line 1\nline 2\n")
    told.write_text(f"# of the object store\naccess_key=AK\nsecret_key=s=ecret\nca_file={authority}\n")
    done = cluster.run(*NEW, "--nodes", "n1,n2", "--backend", S3, "--credentials-file", str(told))
    assert done.status == 0, done.err
    assert backends.asked == [(S3, {"access_key": "AK", "secret_key": "s=ecret", "ca": "line 1\nline 2\n"})]
    shown = cluster.run("backup", "show", "main", "--json").out + cluster.run("status", "--json").out
    assert "s=ecret" not in shown
    told.write_text("access_key\n")
    refused = cluster.run("backup", "update", "main", "--credentials-file", str(told))
    assert (refused.status, "access_key=AKIA" in refused.err) == (1, True)
    refused = cluster.run("backup", "update", "main", "--credentials-file", str(tmp_path / "none"))
    assert (refused.status, "cannot be read" in refused.err) == (1, True)
    assert "nothing to change" in cluster.run("backup", "update", "main").err


def test_refusals_are_in_words(cluster: Cluster, backends: FakeBackends) -> None:
    backends.refused = ("local:/shared/backup",)
    refused = cluster.run(*NEW, *LOCAL, "--nodes", "n1,n2")
    assert (refused.status, "cannot be used from n1: it refuses" in refused.err) == (1, True)
    refused = cluster.run(*NEW, "--backend", "local:/elsewhere", "--nodes", "n1,n2")
    assert (refused.status, "outside of the shared storage" in refused.err) == (1, True)
    assert not cluster.do(cluster.context.store.list(keys.BACKUP_CLUSTERS)).entries
