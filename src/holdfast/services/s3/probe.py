"""Health checks of the parts of an S3 cluster, through their service addresses.

A name or object server is asked whether its storage is there and writable (`inside/storage.py`). A gateway is asked to keep
an object and to give it back, signed as a client signs. Where it answers 503, or waits, because a server behind it is
away, that is the server's failure and not its own, unless it can reach none: then its node is cut off from the storage
network.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from holdfast.core.model import InstanceSpec
from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.services.s3 import conf
from holdfast.services.s3.config import BACKGROUND, KIND, S3Cluster, from_instance, is_gateway
from holdfast.services.s3.layout import PROBE_PATH
from holdfast.services.s3.records import Records
from holdfast.services.s3.users import unlock

BUCKET = "holdfast-probe"
"""Belongs to the health checks alone."""
_BODY = b"holdfast\n"
WRITE_EVERY_S = 10.0
"""A gateway that has kept an object is only asked to give it back for so long: a write costs the storage several syncs."""
_LIMIT_BYTES = 65536
_REACH_S = 1.0
_PATIENCE = 0.7
"""Of the time that a check has: then it is asked whether the gateway waits for a server that is away."""
_REACH = 0.2
"""Of the same: for a server to accept a connection."""


class S3Probe:
    """Port HealthProbe."""

    kind = KIND

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._wrote: dict[str, float] = {}
        """Address → when a gateway there last kept an object."""

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """ "" if healthy, else one sentence. Never raises."""
        try:
            config = from_instance(instance)
            if config.part == BACKGROUND:
                return ""  # it has no clients; that its process runs is seen without asking
            cluster = self._records.cluster(config.cluster)
            assert instance.address is not None
            async with asyncio.timeout(timeout):
                if is_gateway(config.part):
                    return await self._patiently(cluster, config.part, instance.address.ip, timeout)
                return await _server(cluster, config.part, instance.address.ip)
        except TimeoutError:
            return f"{instance.id} does not answer within {timeout:g} s"
        except (OSError, ValueError, EOFError, HoldfastError) as error:
            return f"{instance.id} is not healthy: {error}"

    async def _patiently(self, cluster: S3Cluster, part: str, ip: str, timeout: float) -> str:
        """As `_gateway`. A gateway that waits for a server that is gone is not to be restarted for it: it serves what the
        others keep."""
        asked = asyncio.create_task(self._gateway(cluster, part, ip))
        try:
            done, _ = await asyncio.wait([asked], timeout=timeout * _PATIENCE)
            if not done and await _waits_for_another(cluster, ip, min(_REACH_S, timeout * _REACH)):
                return ""
            return await asked
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _gateway(self, cluster: S3Cluster, part: str, ip: str) -> str:
        secret = unlock(cluster.probe.secret, self._records.secret())
        client = _Client(cluster, ip, secret, self._clock)
        path = f"/{BUCKET}/{part}"
        now = self._clock.now()
        status, body = 200, b""
        wrote = self._wrote.pop(ip, now - WRITE_EVERY_S)
        if now - wrote >= WRITE_EVERY_S:
            wrote = now
            status, body = await client.request("PUT", path, _BODY)
            if status == 404:
                status, body = await client.request("PUT", f"/{BUCKET}", b"")
                if status in (200, 409):
                    status, body = await client.request("PUT", path, _BODY)
        if status == 200:
            status, body = await client.request("GET", path, b"")
            if status == 200 and body != _BODY:
                return f"the gateway at {ip} gave back another object than it was given"
        if status == 200:
            self._wrote[ip] = wrote
            return ""
        if status == 503 and any(await _reached(cluster, _REACH_S)):
            return ""
        return f"the gateway at {ip} answers {status} to its own health check: {_code(body)}"


async def _server(cluster: S3Cluster, part: str, ip: str) -> str:
    key = conf.backend_key(cluster.hash_prefix, cluster.hash_suffix)
    for port in conf.ports(cluster, part):
        status, body = await _http(ip, port, "GET", PROBE_PATH, {conf.BACKEND_HEADER: key}, b"")
        if status != 200:
            return f"the server at {ip} port {port} answers {status}: {body[:200].decode(errors='replace')}"
    return ""


async def _waits_for_another(cluster: S3Cluster, ip: str, limit_s: float) -> bool:
    """It answers what it can answer alone, and of the servers behind it some are there and some are not."""
    reached = await _reached(cluster, limit_s)
    if all(reached) or not any(reached):
        return False
    status, _ = await _http(ip, cluster.gateway_port, "GET", "/healthcheck", {}, b"")
    return status == 200


async def _reached(cluster: S3Cluster, limit_s: float) -> list[bool]:
    """Of each name and object server: does it accept a connection from this node?"""

    async def reaches(ip: str, port: int) -> bool:
        try:
            async with asyncio.timeout(limit_s):
                _, writer = await asyncio.open_connection(ip, port)
        except (TimeoutError, OSError):
            return False
        writer.close()
        return True

    attempts = [reaches(s.address.ip, conf.ports(cluster, part)[0]) for part, s in cluster.servers.items()]
    return await asyncio.gather(*attempts)


class _Client:
    """As much of S3 as a health check needs, signature version 4 (AWS General Reference, "Signature Version 4")."""

    def __init__(self, cluster: S3Cluster, ip: str, secret: str, clock: Clock) -> None:
        self._cluster = cluster
        self._ip = ip
        self._secret = secret
        self._clock = clock

    async def request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises OSError, ValueError, EOFError."""
        now = datetime.fromisoformat(self._clock.wall()).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "host": f"{_bracketed(self._ip)}:{self._cluster.gateway_port}",
            "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-amz-date": now,
        }
        signed = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = f"{method}\n{path}\n\n{lines}\n{signed}\n{headers['x-amz-content-sha256']}"
        scope = f"{now[:8]}/{self._cluster.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        credential = f"{self._cluster.probe.id}/{scope}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        )
        return await _http(self._ip, self._cluster.gateway_port, method, path, headers, body)


async def _http(
    ip: str, port: int, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """One request on a connection of its own. Raises OSError, ValueError, EOFError."""
    reader, writer = await asyncio.open_connection(ip, port, limit=_LIMIT_BYTES)
    try:
        sent = {"host": f"{_bracketed(ip)}:{port}", **headers, "content-length": str(len(body)), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()
        status = int((await reader.readline()).split(b" ", 2)[1])
        length: int | None = None
        while (line := (await reader.readline()).strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        answer = await (reader.read(_LIMIT_BYTES) if length is None else reader.readexactly(min(length, _LIMIT_BYTES)))
        return status, answer
    except IndexError:
        raise EOFError(f"{ip} port {port} closed the connection without an answer") from None
    finally:
        writer.close()


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _code(body: bytes) -> str:
    """The error code in an S3 answer."""
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode(errors="replace") or "no reason given"
