"""Stores to hold to the contract: in memory, and a real etcd with one member."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from etcd_members import Members, running
from store_bench import StoreBench

from holdfast.ports import Store

_spaces = itertools.count(1)


@pytest.fixture(scope="session")
def etcd_single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """One member with mutual TLS, shared by all tests; each uses a prefix of its own."""
    with running(tmp_path_factory.mktemp("etcd-single")) as members:
        yield members


@pytest.fixture(params=["memory", "etcd"])
async def store_bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    members = request.getfixturevalue("etcd_single") if request.param == "etcd" else None
    bench = StoreBench(request.param, members, prefix=f"/test{next(_spaces)}/")
    yield bench
    await asyncio.gather(*(store.close() for store in bench.made))


@pytest.fixture
def store(store_bench: StoreBench) -> Store:
    return store_bench.client()


@pytest.fixture(autouse=True)
async def _calls_end_before_the_loop() -> AsyncIterator[None]:
    """gRPC's poller is one for all event loops of a process: the end of a call that is delivered to a loop which is closed
    already is an exception in the poller, and the next test's calls starve. So each test's loop stays for a moment."""
    yield
    await asyncio.sleep(0.05)
