"""Figures for Prometheus: what is told, to whom, and that no label has values without a bound."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from agent_world import VM, Hypervisors, WorldDriver
from api_world import build, memory_store, place, put
from figures import Samples, check, of, samples

from holdfast.agent.metrics import AgentMetrics
from holdfast.agent.tally import CountedDriver, CountedProbe, Tally
from holdfast.api.app import create_app
from holdfast.api.context import ApiContext, make_context
from holdfast.api.metrics import families
from holdfast.api.people import Token, digest
from holdfast.bootstrap.pki import create_authority, issue_node
from holdfast.bootstrap.users import User
from holdfast.clock import ManualClock, SystemClock
from holdfast.config import Tls
from holdfast.core.alarm_model import Alarm, AlarmState, FenceTest, ManagerHealth, NodeReport, StoreMember
from holdfast.core.history import GuaranteeWord, Incident, IncidentStep, ManagerView, Severity
from holdfast.core.model import Exclusivity, InstanceSpec, InstanceState, InstanceStatus, NodeState, Proof, Role
from holdfast.core.policy import ComputeSpec
from holdfast.errors import DriverError, StoreUnavailable
from holdfast.metrics import render
from holdfast.net.scrape import HEAD_BYTES, ScrapeServer
from holdfast.ports import Driver, Store
from holdfast.sim.run import simulation
from holdfast.sim.scenario import loads
from holdfast.store import keys
from holdfast.store.measured import MeasuredStore
from holdfast.store.memory import MemoryStore
from holdfast.store.mirror import Mirror
from holdfast.store.scrapers import may_scrape

TOKEN = "holdfast_0123456789"


async def told(context: ApiContext) -> Samples:
    text = render(
        lambda: families(context.cache.status, context.cache.snapshot(), MeasuredStore(context.store, context.clock))
    )
    check(text)
    return samples(text)


INCIDENT = Incident(
    "n2-s2",
    "n2",
    "2026-01-01T00:00:00Z",
    "closed",
    Proof.POWER_OFF,
    ("vm/a",),
    ("vm/a",),
    steps=(
        IncidentStep("missed", 0.0, ""),
        IncidentStep("suspect", 0.7, ""),
        IncidentStep("fencing", 0.8, ""),
        IncidentStep("proven-dead", 3.1, ""),
        IncidentStep("claimed", 3.2, ""),
        IncidentStep("placed", 3.3, "", "vm/a"),
        IncidentStep("recovered", 9.0, "", "vm/a"),
        IncidentStep("closed", 9.1, ""),
    ),
)


@pytest.fixture
async def context() -> AsyncIterator[ApiContext]:
    store = memory_store()
    await build(store, nodes=3)
    made = make_context("n1", store, SystemClock(), session="s")
    task = asyncio.create_task(made.cache.run())
    assert await made.cache.wait_revision(1, 10)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def written(context: ApiContext, values: dict[str, object]) -> None:
    await put(context.store, values)
    revision = (await context.store.list("")).revision
    assert await context.cache.wait_revision(revision, 10)


async def test_the_cluster(context: ApiContext) -> None:
    vm = InstanceSpec("vm/a", "vm", "a", Exclusivity.STRICT, Role.COMPUTE, cpu=2, memory_mib=1024)
    await place(context.store, "vm/a", "n1")
    word = GuaranteeWord(2, False, ("n1", "n3"), ("vm/a",), text="no")
    view = ManagerView("n1", 3, {"n1": NodeState.UP, "n2": NodeState.CLAIMED, "n3": NodeState.UP}, guarantee=word)
    alarm = Alarm("node-dead:n2", "node-dead", "n2", Severity.ERROR, "", "", AlarmState.RAISED, "2026")
    await written(
        context,
        {
            keys.instance("vm/a"): vm,
            keys.status("vm/a"): InstanceStatus("n1", "s1", 7, InstanceState.RUNNING, healthy=True),
            keys.MANAGER_TERM: {"node": "n1", "term": 3},
            keys.MANAGER_VIEW: view,
            keys.COMPUTE: ComputeSpec(("n1", "n2", "n3"), tolerate=2),
            keys.incident(INCIDENT.id): INCIDENT,
            keys.alarm(alarm.id): alarm,
            keys.alarm("x"): replace(alarm, id="x", state=AlarmState.CLEARED),
            keys.report("n1"): NodeReport("s1", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            keys.MANAGER_HEALTH: ManagerHealth(
                "n1",
                3,
                0.004,
                0.02,
                (StoreMember("n1", True, True, 50, 40, 100), StoreMember("n2", False)),
                {"n2": (FenceTest("bmc", False, "no answer", 3),)},
                {"n1": -0.1},
            ),
        },
    )
    found = await told(context)
    assert of(found, "nodes", state="claimed") == 1 and of(found, "nodes", state="suspect") == 0
    assert of(found, "node_up", node="n2") == 0 and of(found, "node_up", node="n1") == 1
    assert of(found, "node_cpu_placed_cores", node="n1") == 2
    assert of(found, "instances", kind="vm", state="running") == 1
    assert of(found, "instances_healthy", kind="vm") == 1
    assert of(found, "node_instances", node="n1", kind="vm") == 1
    assert of(found, "guarantee_holds") == 0 and of(found, "guarantee_remaining_failures") == 1
    assert of(found, "manager_leads", node="n1") == 1
    assert of(found, "incidents_total", proof="P1") == 1 and of(found, "incidents_open") == 0
    assert of(found, "incident_detection_seconds_sum") == 0.7
    assert of(found, "incident_proof_seconds_sum", proof="P1") == pytest.approx(2.4)
    assert of(found, "incident_claim_seconds_bucket", proof="P1", le="5.0") == 1
    assert of(found, "incident_recovery_seconds_bucket", kind="vm", proof="P1", le="5.0") == 0
    assert of(found, "incident_recovery_seconds_bucket", kind="vm", proof="P1", le="10.0") == 1
    assert of(found, "alarms", kind="node-dead", severity="error", state="raised") == 1
    assert of(found, "store_member_up", node="n2") == 0 and of(found, "store_member_db_bytes", node="n1") == 50
    assert of(found, "fence_test_ok", node="n2", device="bmc") == 0
    assert of(found, "node_certificate_end_timestamp_seconds", node="n1") == 1767312000
    assert of(found, "node_clock_offset_seconds", node="n1") == -0.1
    assert ("process_open_fds", ()) in found


async def test_an_empty_cluster_has_figures_too(context: ApiContext) -> None:
    found = await told(context)
    assert of(found, "picture_current") == 1
    assert of(found, "guarantee_holds") is None


async def test_ten_thousand_instances_are_not_ten_thousand_series(context: ApiContext) -> None:
    before = len(await told(context))
    values: dict[str, object] = {}
    for number in range(3000):
        name = f"vm/m{number}"
        values[keys.instance(name)] = InstanceSpec(name, "vm", f"m{number}", Exclusivity.STRICT, Role.COMPUTE)
    for begin in range(0, 3000, 100):
        await put(context.store, dict(list(values.items())[begin : begin + 100]))
    await written(context, {})
    assert len(await told(context)) < before + 30


# --- who may read them ------------------------------------------------------------------------------------------------


async def people(
    store: Store, *, scopes: tuple[str, ...] = ("metrics",), expires: str = "", disabled: bool = False
) -> None:
    await put(
        store,
        {
            keys.user("prometheus"): User("prometheus", "x", "viewer", disabled=disabled),
            keys.token(digest(TOKEN)): Token("t1", "prometheus", "prometheus", scopes, "2026", expires),
        },
    )


async def test_the_panel_tells_figures_to_tokens_with_the_scope(context: ApiContext) -> None:
    await people(context.store)
    transport = httpx.ASGITransport(create_app(context))
    async with httpx.AsyncClient(transport=transport, base_url="https://panel") as client:
        assert (await client.get("/metrics")).status_code == 401
        right = {"authorization": f"Bearer {TOKEN}"}
        answer = await client.get("/metrics", headers=right)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
        assert of(samples(answer.content), "nodes", state="up") == 3
        assert (await client.get("/api/v1/status", headers=right)).status_code == 403
        await put(context.store, {keys.token(digest(TOKEN)): Token("t1", "p", "prometheus", ("operate:nfs",), "2026")})
        await context.cache.wait_revision((await context.store.list("")).revision, 10)
        assert (await client.get("/metrics", headers=right)).status_code == 403


class Scraped:
    """An agent's endpoint over a store in memory."""

    def __init__(self, directory: Path) -> None:
        authority = create_authority("c")
        cert, key = issue_node(authority, "n1", ["127.0.0.1"])
        for name, content in (("ca", authority.cert_pem), ("cert", cert), ("key", key)):
            (directory / name).write_bytes(content)
        self.files = Tls(*(str(directory / name) for name in ("ca", "cert", "key")))
        self.store = memory_store()
        self.mirror = Mirror(self.store)
        self.body = b"holdfast_x 1\n"
        self.server = ScrapeServer("127.0.0.1", 0, self.files, SystemClock(), self.allows, lambda: self.body)

    def allows(self, authorization: str) -> bool:
        return may_scrape(self.mirror, authorization, "2026-06-01T00:00:00Z")


