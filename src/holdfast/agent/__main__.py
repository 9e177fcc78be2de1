"""holdfast-agent: the daemon on each node.

SIGTERM is a graceful shutdown of the node: its instances are moved off, stopped or frozen as the cluster's shutdown policy
wants, then the node is released (P3). SIGHUP restarts the agent
in place: what runs goes on and is adopted by the next agent, which must come before the deadline.
"""

import argparse
import asyncio
import fcntl
import os
import signal
import sys
from pathlib import Path

import structlog

from holdfast import logs
from holdfast.agent.beacon import Beacon
from holdfast.agent.context import NodeContext
from holdfast.agent.drill import DrillDuty
from holdfast.agent.executor import Executor, concerns_agents
from holdfast.agent.identity import capacity, read_identity
from holdfast.agent.known_nodes import Memory, on_disk
from holdfast.agent.node_secrets import NodeSecrets
from holdfast.agent.orders import MirrorOrders
from holdfast.agent.runner_systemd import make_runner
from holdfast.agent.session import Session
from holdfast.agent.shutdown import shutdown_kind
from holdfast.agent.system import SystemUnits
from holdfast.agent.tally import Tally
from holdfast.agent.telemetry import Telemetry
from holdfast.agent.trust import TrustKeeper
from holdfast.agent.trust_office import TrustOffice
from holdfast.bootstrap.create import SEED_FILE, apply_seed
from holdfast.bootstrap.restore import KNOWN_FILE
from holdfast.clock import SystemClock
from holdfast.config import BEAT_PORT, DEFAULT_PATH, NodeConfig, load, store_endpoints
from holdfast.core.model import ClusterSpec, NodeSpec
from holdfast.core.observers import MANAGEMENT
from holdfast.core.timing import profile
from holdfast.core.validity import SessionState
from holdfast.errors import HoldfastError, StoreError
from holdfast.fencing.guard.link import UnixGuardLink
from holdfast.net.addresses import KernelAddresses
from holdfast.net.announce import Announcer
from holdfast.net.beat_keys import KeyFile
from holdfast.net.beats import UdpBus, next_session
from holdfast.net.links import hardware_addresses
from holdfast.net.refusal import RefusalProbe
from holdfast.services.iscsi.chap import OpenGroups
from holdfast.services.iscsi.config import TargetGroup
from holdfast.services.registry import drivers, probes
from holdfast.store import keys
from holdfast.store.codec import decode
from holdfast.store.etcd import EtcdStore
from holdfast.store.measured import MeasuredStore
from holdfast.store.mirror import WENT_BACK, Mirror

log = structlog.get_logger("holdfast.agent")

ADVISORY_ADDRESS_S = 4.0
"""Kernel lifetime of an advisory address without a renewal by the agent."""
PREPARE_S = 2.0
"""How often the warm parts of instances that could come here are looked after."""


