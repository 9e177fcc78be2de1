"""What an agent tells people and their tools beside its work: the node's report, and figures for Prometheus."""

import asyncio
from pathlib import Path

import structlog
from cryptography import x509

from holdfast.agent.executor import Executor
from holdfast.agent.report import Reporter
from holdfast.agent.session import Session
from holdfast.agent.tally import Tally
from holdfast.config import METRICS_PORT, NodeConfig, Tls
from holdfast.core.validity import SessionState
from holdfast.net.scrape import ScrapeServer
from holdfast.ports import Addresses, Clock, GuardLink
from holdfast.store.measured import MeasuredStore
from holdfast.store.mirror import Mirror
from holdfast.store.scrapers import may_scrape

log = structlog.get_logger("holdfast.agent")


class Telemetry:
    """`run` ends only when it is cancelled: nothing here may end the agent."""

    def __init__(
        self,
        config: NodeConfig,
        clock: Clock,
        mirror: Mirror,
        store: MeasuredStore,
        addresses: Addresses,
        session: Session,
        guard: GuardLink,
        executor: Executor,
        tally: Tally,
        session_id: str,
    ) -> None:
        self._clock = clock
        self._parts = (clock, session, guard, executor, tally, store)
        self._reporter = Reporter(
            config.id,
            session_id,
            store,
            clock,
            addresses,
            active=lambda: session.state is SessionState.ACTIVE,
            wanted=executor.addresses,
            certificates=lambda: certificate_ends(config.tls),
        )
        self._server = ScrapeServer(
            config.management_address,
            METRICS_PORT,
            config.tls,
            clock,
            lambda authorization: may_scrape(mirror, authorization, clock.wall()),
            self._render,
        )

    async def run(self) -> None:
        for result in await asyncio.gather(self._reporter.run(), self._server.run(), return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a part of telemetry ended", error=repr(result))
        await asyncio.Event().wait()

    def _render(self) -> bytes:
        from holdfast.agent.metrics import AgentMetrics  # noqa: PLC0415 - loaded when somebody asks for figures
        from holdfast.metrics import render  # noqa: PLC0415

        return render(AgentMetrics(*self._parts).families)


def certificate_ends(files: Tls) -> tuple[str, str]:
    """When the node's certificate and the authority's end, ISO 8601 UTC; empty for what cannot be read."""
    return _ends(Path(files.cert)), _ends(Path(files.ca))


def _ends(path: Path) -> str:
    """Of the one in the file that ends first."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
        return min(one.not_valid_after_utc for one in found).isoformat().replace("+00:00", "Z")
    except (OSError, ValueError):
        return ""
