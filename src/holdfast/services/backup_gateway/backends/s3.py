"""A bucket of an object store. An object appears whole or not at all; the conditional PUT (`If-None-Match: *`) never
replaces one. Where a store does not know it, what replaces a content-addressed object is the same bytes."""

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import boto3
import botocore.config
import structlog
from botocore.exceptions import BotoCoreError, ClientError

from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.port import (
    CHUNK,
    MARKER,
    MARKER_TEXT,
    Entry,
    Full,
    InTime,
    Missing,
    TooLate,
    Unavailable,
)
from holdfast.services.backup_gateway.config import S3
from holdfast.services.backup_gateway.names import CONFIG, Stored, directory
from holdfast.services.backup_gateway.workers import THREADS, Workers

T = TypeVar("T")
_log = structlog.get_logger("holdfast.backup")

CALL_S = 60.0
CONNECT_S = 3.0
READ_S = 15.0
PROBE_S = 3.0
"""A probe that waits for longer says that the store is gone; the next one finds out whether it is back."""
SETTLE_S = 1.0
"""Of two configurations stored in the same instant Swift acknowledges both, in spite of the condition, and keeps one
(measured). It is the only file whose content its name does not tell; so, after this time, a look at which one was kept."""
IN_MEMORY = 4 << 20
"""Larger uploads are collected in a file without a name: nothing is sent before it is known to be right."""
_ABSENT = ("404", "NoSuchKey", "NotFound")
_THERE = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")
_UNKNOWN_CONDITION = ("501", "NotImplemented")
_FULL = ("507", "QuotaExceeded", "InsufficientStorage", "EntityTooLarge", "413")


