"""Every command against a served cluster: what it prints, its JSON, its exit status."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_world import build, place, put, say
from cli_world import PASSWORD, Cluster, run, served

from holdfast.core.history import Incident, IncidentStep
from holdfast.core.model import Exclusivity, InstanceSpec, ManagementSpec, NodeState, Proof, Role
from holdfast.ports import Store
from holdfast.store import keys
from holdfast.store.codec import decode

POOL = ("--addresses", "10.78.0.101-10.78.0.120")


async def build_ha(store: Store) -> None:
    """Management on n1, n2 and n3."""
    await build(store, management=3)
    entry = await store.get(keys.MANAGEMENT)
    assert entry is not None
    await put(store, {keys.MANAGEMENT: replace(decode(entry.value, ManagementSpec), virtual_ip="10.77.0.100")})


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys) as made:
        yield made


def test_status_and_lists_for_people_and_programs(cluster: Cluster) -> None:
    shown = cluster.run("status")
    assert (shown.status, shown.err) == (0, "")
    for words in ("demo (profile default)", "none elected", "n5", "panel/admin", "unplaced"):
        assert words in shown.out
    assert cluster.run("status", "--json").json["cluster"]["name"] == "demo"
    for line in (
        "node list",
        "service list",
        "nfs list",
        "incident list",
        "incident events",
        "ha show",
        "cluster show",
    ):
        arguments = line.split()
        assert cluster.run(*arguments).status == 0, line
        assert cluster.run(*arguments, "--json").json is not None
    assert "management,compute" in cluster.run("node", "list").out
    assert "10.77.0.12" in cluster.run("node", "show", "n2").out
    assert "advisory" in cluster.run("service", "show", "panel/admin").out
    assert cluster.run("version").out.startswith("holdfast ")


def test_nfs_from_nothing_to_deleted_waiting_for_the_real_outcome(cluster: Cluster) -> None:
    cluster.managed.set()
    made = cluster.run("nfs", "create-cluster", "--nodes", "n2,n3", *POOL)
    assert (made.status, "20 addresses" in made.out) == (0, True)
    created = cluster.run("nfs", "create", "vol1", "--size", "10GiB", "--access", "10.0.0.0/8,rw")
    assert created.status == 0, created.err
    assert "mount -t nfs -o vers=4.2,hard 10.78.0.101:/vol1 /mnt" in created.out
    listed = cluster.run("nfs", "list")
    assert all(word in listed.out for word in ("vol1", "running", "n2", "10 GiB"))
    assert "10.0.0.0/8" in cluster.run("nfs", "show", "vol1").out
    assert cluster.run("nfs", "access", "vol1", "10.1.0.0/16,ro", "*,none").status == 0
    moved = cluster.run("service", "move", "nfs/vol1", "--to", "n3", "--json")
    assert (moved.status, moved.json["data"]["from"]) == (0, "n2")
    assert "most room" in cluster.run("service", "show", "nfs/vol1").out
    assert cluster.run("service", "stop", "nfs/vol1").status == 0
    assert cluster.run("service", "start", "nfs/vol1").status == 0
    refused = cluster.run("nfs", "delete", "vol1")
    assert (refused.status, "--force" in refused.err) == (1, True)
    deleted = cluster.run("nfs", "delete", "vol1", "--force")
    assert "/shared/nfs/vol1" in deleted.out
    assert "There is no volume yet" in cluster.run("nfs", "list").out


def test_what_is_not_done_in_time_is_status_1_and_says_what_is_missing(cluster: Cluster) -> None:
    cluster.run("nfs", "create-cluster", "--nodes", "n2,n3", *POOL)
    cluster.do(say(cluster.context.store, {}, {"nfs/vol1": "no storage node is up"}))
    late = cluster.run("nfs", "create", "vol1", "--timeout", "1")
    assert late.status == 1
    assert "still waiting for nfs/vol1 (unplaced: no storage node is up)" in late.err
    assert "holdfast status" in late.err
    assert cluster.run("nfs", "create", "vol2", "--no-wait").status == 0


def test_ha_enable_update_and_disable(cluster: Cluster) -> None:
    cluster.managed.set()
    enabled = cluster.run("ha", "enable", "--virtual-ip", "10.77.0.100", "--nodes", "n1,n2,n3")
    assert enabled.status == 0, enabled.err
    shown = cluster.run("ha", "show")
    assert all(word in shown.out for word in ("10.77.0.100", "as wanted", "n3", "voter"))
    assert cluster.run("ha", "update", "--nodes", "n1,n2,n4").status == 0
    assert cluster.run("ha", "show", "--json").json["nodes"] == ["n1", "n2", "n4"]
    disabled = cluster.run("ha", "disable", "--keep", "n1")
    assert (disabled.status, "Warning" in disabled.err) == (0, True)


def test_a_node_that_leaves_the_management_says_so_and_stops_waiting(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody makes the wish true here; the node's own API ends while the command waits."""
    cluster.do(build_ha(cluster.context.store))
    ending = threading.Timer(1.0, (tmp_path / "api.sock").unlink)
    ending.start()
    updated = cluster.run("ha", "update", "--nodes", "n2,n3,n4")
    ending.join()
    assert (updated.status, "no management node any more" in updated.err) == (0, True), updated.err
    assert "moves to n2, n3, n4" in updated.out