@pytest.fixture
async def scraped(tmp_path: Path) -> AsyncIterator[Scraped]:
    made = Scraped(tmp_path)
    tasks = [asyncio.create_task(made.mirror.run()), asyncio.create_task(made.server.run())]
    async with asyncio.timeout(30):
        await made.mirror.ready.wait()
        while not made.server.port:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_daemons_tell_figures_over_tls_to_tokens_only(scraped: Scraped) -> None:
    await people(scraped.store)
    url = f"https://127.0.0.1:{scraped.server.port}"
    right = {"authorization": f"Bearer {TOKEN}"}
    trusted = ssl.create_default_context(cafile=scraped.files.ca)
    async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
        async with asyncio.timeout(30):
            while not scraped.mirror.entries.get(keys.token(digest(TOKEN))):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        answer = await client.get(f"{url}/metrics", headers=right)
        assert (answer.status_code, answer.content) == (200, scraped.body)
        assert (await client.get(f"{url}/metrics")).status_code == 401
        assert (await client.get(f"{url}/metrics", headers={"authorization": "Bearer holdfast_x"})).status_code == 401
        assert (await client.get(f"{url}/etc/passwd", headers=right)).status_code == 404
        assert (await client.post(f"{url}/metrics", headers=right)).status_code == 404
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{url}/metrics", headers={"x": "y" * 2 * HEAD_BYTES})
        assert (await client.get(f"{url}/metrics", headers=right)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"scopes": ("read",)}, True),
        ({"scopes": ()}, True),
        ({"scopes": ("operate", "administer")}, False),
        ({"expires": "2026-01-01T00:00:00Z"}, False),
        ({"disabled": True}, False),
    ],
)
async def test_which_tokens_an_agent_takes(scraped: Scraped, changes: dict[str, object], allowed: bool) -> None:
    await people(scraped.store, **changes)  # type: ignore[arg-type]
    revision = (await scraped.store.list("")).revision
    async with asyncio.timeout(30):
        while scraped.mirror.revision < revision:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert may_scrape(scraped.mirror, f"Bearer {TOKEN}", "2026-06-01T00:00:00Z") is allowed
    assert not may_scrape(scraped.mirror, f"Basic {TOKEN}", "2026-06-01T00:00:00Z")


