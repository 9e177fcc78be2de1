"""The gateway program: who may do what, what it answers when its storage fails, and how it ends."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from backup_gateways import HANG_S, PASSWORDS, Gateway, Site, free_port, sha256, site
from backup_stores import local

from holdfast.services.backup_gateway.cluster import BackupUser
from holdfast.services.backup_gateway.config import S3, Backend, Local, Nfs, Sftp

NOWHERE = "10.255.255.1"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with local(tmp_path) as backend:
        yield backend


def running(made: Site, backend: Backend, *, append_only: bool = False) -> Gateway:
    gateway = made.gateway(backend, append_only=append_only)
    gateway.start()
    with made.client(None) as client:
        gateway.wait_healthy(client)
    return gateway


def wait_for(what: str, client: httpx.Client, url: str, status: int) -> None:
    end = time.monotonic() + HANG_S
    while client.get(url).status_code != status:
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_nobody_reaches_what_is_not_theirs(made: Site, backend: Backend, tmp_path: Path) -> None:
    base = running(made, backend).url
    name = sha256(b"hers")
    with made.client("alice") as alice, made.client("bob") as bob, made.client(None) as nobody:
        assert alice.post(f"{base}/alice/?create=true").status_code == 200
        assert alice.post(f"{base}/alice/data/{name}", content=b"hers").status_code == 200
        for path in (f"alice/data/{name}", "alice/config", "alice/data/", f"bob/%2e%2e/alice/data/{name}"):
            assert nobody.get(f"{base}/{path}").status_code == 401
            assert bob.get(f"{base}/{path}").status_code in (403, 404)
            assert bob.post(f"{base}/{path}", content=b"mine").status_code in (403, 404)
            assert bob.delete(f"{base}/{path}").status_code in (403, 404)
        assert bob.post(f"{base}/?create=true").status_code == 404
        assert nobody.get(f"{base}/alice/config", auth=("alice", "wrong")).status_code == 401
        assert nobody.get(f"{base}/alice/config", auth=("nobody", "x")).status_code == 401
        assert alice.get(f"{base}/alice/data/{name}").content == b"hers"
    assert {path.name for path in (tmp_path / "shared/backup").iterdir() if not path.name.startswith(".")} == {"alice"}


def test_users_change_while_it_runs(made: Site, backend: Backend) -> None:
    base = running(made, backend).url
    with made.client("alice") as client:
        assert client.get(f"{base}/alice/config").status_code == 404
        hashed = PasswordHasher(time_cost=1, memory_cost=1024).hash("another one")
        made.write_users([BackupUser("alice", hashed), BackupUser("bob", hashed)])
        wait_for("the old password is refused", client, f"{base}/alice/config", 401)
        assert client.get(f"{base}/bob/config", auth=("bob", "another one")).status_code == 404
        made.users.write_text("{")
        assert client.get(f"{base}/bob/config", auth=("bob", "another one")).status_code == 404


@pytest.mark.parametrize("whole", [True, False], ids=["cluster", "user"])
def test_append_only_lets_locks_go_and_nothing_else(made: Site, backend: Backend, whole: bool) -> None:
    base, user = running(made, backend, append_only=whole).url, "alice" if whole else "logs"
    name = sha256(b"kept")
    with made.client(user) as client:
        client.post(f"{base}/{user}/?create=true")
        assert client.post(f"{base}/{user}/config", content=b"config").status_code == 200
        for kind in ("data", "index", "snapshots", "keys", "locks"):
            assert client.post(f"{base}/{user}/{kind}/{name}", content=b"kept").status_code == 200
            assert client.delete(f"{base}/{user}/{kind}/{name}").status_code == (200 if kind == "locks" else 403)
        assert client.delete(f"{base}/{user}/config").status_code == 403
        assert client.delete(f"{base}/{user}/").status_code == 403
    if not whole:
        with made.client("alice") as other:
            other.post(f"{base}/alice/data/{name}", content=b"kept")
            assert other.delete(f"{base}/alice/data/{name}").status_code == 200


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")
def test_a_full_disk_and_one_that_is_not_there(made: Site, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with small_disk(place, "6m"), made.client() as client:
        gateway = running(made, Local(str(place / "backup")))
        base = f"{gateway.url}/alice"
        client.post(f"{base}/?create=true")
        small, large = os.urandom(1 << 20), os.urandom(8 << 20)
        assert client.post(f"{base}/data/{sha256(small)}", content=small).status_code == 200
        assert client.post(f"{base}/data/{sha256(large)}", content=large).status_code == 507
        assert client.get(f"{base}/data/").json() == [sha256(small)]
        left = [path.name for path in (place / "backup/.tmp").iterdir()]
        assert left and all(name.endswith(".probe") for name in left)
        assert client.get(f"{base}/data/{sha256(small)}").content == small

        with (place / "filler").open("wb") as filler, pytest.raises(OSError):
            for _ in range(100):
                filler.write(bytes(1 << 20))
                filler.flush()
        end = time.monotonic() + HANG_S
        while not (answer := client.get(f"{gateway.url}/-/health")).json()["full"]:
            assert time.monotonic() < end, answer.text
        assert answer.status_code == 200, "what is full can still be read"
        assert client.get(f"{base}/data/{sha256(small)}").content == small

        subprocess.run(["umount", "--lazy", str(place)], check=True)
        wait_for("its mount has gone", client, f"{gateway.url}/-/health", 503)
        assert client.post(f"{base}/data/{sha256(small)}", content=small).status_code == 503
        assert client.get(f"{base}/data/").status_code == 503
        assert not list(place.iterdir()), "an empty mount point is not a storage"


@pytest.mark.parametrize("kind", ["nfs", "s3", "s3-refused", "sftp"])
def test_a_back_end_that_cannot_be_reached(kind: str, made: Site, tmp_path: Path) -> None:
    """The gateway runs, says why, and goes on trying."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    backends: dict[str, Backend] = {
        "nfs": Nfs("127.0.0.1:/nowhere", str(tmp_path / "mount")),
        "s3": S3(f"http://{NOWHERE}", "bucket", "key", "secret"),
        "s3-refused": S3(f"http://127.0.0.1:{free_port()}", "bucket", "key", "secret"),
        "sftp": Sftp("127.0.0.1", "user", "/backup", key, free_port(), password="x"),
    }
    gateway = made.gateway(backends[kind])
    gateway.start()
    end = time.monotonic() + HANG_S
    with made.client() as client:
        while True:
            try:
                health = client.get(f"{gateway.url}/-/health")
                break
            except httpx.TransportError:
                assert time.monotonic() < end, gateway.log.read_text()
                time.sleep(0.1)
        assert health.status_code == 503 and health.json()["status"] not in ("ok", "")
        assert client.get(f"{gateway.url}/alice/data/").status_code == 503
        assert client.post(f"{gateway.url}/alice/?create=true").status_code == 503
    assert gateway.stop() == 0