class Agent:
    """Puts the parts together and takes them apart."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._clock = SystemClock()
        self._runner = make_runner(config)
        self._store = EtcdStore(store_endpoints(config), config.tls, clock=self._clock, spread=config.id)
        self._measured = MeasuredStore(self._store, self._clock)
        self._mirror = Mirror(self._store, notable=concerns_agents)
        self._addresses = KernelAddresses(config.addresses)
        self._announcer = Announcer(self._addresses, self._clock)
        self._trust = TrustKeeper(config, self._store, self._mirror, self._clock, trusts=lambda: self._system.trusts())  # noqa: PLW0108
        self._system = SystemUnits(
            config,
            self._runner,
            self._clock,
            self._store,
            self._mirror,
            files=self._trust,
            replaced=lambda: self._end(True),
        )
        self._office = TrustOffice(config.id, self._store, self._mirror, self._clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()
        self._restart = False

    async def run(self) -> None:
        """Until a signal asks for the end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end, False)
        loop.add_signal_handler(signal.SIGHUP, self._end, True)
        await self._addresses.prepare()
        self._trust.prepare()
        self._spawn(
            self._system.run(),
            self._system.look_for_a_new_store(),
            self._mirror.run(),
            self._plant_seed(),
            self._trust.run(),
            self._office.run(),
        )
        await self._first_contact()
        cluster = self._cluster()
        if cluster is None:
            return
        timing = profile(cluster.profile)
        identity = read_identity(hardware_addresses(self._config.addresses.values()))
        guard = UnixGuardLink(self._config, timing, identity.session, on_disconnect=lambda: session.hurry())  # noqa: PLW0108
        await guard.start()
        await guard.wait_connected(2.0)
        context = NodeContext(
            node=self._config.id,
            session=identity.session,
            store=self._measured,
            clock=self._clock,
            addresses=self._addresses,
            announcer=self._announcer,
            # The session is made below: it needs the executor, which needs this context.
            allowed=lambda: session.allowed(),  # noqa: PLW0108
            may_stay=lambda: session.may_stay(),  # noqa: PLW0108
            deadline=lambda: session.validity.deadline,
            advisory_address_s=ADVISORY_ADDRESS_S,
        )
        node_secrets = NodeSecrets(self._mirror)
        groups = OpenGroups(lambda: self._mirror.all(keys.ISCSI_GROUPS, TargetGroup), node_secrets.cluster_secret)
        backup, s3 = node_secrets.backup_records(), node_secrets.s3_records()
        tally = Tally(self._clock)
        self._executor = Executor(
            context,
            tally.drivers(
                drivers(
                    self._config,
                    self._runner,
                    self._clock,
                    cluster,
                    groups,
                    self._management_address,
                    backup_records=backup,
                    s3_records=s3,
                )
            ),
            tally.probes(probes(self._config, groups, backup.clusters, s3)),
            self._mirror,
            lambda: session.fence_epoch,
        )
        orders = MirrorOrders(self._mirror, self._config.id, lambda: session.fence_epoch)
        memory = Memory(self._config.id, self._store, self._mirror, *on_disk(Path(self._config.state_dir) / KNOWN_FILE))
        session = Session(
            self._config.id, self._measured, guard, self._clock, timing, identity, self._executor, capacity, orders,
            memory,
        )  # fmt: skip
        self._session = session
        self._mirror.on_change(session.seen)
        self._mirror.on_regress(lambda: session.distrust(WENT_BACK))
        await self._executor.adopt()
        key = KeyFile(Path(self._config.beat_key), self._clock)
        number = next_session(Path(self._config.state_dir) / "beat-session")
        bus = UdpBus(self._config.id, key, number, list(self._config.addresses.values()), BEAT_PORT)
        bus.open()
        beacon = Beacon(
            self._config.id,
            identity.boot_id,
            bus,
            self._clock,
            self._mirror,
            last_commit=lambda: session.last_commit,
            hurry=session.hurry,
            # While HA is paused nobody starts elsewhere what is given up here.
            on_isolated=lambda isolated: self._executor.set_isolated(isolated and not orders.paused()),
            on_healed=self._announcer.again,
            on_missing=self._store.prefer_not,
            refuses=RefusalProbe(self._config.management_address).refuses,
        )
        living = asyncio.create_task(session.run())
        drill = DrillDuty(self._config.id, self._store, self._mirror, self._runner, cluster.shared_root, self._clock)
        telemetry = Telemetry(
            self._config, self._clock, self._mirror, self._measured, self._addresses, session, guard, self._executor, tally,
            identity.session,
        )  # fmt: skip
        self._spawn(beacon.run(), self._follow(), self._prepare(), drill.run(), telemetry.run(), memory.run())
        ended = asyncio.create_task(self._ending.wait())
        await asyncio.wait([living, ended, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in [living, *self._tasks]:
            if task.done():
                task.result()
        if self._restart:
            log.info("restarting in place: what runs goes on")
            await guard.farewell(restart=True)
        else:
            await session.leave(await shutdown_kind(Path(self._config.run_dir)))
            await self._system.resign()  # only now: this node's manager may be the one that moves its instances off
            await session.release()
            await self._system.end()
        await self._executor.close()
        bus.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._announcer.close()
        await self._addresses.close()
        await self._store.close()
        self._runner.close()

    def _spawn(self, *coroutines: "asyncio._CoroutineLike[None]") -> None:
        self._tasks += [asyncio.create_task(coroutine) for coroutine in coroutines]

    def _end(self, restart: bool) -> None:
        self._restart = restart
        self._ending.set()

    async def _plant_seed(self) -> None:
        """On the very first start of a cluster's first node: fill the empty store."""
        path = Path(self._config.state_dir) / SEED_FILE
        while path.exists():
            try:
                await apply_seed(self._store, path)
            except StoreError as error:
                log.info("the store does not answer yet", error=str(error))
                await self._clock.sleep(0.3)
        await asyncio.Event().wait()

    async def _first_contact(self) -> None:
        """Wait until the store told what the cluster is, or use what it told the last time."""
        ended = asyncio.create_task(self._ending.wait())
        try:
            while not self._ending.is_set() and self._cluster() is None:
                changed = asyncio.create_task(self._mirror.changed.wait())
                await asyncio.wait([changed, ended, *self._tasks], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self._mirror.changed.clear()
                for task in self._tasks:
                    if task.done():
                        task.result()
        finally:
            ended.cancel()

    def _management_address(self, node: str) -> str:
        """Of another node, as the store tells it; its name where the store does not."""
        spec = self._mirror.read(keys.node_spec(node), NodeSpec)
        return spec.addresses[MANAGEMENT] if spec is not None else node

    def _cluster(self) -> ClusterSpec | None:
        kept = Path(self._config.state_dir) / "cluster.json"
        value = self._mirror.value(keys.CLUSTER)
        if value is not None:
            if not kept.exists() or kept.read_bytes() != value:
                kept.write_bytes(value)
            return decode(value, ClusterSpec, keys.CLUSTER)
        if kept.exists() and not self._mirror.ready.is_set():
            return decode(kept.read_bytes(), ClusterSpec, str(kept))
        return None

    async def _follow(self) -> None:
        """Act on what the store says."""
        while True:
            self._mirror.changed.clear()
            if self._mirror.ready.is_set():
                self._executor.refresh()
            await self._mirror.changed.wait()

    async def _prepare(self) -> None:
        while True:
            if self._session.state is not SessionState.JOINING:
                await self._executor.prepare()
            await self._clock.sleep(PREPARE_S)


def _lock(config: NodeConfig) -> int:
    """At most one agent per node: a second one would adopt the first one's instances."""
    Path(config.run_dir).mkdir(parents=True, exist_ok=True)
    Path(config.state_dir).mkdir(parents=True, exist_ok=True)
    handle = os.open(Path(config.run_dir) / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HoldfastError(
            f"another holdfast-agent runs on {config.id}", "Stop it first, or leave this one out."
        ) from None
    return handle


async def _main(config: NodeConfig) -> None:
    agent = Agent(config)
    try:
        await agent.run()
    finally:
        await agent.close()


def main() -> None:
    """Entry point. Exit status 0 after a release or a restart in place, 1 on a failure."""
    parser = argparse.ArgumentParser(description="The Holdfast agent of this node.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="node configuration file")
    arguments = parser.parse_args()
    logs.configure()
    try:
        config = load(arguments.config)
        logs.configure(form=config.log_format, daemon="agent", host=config.id)
        handle = _lock(config)
        asyncio.run(_main(config))
        os.close(handle)
    except HoldfastError as error:
        log.error("the agent ends", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