class S3Backend:
    """(port Backend)"""

    def __init__(self, config: S3, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name.replace("/", "-")
        self._clock = clock
        self._workers = Workers(clock, CALL_S, f"the object store at {config.endpoint}")
        self._ca = _ca_file(config.ca)
        self._session = boto3.session.Session()
        self._client = self._connect(attempts=3, read_s=READ_S)
        self._once = self._connect(attempts=1, read_s=READ_S)
        """Removals are not repeated in the background: they are to happen soon or never."""
        self._probing = self._connect(attempts=1, read_s=PROBE_S)
        self._conditional = True
        """The store knows If-None-Match."""

    def _connect(self, attempts: int, read_s: float) -> Any:
        options = botocore.config.Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_S,
            read_timeout=read_s,
            max_pool_connections=THREADS,
            retries={"mode": "standard", "total_max_attempts": attempts},
            s3={"addressing_style": "path", "payload_signing_enabled": True},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return self._session.client(
            "s3",
            endpoint_url=self._config.endpoint,
            aws_access_key_id=self._config.access_key,
            aws_secret_access_key=self._config.secret_key,
            region_name=self._config.region,
            verify=self._ca.name if self._ca else None,
            config=options,
        )

    async def create(self, repository: str) -> None:
        """Object stores have no directories."""

    async def entries(self, repository: str, kind: str) -> list[Entry]:
        prefix = self._key(f"{directory(repository, kind)}/")

        def work() -> list[Entry]:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._config.bucket, Prefix=prefix)
            found = (item for page in pages for item in page.get("Contents", ()))
            return [Entry(item["Key"].rpartition("/")[2], item["Size"]) for item in found]

        return await self._run(work, timeout_s=10 * CALL_S)

    async def size(self, file: Stored) -> int:
        return await self._run(lambda: int(self._client.head_object(**self._at(file.path))["ContentLength"]))

    async def read(self, file: Stored, start: int, length: int) -> AsyncIterator[bytes]:
        if not length:
            await self.size(file)
            return
        wanted = f"bytes={start}-{start + length - 1}"
        body = await self._run(lambda: self._client.get_object(**self._at(file.path), Range=wanted)["Body"])
        try:
            while length:
                chunk = await self._run(lambda: body.read(min(length, CHUNK)))  # noqa: B023 - awaited at once
                if not chunk:
                    raise Unavailable(f"{file.path} ended too early", "Ask again.")
                length -= len(chunk)
                yield chunk
        finally:
            body.close()

    async def store(self, file: Stored, content: AsyncIterator[bytes]) -> bool:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as collected:
            size = 0
            async for chunk in content:
                size += len(chunk)
                await self._run(lambda: collected.write(chunk))  # noqa: B023 - awaited at once
            published = await self._run(lambda: self._put(file, collected, size))
            if published and file.kind == CONFIG:
                await self._clock.sleep(SETTLE_S)
                return await self._run(lambda: self._is_ours(file, collected))
            return published

    async def remove(self, file: Stored, in_time: InTime) -> None:
        def work() -> None:
            if not in_time():
                raise TooLate(f"the removal of {file.name} was held up", "Ask again.")
            self._once.delete_object(**self._at(file.path))

        await self._run(work)

    async def probe(self) -> None:
        """After a problem nothing that is kept of connections is used again: some would hang for longer than the problem."""
        try:
            await self._run(self._probe)
        except Unavailable:
            for client in (self._client, self._once, self._probing):
                client.close()
            raise

    async def sweep(self) -> int:
        """Nothing temporary is ever stored."""
        return 0

    async def close(self) -> None:
        self._workers.close()

    # --- in threads --------------------------------------------------------------------------------------------------

    def _probe(self) -> None:
        try:
            content = self._probing.get_object(**self._at(MARKER))["Body"].read(len(MARKER_TEXT) + 1)
        except ClientError as error:
            if _code(error) not in _ABSENT or _code(error) == "NoSuchBucket":
                raise
            self._probing.put_object(**self._at(MARKER), Body=MARKER_TEXT)
            content = MARKER_TEXT
        if content != MARKER_TEXT:
            raise Unavailable(f"{MARKER} in the bucket has changed", "Is this the right bucket?")
        self._probing.put_object(**self._at(f".probe/{self._name}"), Body=secrets.token_bytes(64))

    def _put(self, file: Stored, collected: "tempfile.SpooledTemporaryFile[bytes]", size: int) -> bool:
        target = {**self._at(file.path), "ContentLength": size}
        if self._conditional:
            try:
                collected.seek(0)
                self._client.put_object(**target, Body=collected, IfNoneMatch="*")
                return True
            except ClientError as error:
                if _code(error) in _THERE:
                    return False
                if _code(error) not in _UNKNOWN_CONDITION:
                    raise
                _log.warning(
                    "the object store knows no conditional PUT; files are looked for before", code=_code(error)
                )
                self._conditional = False
        with contextlib.suppress(Missing):
            self._head(file)
            return False
        collected.seek(0)
        self._client.put_object(**target, Body=collected)
        return True

    def _is_ours(self, file: Stored, collected: "tempfile.SpooledTemporaryFile[bytes]") -> bool:
        collected.seek(0)
        return bool(self._client.get_object(**self._at(file.path))["Body"].read() == collected.read())

    def _head(self, file: Stored) -> None:
        try:
            self._client.head_object(**self._at(file.path))
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise Missing(f"there is no {file.path}") from None
            raise

    def _at(self, path: str) -> dict[str, str]:
        return {"Bucket": self._config.bucket, "Key": self._key(path)}

    def _key(self, path: str) -> str:
        return f"{self._config.prefix}/{path}" if self._config.prefix else path

    async def _run(self, work: Callable[[], T], timeout_s: float | None = None) -> T:
        store = f"the object store at {self._config.endpoint}"
        try:
            return await self._workers.run(work, timeout_s)
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise Missing("there is no such object") from error
            if _code(error) in _FULL:
                raise Full(f"{store} is full", "Remove snapshots and prune, or enlarge it.") from error
            raise Unavailable(f"{store} refuses: {error}", "Check its health, the bucket and the keys.") from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(f"{store} cannot be used: {error}", "Check it and the network.") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _ca_file(pem: str) -> Any:
    """boto3 wants a file; it lives as long as this object. None: the system's authorities."""
    if not pem:
        return None
    file = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - kept open, and with it the file
    file.write(pem)
    file.flush()
    return file
