"""A gateway that was frozen or cut off, and comes back, does no harm to what its clients stored through another one."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from backup_gateways import HANG_S, sha256
from backup_isolation import Pair, pair

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: builds a network")
FAULTS = ("cut", "frozen")


@pytest.mark.parametrize(("kind", "rounds"), [("local", 2), ("s3", 1)])
async def test_no_pack_is_ever_missing(kind: str, rounds: int, tmp_path: Path) -> None:
    """`python tests/contract/backup_isolation.py KIND 10` does it ten times."""
    async with pair(kind, tmp_path) as made:
        for number in range(rounds):
            stalled = await made.backup_through(FAULTS[number % 2], number)
            print(f"{kind}, {FAULTS[number % 2]}: nothing stored for {stalled:.2f} s")
        assert "no errors were found" in await made.restic("check", "--read-data")


@pytest.fixture
async def local_pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair("local", tmp_path) as made:
        yield made


async def test_a_removal_that_waited_in_a_frozen_gateway_is_not_executed(local_pair: Pair) -> None:
    """restic removes a file whose upload failed before it tries again. Asked of a gateway that hangs, the removal would
    take away what the client has stored through another gateway in the meantime."""
    made = local_pair
    content = b"kept" * 1000
    path = f"/alice/data/{sha256(content)}"
    with made.site.client() as client, made.site.client() as later:
        assert made.ask("POST", path, client, content).status_code == 200
        made.gateways[0].signal(signal.SIGSTOP)
        removal = asyncio.create_task(asyncio.to_thread(made.ask, "DELETE", path, client))
        await asyncio.sleep(0.5)  # it lies in the frozen gateway's socket now
        await made.leave(0)
        await made.hand_over()
        with pytest.raises(httpx.TransportError):  # the client is told to go elsewhere
            await removal
        assert made.ask("POST", path, later, content).status_code == 200
        made.gateways[0].signal(signal.SIGCONT)
        end = time.monotonic() + HANG_S
        while "a client that has gone" not in made.gateways[0].log.read_text():
            assert made.ask("GET", path, later).content == content
            assert time.monotonic() < end, "the frozen gateway never came to the removal"
            await asyncio.sleep(0.05)
        assert made.ask("GET", path, later).content == content
        assert made.ask("DELETE", path, later).status_code == 200
        assert made.ask("HEAD", path, later).status_code == 404


async def test_an_upload_that_waited_in_a_frozen_gateway_is_not_published(local_pair: Pair) -> None:
    """Its client has stored the file through another gateway, and removed it there: a lock, a forgotten snapshot."""
    made = local_pair
    content = b"a lock" * 100
    path = f"/alice/locks/{sha256(content)}"
    with made.site.client() as client, made.site.client() as later:
        assert made.ask("GET", "/alice/locks/", client).status_code == 200  # connected
        made.gateways[0].signal(signal.SIGSTOP)
        upload = asyncio.create_task(asyncio.to_thread(made.ask, "POST", path, client, content))
        await asyncio.sleep(0.5)  # it lies in the frozen gateway's socket now
        await made.leave(0)
        await made.hand_over()
        with pytest.raises(httpx.TransportError):
            await upload
        assert made.ask("POST", path, later, content).status_code == 200
        assert made.ask("DELETE", path, later).status_code == 200
        made.gateways[0].signal(signal.SIGCONT)
        end = time.monotonic() + HANG_S
        while "a client that has gone" not in made.gateways[0].log.read_text():
            assert time.monotonic() < end, "the frozen gateway never came to the upload"
            await asyncio.sleep(0.05)
        assert made.ask("HEAD", path, later).status_code == 404
