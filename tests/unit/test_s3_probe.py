"""The health check of gateways, against scripted ones. (With real ones: tests/contract/test_driver_s3.py.)"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from holdfast.clock import ManualClock
from holdfast.core.model import InstanceSpec, ServiceAddress
from holdfast.services.s3.config import ACCOUNT_PORT, OBJECT_PORT, S3Cluster, instance_specs, new_cluster
from holdfast.services.s3.probe import WRITE_EVERY_S, S3Probe
from holdfast.services.s3.records import Records
from holdfast.services.s3.users import new_key

SECRET = bytes(32)
HANG_S = 60.0
IP, SERVER, OTHER = "127.0.0.1", "127.91.0.1", "127.91.0.2"
"""Nobody listens at the server's address, unless a test does."""


@dataclass
class Gateway:
    """Answers with what is scripted, in turn; the last one repeats."""

    answers: list[tuple[int, bytes]]
    asked: list[str] = field(default_factory=list)
    signed: list[bool] = field(default_factory=list)
    port: int = 0
    waits: bool = False
    """It answers nothing but what needs no server."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        self.asked.append(f"{method} {path}")
        self.signed.append("AWS4-HMAC-SHA256 Credential=" in head)
        if self.waits and path != "/healthcheck":
            await reader.read()
            writer.close()
            return
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(f"HTTP/1.1 {status} Word\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway([(200, b"holdfast\n")])
    server = await asyncio.start_server(made.serve, IP, 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def cluster(gateway: Gateway) -> S3Cluster:
    storage = [ServiceAddress(SERVER, "storage"), ServiceAddress(OTHER, "storage")]
    return new_cluster(
        "main",
        "s3.test",
        {"n1": ServiceAddress(IP, "public")},
        storage[1:],
        storage[:1],
        hash_prefix="prefix",
        hash_suffix="suffix",
        probe=new_key(SECRET)[0],
        gateway_port=gateway.port,
    )


def probe(gateway: Gateway, clock: ManualClock) -> tuple[S3Probe, InstanceSpec]:
    made = cluster(gateway)
    instance = next(spec for spec in instance_specs(made, ha=True) if spec.home == "n1")
    return S3Probe(Records(lambda: {"main": made}, lambda _: {}, lambda: SECRET), clock), instance


async def test_it_writes_now_and_then_and_reads_in_between(gateway: Gateway) -> None:
    clock = ManualClock()
    checking, instance = probe(gateway, clock)
    path = "/holdfast-probe/gw-n1"
    for _ in range(2):
        assert await checking.check(instance, timeout=HANG_S) == ""
    assert gateway.asked == [f"PUT {path}", f"GET {path}", f"GET {path}"]
    assert all(gateway.signed)
    await clock.advance(WRITE_EVERY_S)
    assert await checking.check(instance, timeout=HANG_S) == ""
    assert gateway.asked[3:] == [f"PUT {path}", f"GET {path}"]


async def test_it_makes_its_bucket(gateway: Gateway) -> None:
    gateway.answers = [(404, b""), (200, b""), (200, b""), (200, b"holdfast\n")]
    checking, instance = probe(gateway, ManualClock())
    assert await checking.check(instance, timeout=HANG_S) == ""
    assert gateway.asked[1] == "PUT /holdfast-probe"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((500, b"<Error><Code>InternalError</Code></Error>"), "answers 500 .* InternalError"),
        ((403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"), "answers 403 .* SignatureDoesNotMatch"),
        ((200, b"something else"), "another object"),
    ],
)
async def test_a_gateway_that_answers_wrongly_is_not_healthy(
    gateway: Gateway, answer: tuple[int, bytes], what: str
) -> None:
    gateway.answers = [answer]
    checking, instance = probe(gateway, ManualClock())
    with pytest.raises(AssertionError, match=what):
        assert await checking.check(instance, timeout=HANG_S) == ""


async def test_a_server_that_is_away_is_not_the_gateways_failure_unless_it_reaches_none(gateway: Gateway) -> None:
    gateway.answers = [(503, b"<Error><Code>ServiceUnavailable</Code></Error>")]
    checking, instance = probe(gateway, ManualClock())
    assert "answers 503" in await checking.check(instance, timeout=HANG_S)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), SERVER, OBJECT_PORT)
    async with server:
        assert await checking.check(instance, timeout=HANG_S) == ""


async def test_a_gateway_that_waits_for_a_server_that_is_away_is_not_restarted_for_it(gateway: Gateway) -> None:
    gateway.waits = True
    checking, instance = probe(gateway, ManualClock())
    assert "does not answer within" in await checking.check(instance, timeout=1.0), "it reaches none"
    one = await asyncio.start_server(lambda _reader, writer: writer.close(), SERVER, OBJECT_PORT)
    async with one:
        assert await checking.check(instance, timeout=3.0) == ""
        other = await asyncio.start_server(lambda _reader, writer: writer.close(), OTHER, ACCOUNT_PORT)
        async with other:
            assert "does not answer within" in await checking.check(instance, timeout=1.0), "nobody is away"


async def test_what_does_not_listen_or_is_not_known_is_said(gateway: Gateway) -> None:
    checking, instance = probe(gateway, ManualClock())
    elsewhere = replace(instance, address=ServiceAddress("127.91.0.3", "public"))
    assert "not healthy" in await checking.check(elsewhere, timeout=HANG_S)
    unknown = S3Probe(Records(dict, lambda _: {}, lambda: SECRET), ManualClock())
    assert "does not know the S3 cluster" in await unknown.check(instance, timeout=HANG_S)