# --- what is measured -------------------------------------------------------------------------------------------------


async def test_calls_of_the_store_are_measured_also_those_that_fail() -> None:
    clock = SystemClock()

    class Away(MemoryStore):
        async def get(self, key: str, *, timeout: float | None = None) -> None:
            raise StoreUnavailable("away")

    store = MeasuredStore(Away(memory_store().cluster, clock), clock)
    with pytest.raises(StoreUnavailable):
        await store.get("x")
    for number in range(12):
        await put(store, {f"k{number}": 1})
    assert sum(store.durations["get", "failed"].counts) == 1
    assert sum(store.durations["txn", "ok"].counts) == 12
    latency = store.latency_s()
    assert latency is not None and 0 <= latency[0] <= latency[1]
    store.forget()
    assert store.latency_s() is None


# --- the agent --------------------------------------------------------------------------------------------------------


def test_what_an_agent_tells_of_its_node() -> None:
    """Of the simulator's: the same session and executor."""
    cluster = "{profile: fast, nodes: {node1: {}, node2: {}, node3: {}}, instances: {vm/1: {node: node1}}}"
    with simulation(loads(cluster), seed=1) as sim:
        sim.advance(20)
        machine = sim.world.machines["node1"]
        agent = machine.agent
        assert agent is not None
        tally, store = Tally(machine.clock), MeasuredStore(memory_store(), machine.clock)
        tally.note("vm", "start", "ok", 0.5)
        tell = AgentMetrics(machine.clock, agent.session, agent.guard_link, agent.executor, tally, store)

        def now() -> Samples:
            text = render(tell.families)
            check(text)
            return samples(text)

        found = now()
        assert of(found, "agent_session", state="active") == 1 and of(found, "agent_session", state="idle") == 0
        assert 0 <= (of(found, "agent_beat_age_seconds") or 0) <= 2
        assert 6 <= (of(found, "agent_validity_margin_seconds") or 0) <= 8
        assert of(found, "agent_watchdog_attested") == 1 and of(found, "agent_guard_connected") == 1
        assert of(found, "agent_instances_ordered", kind="vm", order="run") == 1
        assert of(found, "agent_instances_present", kind="vm") == 1
        assert of(found, "agent_actions_total", kind="vm", action="start", result="ok") == 1
        assert of(found, "agent_action_seconds_total", kind="vm", action="start", result="ok") == 0.5
        sim.do("store-off")
        sim.advance(9)
        found = now()
        assert (of(found, "agent_validity_margin_seconds") or 0) < 0
        assert of(found, "agent_session", state="active") == 0


async def test_what_drivers_do_is_counted_by_its_result() -> None:
    tally = Tally(SystemClock())
    with tally.counting("nfs", "start"):
        pass
    with pytest.raises(DriverError), tally.counting("nfs", "start"):
        raise DriverError("no disk")
    with pytest.raises(asyncio.CancelledError), tally.counting("nfs", "stop"):
        raise asyncio.CancelledError
    assert tally.counts == {
        ("nfs", "start", "ok"): 1,
        ("nfs", "start", "failed"): 1,
        ("nfs", "stop", "interrupted"): 1,
    }
    driver: Driver = WorldDriver("n1", Hypervisors(), ManualClock())
    counted: Driver = tally.drivers({"vm": driver})["vm"]
    assert (counted.kind, await counted.running()) == ("vm", [])
    assert isinstance(counted, CountedDriver)
    probe = CountedProbe(Sick(), tally)
    assert await probe.check(VM, timeout=1) == "it does not answer"
    assert tally.counts["vm", "check", "failed"] == 1


class Sick:
    """Port HealthProbe."""

    kind = "vm"

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        return "it does not answer"
