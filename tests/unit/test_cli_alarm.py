"""Alarms and their receivers by the command line, against a served cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Cluster, served

from holdfast import locks
from holdfast.cli import connection
from holdfast.core.alarm_model import Alarm, AlarmState, Delivery, Receiver
from holdfast.core.history import Severity
from holdfast.store import keys
from holdfast.store.codec import decode

DEAD = Alarm(
    "node-dead:n2", "node-dead", "n2", Severity.ERROR, "n2 failed", "mend it", AlarmState.RAISED, "2026-01-02T10:00:00Z"
)
LOST = Alarm(
    "guarantee-lost:cluster", "guarantee-lost", "cluster", Severity.WARNING, "lost", "", AlarmState.RAISED, "2026-01-01"
)
OVER = Alarm(
    "hold:cluster", "hold", "cluster", Severity.ERROR, "over", "", AlarmState.CLEARED, "2026-01-01", cleared_at="2026"
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys) as made:
        made.put({keys.alarm(one.id): one for one in (DEAD, LOST, OVER)})
        yield made


def test_what_is_wrong_and_who_looks_after_it(cluster: Cluster) -> None:
    assert [one["id"] for one in cluster.run("alarm", "list", "--json").json] == [DEAD.id, LOST.id]
    assert [one["id"] for one in cluster.run("alarm", "list", "--all", "--json").json] == [DEAD.id, LOST.id, OVER.id]
    assert [one["id"] for one in cluster.run("alarm", "list", "--severity", "error", "--json").json] == [DEAD.id]
    assert "node-dead:n2" in cluster.run("alarm", "list").out
    assert "mend it" in cluster.run("alarm", "show", DEAD.id).out
    done = cluster.run("alarm", "acknowledge", DEAD.id, "--note", "on my way")
    assert (done.status, "acknowledged: on my way" in done.out) == (0, True)
    shown = cluster.run("alarm", "show", DEAD.id, "--json").json
    assert (shown["state"], shown["acknowledged_by"], shown["note"]) == ("acknowledged", "root", "on my way")
    assert "cleared since" in cluster.run("alarm", "acknowledge", OVER.id).err
    assert "node-dead:n2" in cluster.run("alarm", "acknowledge", "node-dead:n3").err, "the nearest right one"
    assert [one["id"] for one in cluster.run("status", "--json").json["alarms"]] == [DEAD.id, LOST.id]


def test_receivers(cluster: Cluster, tmp_path: Path) -> None:
    key, password = tmp_path / "key", tmp_path / "password"
    key.write_text("signing-key\n")
    password.write_text("mail-password\n")
    hook = (
        "alarm",
        "receiver",
        "add",
        "hook",
        "--webhook",
        "https://hooks.example.com/T0/secret",
        "--key-file",
        str(key),
    )
    assert cluster.run(*hook).status == 0
    assert "exists already" in cluster.run(*hook).err
    mail = ("--email", "a@example.com,b@example.com", "--from", "h@example.com", "--server", "mail.example.com")
    added = cluster.run(
        "alarm", "receiver", "add", "ops", *mail, "--user", "h", "--password-file", str(password), "--severity", "error"
    )
    assert added.status == 0, added.err
    added = cluster.run("alarm", "receiver", "add", "am", "--alertmanager", "http://127.0.0.1:9", "--severity", "info")
    assert added.status == 0, added.err
    listed = cluster.run("alarm", "receiver", "list", "--json")
    assert [(one["name"], one["type"], one["min_severity"]) for one in listed.json] == [
        ("am", "alertmanager", "info"),
        ("hook", "webhook", "warning"),
        ("ops", "email", "error"),
    ]
    whole = "".join(entry.value.decode() for entry in cluster.do(cluster.context.store.list("")).entries)
    for secret in ("signing-key", "mail-password", "T0/secret"):
        assert secret not in listed.out and secret not in whole
    entry = cluster.do(cluster.context.store.get(keys.receiver("hook")))
    assert entry is not None
    kept = decode(entry.value, Receiver)
    assert locks.unlock(kept.secrets["key"], b"s" * 32) == b"signing-key"
    cluster.put({keys.delivery("hook"): Delivery(kept.serial, error="hooks.example.com refused it", failures=3)})
    assert "hooks.example.com refused it" in cluster.run("alarm", "receiver", "list").out
    failed = cluster.run("alarm", "receiver", "test", "am")
    assert (failed.status, "did not take it" in failed.err) == (1, True)
    assert cluster.run("alarm", "receiver", "remove", "hook").status == 0
    assert cluster.do(cluster.context.store.get(keys.delivery("hook"))) is None
    assert "does not exist" in cluster.run("alarm", "receiver", "remove", "hook").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--webhook", "http://hooks.example.com/x"), "does not begin with https://"),
        (("--webhook", "https://u:p@hooks.example.com/x"), "holds a user or a password"),
        (("--webhook", "https:///x"), "cannot be used"),
        (("--webhook", "https://a", "--email", "a@b.c"), "one way to tell it"),
        ((), "one way to tell it"),
        (("--email", "nobody"), "server and sender"),
        (("--email", "no body", "--from", "h@example.com", "--server", "m"), "is not a mail address"),
        (("--email", "a@b.c\r\nBcc: x@y.z", "--from", "h@example.com", "--server", "m"), "is not a mail address"),
        (("--email", "a@b.c", "--from", "h@e.f", "--server", "m", "--tls", "ssl"), "no encryption"),
        (("--alertmanager", "http://x:9093", "--severity", "fatal"), "no severity"),
    ],
)
def test_what_no_receiver_can_be(cluster: Cluster, options: tuple[str, ...], said: str) -> None:
    result = cluster.run("alarm", "receiver", "add", "r", *options)
    assert result.status and said in result.err, result.err


def test_a_trial_of_a_test_sends_nothing(cluster: Cluster) -> None:
    assert cluster.run("alarm", "receiver", "add", "am", "--alertmanager", "http://127.0.0.1:9").status == 0
    answer = connection.api().call("POST", "/alarms/receivers/am/test", {}, {"dry_run": "true"})
    assert answer["text"] == "am would be sent a test alarm"


def test_the_whole_cluster_at_a_glance_names_the_worst(cluster: Cluster) -> None:
    assert "error: n2 failed and 1 more; see `holdfast alarm list`" in cluster.run("status").out
