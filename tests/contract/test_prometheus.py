"""Debian's Prometheus scrapes a panel, an agent and a manager, evaluates the rules that are packaged, and an alert fires."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from alarm_receivers import free_port

from holdfast.api.app import create_app
from holdfast.api.context import make_context
from holdfast.api.people import Token, digest
from holdfast.api.server import make_server, tls_context
from holdfast.bootstrap.pki import create_authority, issue_node
from holdfast.bootstrap.users import User
from holdfast.clock import SystemClock
from holdfast.config import Tls
from holdfast.core.history import ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    Fence,
    FenceDeviceSpec,
    ManagementSpec,
    NodeSpec,
    NodeState,
    Role,
)
from holdfast.manager.loop import Manager
from holdfast.manager.metrics import families as manager_families
from holdfast.metrics import build_info, render, single
from holdfast.net.scrape import ScrapeServer
from holdfast.ports import PowerFence, Put
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.measured import MeasuredStore
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror
from holdfast.store.scrapers import may_scrape

MONITORING = Path(__file__).resolve().parents[2] / "packaging" / "monitoring"
TOKEN = "holdfast_token-of-prometheus"


class NoDevices:
    """Port PowerFences."""

    def open(self, device: FenceDeviceSpec) -> PowerFence:
        raise AssertionError("there is no fence device")


class Scraped:
    """A panel, an agent's endpoint and that of a manager that leads, on loopback."""

    def __init__(self, directory: Path) -> None:
        authority = create_authority("c")
        cert, key = issue_node(authority, "n1", ["127.0.0.1"])
        for name, content in (("ca", authority.cert_pem), ("cert", cert), ("key", key)):
            (directory / name).write_bytes(content)
        self.files = Tls(*(str(directory / name) for name in ("ca", "cert", "key")))
        self.clock = SystemClock()
        self.cluster = MemoryCluster(self.clock)
        self.store = MemoryStore(self.cluster, self.clock)
        self.mirror = Mirror(self.store)
        self.panel = socket.create_server(("127.0.0.1", 0))
        self.panel_port = self.panel.getsockname()[1]
        self.agent = self._server(self._figures)
        # Of a store of its own: what the panel is to show is written by the test.
        own = MemoryStore(MemoryCluster(self.clock), self.clock)
        self.manager = Manager(own, self.clock, "n1", "m1", NoDevices(), {})
        self.managers = self._server(lambda: render(lambda: manager_families(self.manager)))
        self.put(keys.CLUSTER, ClusterSpec("c", "c"))
        self.put(keys.MANAGEMENT, ManagementSpec(("n1",)))
        self.put(keys.node_spec("n1"), NodeSpec("n1", (Role.MANAGEMENT,), {"management": "127.0.0.1"}))
        self.put(keys.fence("n1"), Fence(1))
        self.put(keys.beat("n1"), Beat("s1", "b", "m", 1, 1, BeatPhase.ACTIVE))
        self.put(keys.MANAGER_TERM, {"node": "n1", "term": 1})
        self.see(NodeState.UP)
        self.put(keys.user("prometheus"), User("prometheus", "x", "viewer"))
        self.put(keys.token(digest(TOKEN)), Token("t", "prometheus", "prometheus", ("metrics",), "2026"))

    def _server(self, figures: Callable[[], bytes]) -> ScrapeServer:
        def allows(authorization: str) -> bool:
            return may_scrape(self.mirror, authorization, self.clock.wall())

        return ScrapeServer("127.0.0.1", 0, self.files, self.clock, allows, figures)

    def _figures(self) -> bytes:
        return render(lambda: [build_info("agent"), single("agent_guard_connected", "…", 1)])

    def put(self, key: str, value: object) -> None:
        self.cluster.txn([], [Put(key, encode(value))], ())

    def see(self, state: NodeState) -> None:
        self.put(keys.MANAGER_VIEW, ManagerView("n1", 1, {"n1": state}))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        context = make_context("n1", MeasuredStore(self.store, self.clock), self.clock, session="s")
        server = make_server(create_app(context), tls_context(self.files))
        parts = (context.cache.run(), self.mirror.run(), self.agent.run(), self.manager.run(), self.managers.run())
        tasks = [asyncio.create_task(part) for part in (*parts, server.serve(sockets=[self.panel]))]
        try:
            await until(lambda: server.started and self.agent.port and self.managers.port)
            yield
        finally:
            server.should_exit = True
            await asyncio.wait(tasks[-1:])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)


