"""Paths of the backup gateway: what they name, and that nobody's path leads to what belongs to somebody else."""

import posixpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidInput
from holdfast.services.backup_gateway.config import (
    S3,
    GatewayConfig,
    Local,
    Nfs,
    Sftp,
    from_bytes,
    parse_backend,
    to_bytes,
)
from holdfast.services.backup_gateway.names import KINDS, Listing, Repository, Stored, owner, parse
from holdfast.services.backup_gateway.protocol import requested_range

HASH = "ab" * 32


def test_what_paths_name() -> None:
    assert parse("/alice/") == parse("/alice") == Repository("alice")
    assert parse("/alice/laptop/") == Repository("alice/laptop")
    assert parse("/alice/config") == Stored("alice", "config")
    assert parse("/alice/keys/") == Listing("alice", "keys")
    assert parse(f"/alice/laptop/data/{HASH}") == Stored("alice/laptop", "data", HASH)
    assert Stored("alice/laptop", "data", HASH).path == f"alice/laptop/data/ab/{HASH}"
    assert Stored("alice", "keys", HASH).path == f"alice/keys/{HASH}"
    assert Stored("alice", "config").path == "alice/config"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "alice/",
        "/config",
        "/data/",
        f"/data/{HASH}",
        "/alice//config",
        "/alice/../bob/config",
        "/alice/./config",
        "/.tmp/config",
        "/alice/.tmp/config",
        "/-/health",
        "/alice/data/short",
        f"/alice/data/{HASH.upper()}",
        f"/alice/data/{HASH}/",
        f"/alice/data/ab/{HASH}",
        "/alice/data/laptop/config",
        "/alice\0/config",
        "/alice\n/config",
        "/ali ce/config",
        "/a/b/c/d/e/f/g/h/i/config",
        f"/{'a' * 65}/config",
    ],
)
def test_what_paths_do_not_name(path: str) -> None:
    assert parse(path) is None


SEGMENTS = st.one_of(
    st.sampled_from(["alice", "bob", "..", ".", "", ".tmp", "%2e%2e", "%2f", "config", HASH, "a\\b", *KINDS]),
    st.text(max_size=6),
)


@given(st.lists(SEGMENTS, max_size=10))
def test_nobody_reaches_what_belongs_to_another(segments: list[str]) -> None:
    """Whatever is asked, decoded once as the gateway does: the file that is touched lies below the owner's name."""
    target = parse(unquote("/" + "/".join(segments)))
    if target is None:
        return
    name = owner(target)
    assert name and not name.startswith(".")
    place = target.path if isinstance(target, Stored) else target.repository
    assert posixpath.normpath(place) == place and place.split("/")[0] == name
    assert all(part not in ("..", ".", "") and "\0" not in part for part in place.split("/"))


@given(st.lists(SEGMENTS, min_size=1, max_size=6), st.lists(SEGMENTS, min_size=1, max_size=6))
def test_different_files_lie_at_different_places(first: list[str], second: list[str]) -> None:
    one, other = parse("/" + "/".join(first)), parse("/" + "/".join(second))
    if isinstance(one, Stored) and isinstance(other, Stored) and one != other:
        assert one.path != other.path
        assert not one.path.startswith(f"{other.path}/"), "a file is never a directory of another repository"


@given(st.text(max_size=12), st.integers(1, 1000))
def test_any_range_header_gets_an_answer(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        found = requested_range(text, size)
        if found is not None and found[1] > 0:
            assert found[0] >= 0 and found[0] + found[1] <= size


def test_ranges() -> None:
    assert requested_range("", 10) is None
    assert requested_range("bytes=0-3", 10) == (0, 4)
    assert requested_range("bytes=8-99", 10) == (8, 2)
    assert requested_range("bytes=-3", 10) == (7, 3)
    assert requested_range("bytes=-99", 10) == (0, 10)
    assert requested_range("bytes=5-2", 10) is None
    for unsatisfiable in ("bytes=10-", "bytes=10-20", "bytes=-0"):
        found = requested_range(unsatisfiable, 10)
        assert found is not None and found[1] <= 0


# --- back-ends as they are written ------------------------------------------------------------------------------------

KEYS = {"access_key": "a", "secret_key": "s"}
SSH = {"host_key": "ssh-ed25519 AAAA", "password": "p"}


def test_back_ends_are_understood() -> None:
    assert parse_backend("local:/shared/backup", {}, "/m") == Local("/shared/backup")
    assert parse_backend("nfs:server:/export/backup", {}, "/m") == Nfs("server:/export/backup", "/m")
    assert parse_backend("nfs:[fd00::1]:/export", {}, "/m") == Nfs("[fd00::1]:/export", "/m")
    assert parse_backend("nfs:server:/e", {"options": "vers=3"}, "/m") == Nfs("server:/e", "/m", "vers=3")
    s3 = parse_backend("s3:https://s3.example.lan:8443/bucket/pre/fix", KEYS, "/m")
    assert s3 == S3("https://s3.example.lan:8443", "bucket", "a", "s", "pre/fix")
    sftp = Sftp("host", "user", "/backup", "ssh-ed25519 AAAA", 22, "", "p")
    assert parse_backend("sftp:user@host:/backup", SSH, "/m") == sftp
    assert parse_backend("sftp://user@host/backup", SSH, "/m") == sftp


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}),
        ("/shared", {}),
        ("local:shared", {}),
        ("local:/shared/../etc", {}),
        ("local:/", {}),
        ("local:/x", {"password": "p"}),
        ("nfs:server", {}),
        ("nfs:-oops:/x", {}),
        ("s3:https://host/bucket", {"access_key": "a"}),
        ("s3:ftp://host/bucket", KEYS),
        ("s3:https://host/", KEYS),
        ("s3:https://key@host/bucket", KEYS),
        ("s3:https://host:port/bucket", KEYS),
        ("sftp:user@host:/x", {"host_key": "ssh-ed25519 AAAA"}),
        ("sftp:user@host:/x", {"password": "p"}),
        ("sftp:host:/x", SSH),
        ("sftp://user:secret@host/x", SSH),
    ],
)
def test_back_ends_that_make_no_sense(text: str, told: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        parse_backend(text, told, "/m")


def test_a_configuration_comes_back_as_it_was() -> None:
    for backend in (Local("/x"), Nfs("s:/x", "/m"), S3("https://h", "b", "a", "s"), Sftp("h", "u", "/x", "key")):
        config = GatewayConfig("backup/main/gw-n1", "10.0.0.1", "/c", "/k", "/u", backend, 8000, True)
        assert from_bytes(to_bytes(config), "file") == config
