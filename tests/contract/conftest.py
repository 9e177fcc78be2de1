"""Stores to hold to the contract: in memory, and a real etcd with one member."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from etcd_members import Members, running
from store_bench import StoreBench

from holdfast.ports import Store

_spaces = itertools.count(1)
_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests of stores in a process. gRPC ends a call some time after it was cancelled and its channel
    closed, in the loop that began it: one that is closed by then is an error in the log of whatever test runs just then."""
    for item in items:
        if item.path.parent == _HERE and item.path.name.startswith("test_store") and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def etcd_single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """One member with mutual TLS, shared by all tests; each uses a prefix of its own."""
    with running(tmp_path_factory.mktemp("etcd-single")) as members:
        yield members


@pytest_asyncio.fixture(loop_scope="session")
async def store_loop() -> asyncio.AbstractEventLoop:
    """The stores' event loop, for a test that runs it itself."""
    return asyncio.get_running_loop()


@pytest_asyncio.fixture(params=["memory", "etcd"], loop_scope="session")
async def store_bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    members = request.getfixturevalue("etcd_single") if request.param == "etcd" else None
    bench = StoreBench(request.param, members, prefix=f"/test{next(_spaces)}/")
    yield bench
    await asyncio.gather(*(store.close() for store in bench.made))


@pytest.fixture
def store(store_bench: StoreBench) -> Store:
    return store_bench.client()
