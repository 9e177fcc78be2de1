"""What Holdfast adds to Swift's processes, without Swift's servers. (With them: tests/contract/test_driver_s3.py.)"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from swift.common.middleware.s3api.s3response import InvalidAccessKeyId
from swift.common.utils import Timestamp
from swift.container.backend import ContainerBroker
from swift.proxy.controllers.base import get_cache_key

from holdfast.services.s3.inside import backend
from holdfast.services.s3.inside.auth import KeyFile, auth_factory, strip_factory
from holdfast.services.s3.inside.outdated import Outdated
from holdfast.services.s3.inside.reclaim import Reclaimer
from holdfast.services.s3.inside.segments import Cleaner
from holdfast.services.s3.inside.storage import Storage, look
from holdfast.services.s3.inside.unreachable import Unreachable
from holdfast.services.s3.layout import DEVICES, MARKER, PROBE_PATH, WORK

Environment = dict[str, Any]


def ask(app: Callable[..., Iterable[bytes]], **env: Any) -> int:
    """The status that the application answers with."""
    said: list[str] = []
    base = {"REQUEST_METHOD": "GET", "SERVER_NAME": "s", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    list(app({**base, **env}, lambda status, *_: said.append(status)))
    return int(said[0].split()[0])


class App:
    """Stands for what is behind a filter."""

    def __init__(self, status: str, knows: Iterable[str] = ()) -> None:
        self._status = status
        self._knows = knows
        self.seen: Environment = {}

    def __call__(self, env: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.seen = env
        env.setdefault("swift.infocache", {}).update(dict.fromkeys(self._knows))
        start_response(self._status, [("Content-Length", "0")])
        return [b""]


# --- unreachable ----------------------------------------------------------------------------------------------------

ACCOUNT, BUCKET = get_cache_key("AUTH_s3"), get_cache_key("AUTH_s3", "bucket")


@pytest.mark.parametrize(
    ("path", "knows", "status"),
    [
        ("/v1/AUTH_s3/bucket/key", [ACCOUNT, BUCKET], 404),
        ("/v1/AUTH_s3/bucket/key", [ACCOUNT], 503),
        ("/v1/AUTH_s3/bucket/key", [], 503),
        ("/v1/AUTH_s3/bucket", [ACCOUNT], 404),
        ("/v1/AUTH_s3/bucket", [], 503),
        ("/v1/AUTH_s3", [], 404),
        ("/v1/.expiring/bucket/key", [], 404),
    ],
)
def test_not_found_is_believed_only_where_somebody_could_be_asked(path: str, knows: list[str], status: int) -> None:
    assert ask(Unreachable(App("404 Not Found", knows)), PATH_INFO=path) == status


def test_any_other_answer_passes() -> None:
    assert ask(Unreachable(App("200 OK")), PATH_INFO="/v1/AUTH_s3/bucket/key") == 200


# --- outdated -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "seen"),
    [
        ("PUT", "/v1/AUTH_s3/bucket/key", "202 Accepted", 503),
        ("PUT", "/v1/AUTH_s3/bucket/key", "201 Created", 201),
        ("PUT", "/v1/AUTH_s3/bucket", "202 Accepted", 202),
        ("DELETE", "/v1/AUTH_s3/bucket/key", "409 Conflict", 503),
        ("DELETE", "/v1/AUTH_s3/bucket", "409 Conflict", 409),
        ("POST", "/v1/AUTH_s3/bucket/key", "202 Accepted", 202),
    ],
)
def test_a_write_that_was_not_done_is_not_acknowledged(method: str, path: str, status: str, seen: int) -> None:
    assert ask(Outdated(App(status)), REQUEST_METHOD=method, PATH_INFO=path) == seen


# --- who asks -------------------------------------------------------------------------------------------------------


def authenticated(keys: Path, access_key: str, secret: str) -> tuple[int, Environment]:
    app = App("200 OK")
    made = auth_factory({}, keys=str(keys), account="AUTH_s3", tenant="s3")(app)
    details = {"access_key": access_key, "check_signature": lambda key: key == secret}
    return ask(made, PATH_INFO=f"/v1/{access_key}/b", **{"s3api.auth_details": details}), app.seen


def test_a_good_signature_is_the_keys_owner(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"AK": {"secret": "right", "owner": "o1"}}))
    status, env = authenticated(keys, "AK", "right")
    assert status == 200
    assert (env["PATH_INFO"], env["HTTP_X_USER_NAME"]) == ("/v1/AUTH_s3/b", "o1")
    assert authenticated(keys, "AK", "wrong")[0] == 401
    with pytest.raises(InvalidAccessKeyId):
        authenticated(keys, "OTHER", "right")


def test_without_a_signature_nothing_is_authorized(tmp_path: Path) -> None:
    app = App("200 OK")
    ask(auth_factory({}, keys=str(tmp_path / "none"), account="AUTH_s3", tenant="s3")(app), PATH_INFO="/v1/AUTH_s3/b")
    authorize = app.seen["swift.authorize"]

    class Request:
        environ: dict[str, str] = {}  # noqa: RUF012

    assert authorize(Request()).status_int == 403


def test_who_claims_to_be_somebody_is_not_heard() -> None:
    app = App("200 OK")
    ask(strip_factory({})(app), PATH_INFO="/", HTTP_X_USER_NAME="admin", HTTP_X_TENANT_NAME="s3", HTTP_HOST="h")
    assert "HTTP_X_USER_NAME" not in app.seen
    assert "HTTP_X_TENANT_NAME" not in app.seen
    assert app.seen["HTTP_HOST"] == "h"


def test_a_key_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"AK": {"secret": "s", "owner": "o"}}')
    keys = KeyFile(path, reload_s=0.0)
    assert keys.find("AK") is not None
    path.write_text("{")
    assert keys.find("AK") is not None
    path.unlink()
    assert keys.find("AK") is not None
    path.write_text("{}")
    assert keys.find("AK") is None


# --- storage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    (tmp_path / DEVICES).mkdir()
    (tmp_path / WORK).mkdir()
    (tmp_path / MARKER).touch()
    return tmp_path / DEVICES


@pytest.fixture
def key() -> str:
    backend.install("the key")
    return "the key"


def test_a_storage_that_is_gone_is_noticed(devices: Path) -> None:
    assert look(devices) == ""
    (devices.parent / MARKER).unlink()
    assert "is gone" in look(devices)


def test_a_storage_that_is_full_is_there(devices: Path) -> None:
    """What it holds can be served, and nobody else could write either."""
    (devices.parent / WORK / f"probe-{os.getpid()}").symlink_to("/dev/full")
    assert look(devices) == ""


def test_a_storage_that_cannot_be_written_is_noticed(devices: Path) -> None:
    (devices.parent / WORK).rmdir()
    assert "cannot be written" in look(devices)


def test_a_server_answers_to_its_own_cluster_alone(devices: Path, key: str) -> None:
    storage = Storage(App("200 OK"), devices)
    right = {backend.HEADER_ENV: key}
    assert ask(storage, PATH_INFO="/o00/0/a/c/o") == 403
    assert ask(storage, PATH_INFO="/o00/0/a/c/o", **{backend.HEADER_ENV: "wrong"}) == 403
    assert ask(storage, PATH_INFO="/o00/0/a/c/o", **right) == 200
    assert ask(storage, PATH_INFO=PROBE_PATH) == 403


def test_a_full_storage_takes_no_writes_and_is_read(devices: Path, key: str) -> None:
    right = {backend.HEADER_ENV: key, "PATH_INFO": "/o00/0/a/c/o"}
    full = Storage(App("200 OK"), devices, reserve=1.1)
    assert ask(full, REQUEST_METHOD="PUT", **right) == 507
    assert ask(full, REQUEST_METHOD="POST", **right) == 507
    assert ask(full, REQUEST_METHOD="GET", **right) == 200
    assert ask(full, REQUEST_METHOD="DELETE", **right) == 200


# --- upkeep ---------------------------------------------------------------------------------------------------------


class Cluster:
    """Swift's internal client, over a dictionary: container → object → parts that its manifest names, if it has one."""

    def __init__(self, content: dict[str, dict[str, list[str] | None]]) -> None:
        self.content = content

    def iter_containers(self, _account: str) -> Iterator[dict[str, str]]:
        yield from ({"name": name} for name in self.content)

    def iter_objects(self, _account: str, container: str, prefix: str = "") -> Iterator[dict[str, str]]:
        for name in sorted(self.content.get(container, {})):
            if name.startswith(prefix):
                yield {"name": name, "last_modified": "2020-01-01T00:00:00.000000"}

    def get_object(self, _account: str, container: str, name: str, **_: Any) -> tuple[int, dict[str, str], list[bytes]]:
        if name not in self.content.get(container, {}):
            return 404, {}, []
        parts = self.content[container][name]
        if parts is None:
            return 200, {}, [b"data"]
        return 200, {"X-Static-Large-Object": "True"}, [json.dumps([{"name": part} for part in parts]).encode()]

    def delete_object(self, _account: str, container: str, name: str) -> None:
        del self.content[container][name]