def test_nodes_are_added_with_a_bundle_and_fenced_and_removed(cluster: Cluster, tmp_path: Path) -> None:
    bundle = tmp_path / "n6.bundle"
    add = ("node", "add", "n6", "--address", "management=10.77.0.60", "--roles", "storage", "--bundle", str(bundle))
    added = cluster.run(*add)
    assert added.status == 0, added.err
    assert bundle.read_bytes() == b"bundle of n6"
    assert bundle.stat().st_mode & 0o777 == 0o600
    again = cluster.run(*add)
    assert (again.status, "cannot be written" in again.err) == (1, True)
    other = tmp_path / "other.bundle"
    assert cluster.run(*add[:-1], str(other)).status == 1
    assert not other.exists(), "no empty bundle is left behind"
    secret = tmp_path / "bmc.pw"
    secret.write_text("geheim,2\n")
    device = f"bmc,redfish,state=silent,password-file={secret}"
    assert cluster.run("node", "fence", "set", "n6", "--device", device).status == 0
    tested = cluster.run("node", "fence", "test", "n6")
    assert (tested.status, "does not answer" in tested.out) == (1, True)
    cluster.run("node", "fence", "set", "n6", "--device", "bmc,redfish,state=on")
    assert cluster.run("node", "fence", "test", "n6").status == 0
    changed = cluster.run("node", "set", "n6", "--slots", "nfs=10,vm=40", "--slots", "iscsi=none")
    assert (changed.status, "slots 10 for nfs, 40 for vm" in changed.out) == (0, True), changed.err
    assert "10 for nfs, 40 for vm" in cluster.run("node", "show", "n6").out
    wrong = cluster.run("node", "set", "n6", "--slots", "nfs=many")
    assert (wrong.status, "`nfs=many` is no number of slots" in wrong.err) == (1, True)
    assert cluster.run("node", "remove", "n6").status == 0


