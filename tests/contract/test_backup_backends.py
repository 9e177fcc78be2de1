"""Every back-end of backup gateways: restic's whole life, the protocol's corners, and two gateways at once."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest
from backup_gateways import HANG_S, PASSWORDS, Gateway, Site, same_tree, sha256, site, snapshots, tree
from backup_stores import KINDS, store

from holdfast.services.backup_gateway.config import Backend

V2 = {"accept": "application/vnd.x.restic.rest.v2"}


@dataclass
class Served:
    site: Site
    backend: Backend
    first: Gateway
    second: Gateway


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two gateways before one back-end."""
    kind = cast(str, request.param)
    directory = tmp_path_factory.mktemp(f"backup-{kind}")
    with store(kind, directory) as backend, site(directory) as made:
        gateways = [made.gateway(backend) for _ in range(2)]
        for gateway in gateways:
            gateway.start()
        with made.client(None) as client:
            for gateway in gateways:
                gateway.wait_healthy(client)
        yield Served(made, backend, *gateways)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.site.client() as made:
        yield made


def test_restic_from_init_to_prune(served: Served, tmp_path: Path) -> None:
    made, first, second = served.site, served.first.url, served.second.url
    source = tree(tmp_path / "source", files=5, size=1 << 20)
    made.run(first, "init")
    made.run(first, "backup", str(source))
    tree(source, files=3, size=1 << 20, seed=1)
    made.run(second, "backup", str(source))
    made.run(second, "restore", "latest", "--target", str(tmp_path / "back"))
    assert same_tree(source, tmp_path / "back" / source.relative_to("/"))
    made.run(first, "forget", "--keep-last", "1", "--prune")
    assert len(snapshots(made.run(second, "snapshots", "--json"))) == 1
    made.run(second, "check", "--read-data")


def test_a_file_from_beginning_to_end(served: Served, client: httpx.Client) -> None:
    base, other = f"{served.first.url}/alice/deep/down", f"{served.second.url}/alice/deep/down"
    assert client.post(f"{base}/?create=true").status_code == 200
    assert client.post(f"{base}/?create=true").status_code == 200
    assert client.head(f"{base}/config").status_code == 404
    assert client.get(f"{base}/data/").json() == []

    content = bytes(range(256)) * 5000
    name = sha256(content)
    assert client.head(f"{base}/data/{name}").status_code == 404
    wrong = client.post(f"{base}/data/{name}", content=content + b"!")
    assert wrong.status_code == 400 and client.get(f"{other}/data/{name}").status_code == 404
    for place in (base, other, base):
        assert client.post(f"{place}/data/{name}", content=content).status_code == 200

    head = client.head(f"{other}/data/{name}")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))
    assert client.get(f"{other}/data/{name}").content == content
    assert client.get(f"{other}/data/").json() == [name]
    listed = client.get(f"{other}/data/", headers=V2)
    assert listed.json() == [{"name": name, "size": len(content)}]
    assert listed.headers["content-type"] == V2["accept"]

    for asked, part in (("bytes=0-0", content[:1]), ("bytes=700000-", content[700000:]), ("bytes=-10", content[-10:])):
        answer = client.get(f"{base}/data/{name}", headers={"range": asked})
        assert answer.status_code == 206 and answer.content == part
    beyond = client.get(f"{base}/data/{name}", headers={"range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")

    assert client.delete(f"{other}/data/{name}").status_code == 200
    assert client.head(f"{base}/data/{name}").status_code == 404
    assert client.get(f"{base}/data/").json() == []
    empty = sha256(b"")
    assert client.post(f"{base}/locks/{empty}", content=b"").status_code == 200
    assert client.get(f"{base}/locks/{empty}").content == b""


def test_a_configuration_is_written_once(served: Served, client: httpx.Client) -> None:
    """Through two gateways at the same moment, too: one wins, and everybody then reads the same."""
    bases = [f"{gateway.url}/alice/once" for gateway in (served.first, served.second)]
    client.post(f"{bases[0]}/?create=true")
    outcomes: list[tuple[int, bytes]] = []

    def write(base: str, content: bytes) -> None:
        with served.site.client() as mine:
            outcomes.append((mine.post(f"{base}/config", content=content).status_code, content))

    threads = [threading.Thread(target=write, args=(bases[n % 2], f"config {n}".encode() * 10)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    written = [content for status, content in outcomes if status == 200]
    assert len(outcomes) == 6 and len(written) == 1 and {status for status, _ in outcomes} == {200, 403}
    for base in bases:
        assert client.get(f"{base}/config").content == written[0]
        assert client.post(f"{base}/config", content=written[0]).status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(served: Served, client: httpx.Client) -> None:
    base = f"{served.first.url}/alice/broken"
    client.post(f"{base}/?create=true")
    content = b"x" * 3_000_000
    name = sha256(content)
    token = b64encode(f"alice:{PASSWORDS['alice']}".encode()).decode()
    head = (
        f"POST /alice/broken/data/{name} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {token}\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    context = ssl.create_default_context(cafile=str(served.site.cert))
    plain = socket.create_connection((served.first.address, served.first.port), timeout=HANG_S)
    with context.wrap_socket(plain, server_hostname=served.first.address) as broken:
        broken.sendall(head.encode() + content[:-1000])
    assert client.get(f"{base}/data/").json() == []
    assert client.post(f"{base}/data/{name}", content=content).status_code == 200
    assert client.get(f"{base}/data/{name}").content == content


def test_health_is_a_real_read(served: Served) -> None:
    with served.site.client(None) as anybody:
        answer = anybody.get(f"{served.first.url}/-/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok" and answer.json()["full"] is False