def test_only_parts_that_no_object_and_no_version_names_are_removed() -> None:
    client = Cluster(
        {
            "b": {"whole": ["/b+segments/whole/u1/1"], "over/written": None},
            "b+segments": {
                "whole/u1/1": None,
                "whole/u0/1": None,
                "over/written/u2/1": None,
                "versioned/u3/1": None,
                "running/u4": None,
                "running/u4/1": None,
            },
            "\x00versions\x00b": {"\x00versioned\x00v1": ["/b+segments/versioned/u3/1"]},
        }
    )
    assert Cleaner(client).clean() == 2
    assert sorted(client.content["b+segments"]) == ["running/u4", "running/u4/1", "versioned/u3/1", "whole/u1/1"]
    assert Cleaner(client).clean() == 0


def test_young_parts_are_left_alone() -> None:
    client = Cluster({"b": {}, "b+segments": {"key/u1/1": None}})
    assert Cleaner(client, age_s=1e9).clean() == 0


def test_old_marks_of_deletions_are_forgotten_and_young_ones_kept(tmp_path: Path) -> None:
    hashes = tmp_path / "o00/objects/7/abc"
    old, young, kept = hashes / "1", hashes / "2", hashes / "3"
    for directory, name in ((old, "0000000100.00000.ts"), (young, f"{Timestamp.now().internal}.ts")):
        directory.mkdir(parents=True)
        (directory / name).touch()
    kept.mkdir()
    (kept / "0000000100.00000.data").touch()
    database = tmp_path / "n00/containers/7/abc/hash/hash.db"
    broker = ContainerBroker(str(database), account="a", container="c")
    broker.initialize(Timestamp(100).internal, 0)
    broker.put_object("gone", Timestamp(150).internal, 0, "text/plain", "e", deleted=1)
    broker.put_object("there", Timestamp(150).internal, 1, "text/plain", "e")
    reclaimer = Reclaimer({"devices": str(tmp_path), "mount_check": "false"}, None, round_s=0.0)
    for _ in range(3):
        reclaimer.step()
    assert sorted(entry.name for entry in hashes.iterdir() if list(entry.iterdir())) == ["2", "3"]
    with broker.get() as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM object")] == ["there"]
    assert database.exists()