class Prometheus:
    """Debian's, with the packaged example's configuration, told to hurry."""

    def __init__(self, directory: Path, scraped: Scraped) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._directory = directory
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        rules = (MONITORING / "holdfast.rules.yml").read_text()
        # Nobody waits here for what is to hold for a minute.
        (directory / "holdfast.rules.yml").write_text(rules.replace("        for: 1m\n", "        for: 1s\n"))
        (directory / "token").write_text(TOKEN)
        ports = {
            "holdfast": scraped.panel_port,
            "holdfast-agent": scraped.agent.port,
            "holdfast-manager": scraped.managers.port,
        }
        for job in config["scrape_configs"]:
            job["authorization"] = {"credentials_file": str(directory / "token")}
            job["tls_config"] = {"ca_file": scraped.files.ca}
            job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        log = self._directory / "prometheus.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={self._directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                stdout=output,
                stderr=output,
            )
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    async def ask(self, path: str, **query: str) -> Any:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{self.url}/api/v1/{path}", params=query)).json()["data"]
            except (httpx.HTTPError, KeyError, json.JSONDecodeError):
                return None  # it is starting

    async def value(self, query: str) -> float | None:
        found = await self.ask("query", query=query)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    async def becomes(self, query: str, wanted: float) -> None:
        async with asyncio.timeout(90):
            while await self.value(query) != wanted:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.2)


@pytest.mark.timeout(200)
async def test_prometheus_scrapes_evaluates_and_fires(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path)
    async with scraped.serving():
        prometheus = Prometheus(tmp_path, scraped)
        async with prometheus.running():
            await prometheus.becomes('min(up{job=~"holdfast.*"})', 1)
            await prometheus.becomes('holdfast_nodes{state="up"}', 1)
            await prometheus.becomes('holdfast_agent_guard_connected{job="holdfast-agent"}', 1)
            await prometheus.becomes('holdfast_manager_leading{job="holdfast-manager"}', 1)
            await prometheus.becomes('holdfast_manager_step_seconds_count{step="decide"} > bool 0', 1)
            await prometheus.becomes('count(holdfast_build_info{daemon=~"panel|agent|manager"})', 3)
            scraped.see(NodeState.SUSPECT)
            await prometheus.becomes('ALERTS{alertname="HoldfastNodeDown",alertstate="firing",node="n1"}', 1)
            rules = [rule for group in (await prometheus.ask("rules"))["groups"] for rule in group["rules"]]
            assert len(rules) > 20
            assert not [rule["name"] for rule in rules if rule["health"] != "ok"], "evaluated, without an error"
            unwanted = [rule["name"] for rule in rules if rule["state"] == "firing"]
            assert unwanted == ["HoldfastNodeDown"]


async def test_the_certificate_is_checked_against_the_authority(tmp_path: Path) -> None:
    """What the example configures is what keeps a stranger from collecting the token."""
    scraped = Scraped(tmp_path)
    async with scraped.serving():
        other = ssl.create_default_context(cadata=create_authority("other").cert_pem.decode())
        async with httpx.AsyncClient(verify=other, trust_env=False) as client:
            for port in (scraped.panel_port, scraped.agent.port, scraped.managers.port):
                with pytest.raises(httpx.ConnectError, match="certificate"):
                    await client.get(f"https://127.0.0.1:{port}/metrics")
