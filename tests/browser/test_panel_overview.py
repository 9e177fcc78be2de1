"""What a person sees of a quiet cluster and of a failover."""

import pytest
from conftest import OpenWindow, Panel, Visitor
from panel_world import Failure, World
from playwright.async_api import expect


async def test_a_quiet_cluster(visitor: Visitor) -> None:
    page = visitor.page
    await expect(page.get_by_test_id("verdict")).to_contain_text("Everything runs")
    await expect(page.get_by_test_id("leader")).to_contain_text("n3")
    for node in ("n1", "n2", "n3", "n4"):
        await expect(page.locator(f".node[data-node={node}]")).to_contain_text("Up")
    await expect(page.locator(".node[data-node=n2] [data-token='nfs/home']")).to_contain_text("Running")
    await expect(page.locator("[data-instance='nfs/home']")).to_contain_text("10.78.0.101")
    await visitor.shot("overview")
    assert visitor.faults == []
