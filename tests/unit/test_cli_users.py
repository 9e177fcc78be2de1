"""The commands about accounts, API tokens and the audit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import PASSWORD, Cluster, served


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys) as made:
        yield made


def test_accounts_tokens_and_the_audit(cluster: Cluster, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    done = cluster.run("user", "create", "bob", "--role", "operator", "--password-file", str(secret))
    assert (done.status, "Account bob created with the role operator." in done.out) == (0, True), done.err
    assert [(each["name"], each["role"]) for each in cluster.run("user", "list", "--json").json] == [
        ("admin", "admin"),
        ("bob", "operator"),
    ]
    assert "bob" in cluster.run("user", "list").out
    assert "has the role viewer" in cluster.run("user", "set-role", "bob", "viewer").out
    assert "is closed" in cluster.run("user", "disable", "bob").out
    assert "is open again" in cluster.run("user", "enable", "bob").out
    assert "forgotten" in cluster.run("user", "unlock", "bob").out
    assert "no session" in cluster.run("user", "sessions", "bob").out
    assert "0 sessions of bob ended" in cluster.run("user", "end-sessions", "bob").out
    last = cluster.run("user", "delete", "admin")
    assert (last.status, "last administrator" in last.err) == (1, True)

    made = cluster.run("token", "create", "ci", "--scope", "read,metrics", "--owner", "bob", "--days", "7")
    assert made.status == 0, made.err
    assert "holdfast_" in made.out
    assert "shown once" in made.out
    beyond = cluster.run("token", "create", "more", "--scope", "operate", "--owner", "bob")
    assert (beyond.status, "does not hold" in beyond.err) == (1, True)
    (token,) = cluster.run("token", "list", "--json").json
    assert (token["owner"], token["scopes"]) == ("bob", ["read", "metrics"])
    assert "never" in cluster.run("token", "list").out
    assert "revoked" in cluster.run("token", "revoke", token["id"]).out
    assert "no API token" in cluster.run("token", "list").out

    cluster.run("user", "delete", "bob")
    assert "account bob deleted" in cluster.run("audit").out
    entries = cluster.run("audit", "--key", "users/bob", "--json").json
    assert entries[0]["changes"][0]["after"] is None
    details = cluster.run("audit", "--details", "--operation", "change", "--limit", "3").out
    assert "(hidden)" in details
    assert PASSWORD not in details
    assert "nothing in the audit" in cluster.run("audit", "--who", "nobody").out
