"""A panel process that has just started: what it does not know yet is not told as if it did not exist."""

import asyncio
from http import HTTPStatus

import httpx
import pytest
from api_world import build, memory_store

from holdfast.api.app import Local, create_app
from holdfast.api.context import ApiContext, make_context
from holdfast.clock import SystemClock
from holdfast.store.memory import Faults


def asking(context: ApiContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(Local(create_app(context))), base_url="http://panel")


async def fresh(faults: Faults) -> ApiContext:
    """Of a cluster with nodes. Its `cache.run` is for the test to start."""
    store = memory_store(faults)
    await build(store)
    return make_context("n1", store, SystemClock(), session="s1")


@pytest.mark.parametrize("path", ["/nodes/n1", "/nodes/n1/maintenance/precheck"])
async def test_a_request_waits_for_the_first_picture(path: str) -> None:
    context = await fresh(Faults())
    async with asking(context) as client:
        asked = asyncio.create_task(client.get(f"/api/v1{path}"))
        await asyncio.sleep(0)
        task = asyncio.create_task(context.cache.run())
        answer = await asked
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert answer.status_code == HTTPStatus.OK, answer.text


async def test_without_the_store_it_says_that_it_knows_nothing_and_serves_as_soon_as_it_does() -> None:
    faults = Faults()
    context = await fresh(faults)
    faults.unavailable = True
    task = asyncio.create_task(context.cache.run())
    async with asking(context) as client:
        refused = await client.get("/api/v1/status")
        assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert refused.headers["content-type"] == "application/problem+json"
        assert "knows nothing of the cluster yet" in refused.json()["title"] + refused.json().get("detail", "")
        assert (await client.get("/healthz")).status_code == HTTPStatus.OK
        faults.unavailable = False
        answer = await client.get("/api/v1/status")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert answer.status_code == HTTPStatus.OK
    assert [node["id"] for node in answer.json()["nodes"]][:2] == ["n1", "n2"]