def test_confirm_dead_names_what_could_be_corrupted(cluster: Cluster) -> None:
    nfs = InstanceSpec("nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, Role.STORAGE)
    cluster.put({keys.instance("nfs/vol1"): nfs})
    cluster.do(place(cluster.context.store, "nfs/vol1", "n2"))
    up = cluster.run("node", "confirm-dead", "n2", "--yes")
    assert (up.status, "is up" in up.err) == (1, True)
    cluster.do(say(cluster.context.store, {"n2": NodeState.SUSPECT}))
    warned = cluster.run("node", "confirm-dead", "n2")
    assert (warned.status, "nfs/vol1" in warned.err, "--yes" in warned.err) == (1, True, True)
    confirmed = cluster.run("node", "confirm-dead", "n2", "--yes", "--reason", "seen dark")
    assert (confirmed.status, "nfs/vol1" in confirmed.err) == (0, True)


def test_incidents_are_told_step_by_step(cluster: Cluster) -> None:
    steps = (IncidentStep("missed", 0.0, "n2 is missed"), IncidentStep("claimed", 0.81, "n2 is claimed"))
    incident = Incident("i7", "n2", "2026-01-01T00:00:00Z", "open", Proof.POWER_OFF, ("nfs/vol1",), steps=steps)
    cluster.put({keys.incident("i7"): incident})
    shown = cluster.run("incident", "show", "i7")
    assert all(word in shown.out for word in ("i7 (open)", "power fencing, verified off", "+0.810", "n2 is claimed"))
    assert cluster.run("incident", "show", "--json").json["id"] == "i7"
    assert "Incident i7: n2" in cluster.run("status").out


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("node show n22", 1, "Did you mean `n2`"),
        ("node remove n9", 1, "does not exist.\nKnown: n1"),
        ("node show ../users", 1, "`../users` cannot be a name"),
        ("nfs delete a/b --force", 1, "`a/b` cannot be a name"),
        ("service move nfs/../panel", 1, "cannot be a name"),
        ("service show vol1", 1, "KIND/NAME"),
        ("service stop nfs/vol1", 1, "does not exist"),
        ("service stop panel/admin", 1, "cannot be stopped"),
        ("ha enable --virtual-ip 10.77.0.66 --nodes n1,n2,n3", 1, "52:54:00:aa:bb:cc"),
        ("ha enable --virtual-ip 10.78.0.66 --nodes n1,n2,n3", 1, "10.77.0.0/24"),
        ("ha enable --virtual-ip fd99::1 --nodes n1,n2,n3", 1, "fd77::/64"),
        ("ha enable --virtual-ip 10.77.0.100 --nodes n1,n2", 1, "3 or 5"),
        ("ha enable --virtual-ip 10.77.0.100", 2, "--nodes"),
        ("ha disable --keep n1", 1, "not enabled"),
        ("nfs create vol1", 1, "create-cluster"),
        ("node add n7 --address 10.77.0.9", 1, "management=10.77.0.12"),
        ("node fence set n2", 1, "--device"),
        ("node fence set n2 --device bmc", 1, "not understood"),
        ("node fence test n2", 1, "no fence device"),
        ("incident show x", 1, "no incident yet"),
        ("incident list --limit 0", 2, "limit"),
        ("password nobody --password-file /nonexistent", 1, "/nonexistent"),
        ("nonsense", 2, "nonsense"),
    ],
)
def test_wrong_input_is_two_lines_at_most_and_never_a_traceback(
    cluster: Cluster, command: str, status: int, words: str
) -> None:
    result = cluster.run(*command.split())
    assert result.status == status, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    if status == 1:
        assert len(result.err.strip().splitlines()) <= 2


def test_passwords(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("short\n")
    refused = cluster.run("password", "--password-file", str(file))
    assert (refused.status, "at least" in refused.err) == (1, True)
    file.write_text("long enough, I hope\n")
    assert cluster.run("password", "--password-file", str(file)).status == 0
    assert PASSWORD not in cluster.run("status", "--json").out


def test_without_a_cluster_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOLDFAST_SOCKET", str(tmp_path / "none.sock"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = run(capsys, "status")
    assert (result.status, "holdfast cluster create" in result.err) == (1, True)
    result = run(capsys, "--url", "http://x", "status")
    assert (result.status, "https://10.77.0.100:8443" in result.err) == (1, True)
    result = run(capsys, "--url", "https://127.0.0.1:1", "status")
    assert (result.status, "does not answer" in result.err) == (1, True)
    (tmp_path / "none.sock").touch()
    result = run(capsys, "status")
    assert (result.status, "does not answer" in result.err) == (1, True)


def test_cluster_create_checks_before_it_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("long enough, I hope\n")
    good = {
        "--node": "n1",
        "--network": "management=10.77.0.0/24",
        "--address": "management=10.77.0.11",
        "--password-file": str(file),
    }
    for change, words in (
        ({"--network": "management"}, "management=10.77.0.0/24"),
        ({"--network": "management=10.77.0.1/24"}, "Did you mean"),
        ({"--address": "management=10.78.0.11"}, "10.77.0.0/24"),
        ({"--address": "public=10.77.0.11"}, "public"),
        ({"--roles": "managment"}, "managment"),
        ({"--profile": "quick"}, "quick"),
        ({"--set": "watchdg=/dev/x"}, "watchdog"),
        ({"--password-file": "/nonexistent"}, "/nonexistent"),
    ):
        options = [word for pair in (good | change).items() for word in pair]
        result = run(capsys, "cluster", "create", "demo", *options)
        assert (result.status, words in result.err) == (1, True), (change, result.err)
    assert not Path("/etc/holdfast/node.toml").exists()


def test_every_command_has_help_and_completion_knows_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in ("cluster", "node", "service", "nfs", "ha", "incident"):
        assert run(capsys, group, "--help").status == 0
    monkeypatch.setenv("_HOLDFAST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "holdfast nfs cre")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run(capsys).out.split() == ["create-cluster", "create"]
