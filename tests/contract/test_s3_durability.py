"""What an S3 cluster acknowledged is there, and listed, after its storage lost all that was not synced. Needs root."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from _pytest.outcomes import Failed
from dropping_storage import DroppingStorage, dropping_storage
from s3_nodes import Bench, bench, directory, eventually, insist, network

from holdfast.services.s3.client import NoAnswer, S3Client
from holdfast.services.storage import MARKER

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

BUCKETS = ("first", "second")
OBJECTS = 8
BURST = 8
STOCK = (sys.executable, str(Path(__file__).with_name("stock_swift.py")))


@pytest.fixture
def base() -> Iterator[Path]:
    with network(), directory() as path:
        yield path


@pytest.fixture
def storage(base: Path) -> Iterator[DroppingStorage]:
    with dropping_storage(base) as made:
        (made.path / MARKER).touch()
        (made.path / "s3/main").mkdir(parents=True)
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
        await insist(client.make_bucket, bucket)
        content[bucket] = {}
        for number in range(OBJECTS):
            key = f"key{number}"
            await insist(client.put, bucket, key, b"old")
            if number % 5 == 0:
                await insist(client.delete, bucket, key)
                continue
            content[bucket][key] = b"old"
            if number % 5 == 1:
                content[bucket][key] = f"new {number}".encode()
                await insist(client.put, bucket, key, content[bucket][key])
    # What comes last is what nothing later has taken along to the storage.
    last = {(bucket, f"last{number}"): b"last" for bucket in BUCKETS for number in range(BURST)}
    await asyncio.gather(*(insist(client.put, bucket, key, data) for (bucket, key), data in last.items()))
    for (bucket, key), data in last.items():
        content[bucket][key] = data
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
            listed = await insist(client.listing, bucket)
            assert {key: size for key, (size, _) in listed.items()} == {k: len(data) for k, data in objects.items()}
            for key, data in objects.items():
                assert await insist(client.get, bucket, key) == data

    await eventually(check, patience_s=15.0)
    await a_full_storage_refuses_and_keeps(client, storage)
    await eventually(check, patience_s=15.0)


async def a_full_storage_refuses_and_keeps(client: S3Client, storage: DroppingStorage) -> None:
    """Writes are refused such that clients try again; what is there stays readable, and of what was refused nothing is."""
    filler = storage.path / "filler"
    found = os.statvfs(storage.path)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - (1 << 20))
    for number in range(4):

        async def refused(key: str = f"refused{number}") -> None:
            with pytest.raises(NoAnswer, match=r"503|507"):
                await asyncio.to_thread(client.put, BUCKETS[0], key, bytes(100_000))

        await eventually(refused, Failed)
    assert await insist(client.get, BUCKETS[0], "key2") == b"old"
    filler.unlink()
    await insist(client.put, BUCKETS[0], "key2", b"old")


async def test_swift_as_it_comes_loses_listings(stock: Bench, storage: DroppingStorage) -> None:
    """The control: without it nobody knows that the storage drops anything."""
    content, client = await after_power_loss(stock, storage)
    missing: set[str] = set()

    async def look() -> None:
        for bucket, objects in content.items():
            listed = await insist(client.listing, bucket)
            missing.update(f"{bucket}/{key}" for key in objects if key not in listed)

    await eventually(look)
    assert missing
