"""holdfast-manager: the elected decider, on each management node. SIGTERM: resign and end."""

import argparse
import asyncio
import signal
import sys
import uuid
from pathlib import Path

import structlog

from holdfast import locks, logs
from holdfast.bootstrap import files
from holdfast.bootstrap.secrets import read_with_previous
from holdfast.clock import SystemClock
from holdfast.config import DEFAULT_PATH, MANAGER_METRICS_PORT, REPORT_PORT, NodeConfig, load, store_endpoints
from holdfast.core.observers import MANAGEMENT, NEVER
from holdfast.errors import HoldfastError
from holdfast.fencing.power.registry import PowerFenceRegistry
from holdfast.manager.guarantee import assess
from holdfast.manager.loop import Manager
from holdfast.manager.membership import membership_stepper
from holdfast.manager.store_watch import looker
from holdfast.manager.threads import Threads
from holdfast.manager.updates import updater
from holdfast.net.beat_keys import KeyFile
from holdfast.net.beats import UdpBus, next_session
from holdfast.net.messages import ReportMessage, decode_report
from holdfast.net.notify import notifier
from holdfast.net.scrape import ScrapeServer
from holdfast.planning.cpsat import CpSatSolver
from holdfast.services.backup_gateway.cluster import BackupCluster
from holdfast.services.iscsi.chap import OpenGroups
from holdfast.services.iscsi.config import TargetGroup
from holdfast.services.registry import probes
from holdfast.services.s3.config import S3Cluster
from holdfast.services.s3.records import Records as S3Records
from holdfast.software import announce
from holdfast.store import keys
from holdfast.store.etcd import EtcdStore
from holdfast.store.etcd.endpoints import follow_endpoints

log = structlog.get_logger("holdfast.manager")


def _cluster_secret() -> bytes:
    return read_with_previous(files.PKI_DIR / files.CLUSTER_SECRET)


def _unlock(locked: str) -> str:
    """What the store keeps under the cluster secret."""
    return locks.unlock(locked, _cluster_secret()).decode()


def _figures(manager: Manager) -> bytes:
    from holdfast.manager.metrics import families  # noqa: PLC0415 - loaded when somebody asks for figures
    from holdfast.metrics import render  # noqa: PLC0415

    return render(lambda: families(manager))


async def _main(config: NodeConfig) -> None:
    clock, solver, threads = SystemClock(), CpSatSolver(), Threads()
    store = EtcdStore(store_endpoints(config), config.tls, clock=clock, spread=config.id)
    manager = Manager(
        store,
        clock,
        config.id,
        uuid.uuid4().hex,
        PowerFenceRegistry(secret=_cluster_secret),
        probes(
            config,
            OpenGroups(lambda: manager.stored(keys.ISCSI_GROUPS, TargetGroup), _cluster_secret),
            lambda: manager.stored(keys.BACKUP_CLUSTERS, BackupCluster),
            S3Records(
                lambda: manager.stored(keys.S3_CLUSTERS, S3Cluster),
                lambda _cluster: {},  # a health check signs with the cluster's own key
                _cluster_secret,
            ),
        ),
        membership_stepper(config, store, clock),
        solve=lambda problem: threads.run(solver.solve, problem),
        assess=lambda view, tolerate, now: threads.run(assess, view, tolerate, now, solver),
        push=updater(_unlock),
        look=looker(store),
        send=notifier(_unlock),
        apart=threads.run,
    )
    key = KeyFile(Path(config.beat_key), clock)
    number = next_session(Path(config.state_dir) / "report-session")
    bus = UdpBus(config.id, key, number, [config.management_address], REPORT_PORT)

    def received(payload: bytes, sender: str, _address: str) -> None:
        report = decode_report(payload)
        if report is not None and report.observer == sender:
            if sender == config.id:
                avoid(report)
            manager.report(sender, report.self_suspect, report.targets)

    avoided: set[str] = set()

    def avoid(report: ReportMessage) -> None:
        """What this node's own agent misses is very likely no good store endpoint."""
        missed = {name for name, nets in report.targets.items() if nets.get(MANAGEMENT, NEVER) >= 0}
        for name in missed - avoided:
            address = manager.observations.management_address(name)
            if address:
                store.prefer_not(address)
        avoided.clear()
        avoided.update(missed)

    bus.on_receive(received)
    bus.open()
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    ended = asyncio.create_task(ending.wait())
    scrapes = ScrapeServer(
        config.management_address,
        MANAGER_METRICS_PORT,
        config.tls,
        clock,
        manager.may_scrape,
        lambda: _figures(manager),
    )
    tasks = [
        asyncio.create_task(part) for part in (manager.run(), follow_endpoints(config, store, clock), scrapes.run())
    ]
    try:
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await manager.resign()
        bus.close()
        await store.close()


def main() -> None:
    """Entry point. Exit status 0 after SIGTERM, 1 on a failure."""
    parser = argparse.ArgumentParser(description="The Holdfast manager.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="node configuration file")
    arguments = parser.parse_args()
    logs.configure()
    try:
        config = load(arguments.config)
        logs.configure(form=config.log_format, daemon="manager", host=config.id)
        announce(config.run_dir, "manager")
        asyncio.run(_main(config))
    except HoldfastError as error:
        log.error("the manager ends", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