def test_it_ends_when_it_has_answered(made: Site, backend: Backend) -> None:
    """SIGTERM in the middle of an upload."""
    gateway = running(made, backend)
    content = os.urandom(2 << 20)
    arrived = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield content[: 1 << 20]
        arrived.set()
        while b"stopping" not in gateway.log.read_bytes():
            time.sleep(0.02)
        yield content[1 << 20 :]

    answers: list[httpx.Response] = []

    def upload() -> None:
        with made.client() as client:
            length = {"content-length": str(len(content))}
            url = f"{gateway.url}/alice/data/{sha256(content)}"
            answers.append(client.post(url, content=slowly(), headers=length))

    with made.client() as idle:
        idle.get(f"{gateway.url}/-/health")  # a connection that is kept does not hold it up
        thread = threading.Thread(target=upload)
        thread.start()
        assert arrived.wait(HANG_S)
        gateway.signal(signal.SIGTERM)
        thread.join(HANG_S)
    assert answers and answers[0].status_code == 200 and answers[0].headers["connection"] == "close"
    assert gateway.process is not None and gateway.process.wait(HANG_S) == 0


def test_a_bad_configuration_is_named(made: Site, backend: Backend) -> None:
    gateway = made.gateway(backend)
    made.key.write_text("no key")
    gateway.start()
    assert gateway.process is not None and gateway.process.wait(HANG_S) == 2
    assert str(made.key) in gateway.log.read_text() and "Traceback" not in gateway.log.read_text()
    assert all(word not in gateway.log.read_text() for word in PASSWORDS.values())
