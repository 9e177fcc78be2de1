"""What an S3 cluster acknowledged is there, and listed, after its storage lost all that was not synced. Needs root."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dropping_storage import DroppingStorage, dropping_storage
from s3_nodes import Bench, bench, directory, eventually, network

from holdfast.services.s3.client import S3Client
from holdfast.services.storage import MARKER

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

BUCKETS = ("first", "second")
OBJECTS = 12
STOCK = (sys.executable, str(Path(__file__).with_name("stock_swift.py")))


@pytest.fixture
def base() -> Iterator[Path]:
    with network(), directory() as path:
        yield path


@pytest.fixture
def storage(base: Path) -> Iterator[DroppingStorage]:
    with dropping_storage(base) as made:
        (made.path / MARKER).touch()
        os.sync()
        yield made


@pytest.fixture
async def ours(base: Path, storage: DroppingStorage) -> AsyncIterator[Bench]:
    async with bench(base) as made:
        yield made


@pytest.fixture
async def stock(base: Path, storage: DroppingStorage) -> AsyncIterator[Bench]:
    async with bench(base, program=STOCK) as made:
        yield made


async def acknowledged(client: S3Client) -> dict[str, dict[str, bytes]]:
    """Bucket → object → content, all of it acknowledged: writes, overwrites and deletions."""
    content: dict[str, dict[str, bytes]] = {}
    for bucket in BUCKETS:
        await asyncio.to_thread(client.make_bucket, bucket)
        content[bucket] = {}
        for number in range(OBJECTS):
            key = f"key{number}"
            await asyncio.to_thread(client.put, bucket, key, b"old")
            if number % 5 == 0:
                await asyncio.to_thread(client.delete, bucket, key)
                continue
            content[bucket][key] = b"old"
            if number % 5 == 1:
                content[bucket][key] = f"new {number}".encode()
                await asyncio.to_thread(client.put, bucket, key, content[bucket][key])
    return content


async def after_power_loss(s3: Bench, storage: DroppingStorage) -> tuple[dict[str, dict[str, bytes]], S3Client]:
    """What was acknowledged before, and a client of the cluster that runs again."""
    client = s3.add_user("alice")
    await s3.start_all("a")
    content = await acknowledged(client)
    storage.lose_power()
    for part in list(s3.where):
        await s3.stop(part)
    storage.come_back()
    await s3.start_all("b")
    return content, client


async def test_what_was_acknowledged_is_there_and_listed(ours: Bench, storage: DroppingStorage) -> None:
    content, client = await after_power_loss(ours, storage)

    async def check() -> None:
        for bucket, objects in content.items():
            listed = await asyncio.to_thread(client.listing, bucket)
            assert {key: size for key, (size, _) in listed.items()} == {k: len(data) for k, data in objects.items()}
            for key, data in objects.items():
                assert await asyncio.to_thread(client.get, bucket, key) == data

    await eventually(check, patience_s=15.0)


async def test_swift_as_it_comes_loses_listings(stock: Bench, storage: DroppingStorage) -> None:
    """The control: without it nobody knows that the storage drops anything."""
    content, client = await after_power_loss(stock, storage)
    missing: set[str] = set()
    for bucket, objects in content.items():
        listed: dict[str, object] = {}

        async def look(bucket: str = bucket, listed: dict[str, object] = listed) -> None:
            listed.update(await asyncio.to_thread(client.listing, bucket))

        await eventually(look)
        missing |= {f"{bucket}/{key}" for key in objects if key not in listed}
    assert missing
