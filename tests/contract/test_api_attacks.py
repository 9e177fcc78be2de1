"""Attacks on the panel process as it runs in production (real etcd, TLS): too much, too slow, too many."""

import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from api_process import Panel, fill, panel_process, wait
from etcd_members import Members

from holdfast.api.listen import PER_ADDRESS
from holdfast.api.people import Failures
from holdfast.api.protocol import BODY_S, HEADERS_S
from holdfast.clock import SystemClock
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdStore

HANG_S = 90.0


def connect(panel: Panel) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=panel.config.tls.ca)
    plain = socket.create_connection(("127.0.0.1", panel.port), timeout=HANG_S)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def dripped(panel: Panel, begin: bytes, piece: bytes) -> float:
    """Seconds until the server has enough of a client that sends a piece now and then."""
    with connect(panel) as client:
        started = time.monotonic()
        client.sendall(begin)
        client.settimeout(0.5)
        while time.monotonic() < started + HANG_S:
            try:
                if not client.recv(1000):
                    break
            except TimeoutError:
                with contextlib.suppress(OSError):
                    client.sendall(piece)
            except OSError:
                break
        return time.monotonic() - started


def answered(panel: Panel, request: bytes) -> bytes:
    """The first line of the answer to a request that may be cut off while it is sent."""
    with connect(panel) as client:
        with contextlib.suppress(OSError):
            client.sendall(request)
        with contextlib.suppress(OSError):
            return client.recv(1000).partition(b"\r\n")[0]
    return b""


def handshakes_refused(panel: Panel) -> int:
    """How many of too many connections from one address are not served; the silent ones cost no TLS handshake."""
    with contextlib.ExitStack() as stack:
        for _ in range(PER_ADDRESS):
            stack.enter_context(socket.create_connection(("127.0.0.1", panel.port), timeout=HANG_S))
        try:
            connect(panel).close()
        except OSError:
            return 1
    return 0


async def failures(members: Members) -> list[Failures]:
    """What the store keeps of wrong passwords: all of it ends by itself."""
    store = EtcdStore(members.endpoints, members.tls, clock=SystemClock())
    try:
        entries = (await store.list(keys.LOGIN_FAILURES)).entries
    finally:
        await store.close()
    assert all(entry.lease for entry in entries)
    return [codec.decode(entry.value, Failures, entry.key) for entry in entries]


async def test_the_panel_process_withstands_slow_large_and_many_requests(tmp_path: Path) -> None:
    with panel_process(tmp_path) as (members, panel):
        await fill(members)
        panel.start()
        slow_headers = b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\n"
        slow_body = (
            b"POST /api/v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n"
        )
        with ThreadPoolExecutor(40) as pool:
            by_headers = [pool.submit(dripped, panel, slow_headers, b"x-y: z\r\n") for _ in range(20)]
            by_body = [pool.submit(dripped, panel, slow_body, b" ") for _ in range(10)]
            with panel.client() as client:
                assert client.get("/healthz").status_code == 200, "it serves others meanwhile"
                large = client.post("/api/v1/login", content=b"x" * 2_000_000)
                assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
                many = client.get("/api/v1/status", headers=[(f"x-{n}", "y") for n in range(150)])
                assert many.status_code == 431
            head = b"POST /api/v1/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            assert b" 413 " in answered(panel, head + chunks * 40)
            assert b" 400 " in answered(panel, b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 300_000)
            assert b" 400 " in answered(panel, b"GET / HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n")
            assert b" 404 " in answered(panel, b"GET /static/x/../../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n")
            assert HEADERS_S - 1 < min(f.result() for f in by_headers) <= max(f.result() for f in by_headers) < HANG_S
            assert BODY_S - 1 < min(f.result() for f in by_body) <= max(f.result() for f in by_body) < HANG_S
        with panel.client() as client:
            guess = {"name": "admin", "password": "wrong password"}
            statuses = [client.post("/api/v1/login", json=guess).status_code for _ in range(7)]
        assert statuses == [403] * 5 + [429] * 2
        assert handshakes_refused(panel) == 1

        def serves() -> bool:
            try:
                connect(panel).close()
            except OSError:
                return False
            return True

        wait(serves, "serving again once they are gone")
        assert panel.stop() == 0
        counts = await failures(members)
        assert {count.count for count in counts} == {5}, "each other panel process knows"
        log = panel.log.read_text()
        assert "Traceback" not in log
