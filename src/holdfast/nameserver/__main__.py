"""The name server of a management node. Started by the agent while there is a zone; SIGTERM ends it."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog

from holdfast import locks, logs
from holdfast.bootstrap import files
from holdfast.bootstrap.secrets import read_with_previous
from holdfast.clock import SystemClock
from holdfast.config import DEFAULT_PATH, DNS_PORT, NodeConfig, load, store_endpoints
from holdfast.errors import HoldfastError
from holdfast.nameserver.follow import Follower
from holdfast.net.dns.server import NameServer
from holdfast.net.dns.transfer import Notifier
from holdfast.software import announce
from holdfast.store.etcd import EtcdStore
from holdfast.store.etcd.endpoints import follow_endpoints

log = structlog.get_logger("holdfast.dns")


def _unlock(locked: str) -> str:
    return locks.unlock(locked, read_with_previous(files.PKI_DIR / files.CLUSTER_SECRET)).decode()


async def _main(config: NodeConfig, port: int) -> None:
    clock = SystemClock()
    store = EtcdStore(store_endpoints(config), config.tls, clock=clock, spread=config.id)
    notifier = Notifier(clock)
    follower = Follower(store, clock, config.id, config.dns_file, _unlock, notifier)
    server = NameServer(config.addresses.values(), clock, lambda: follower.desk, port=port)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    ended = asyncio.create_task(ending.wait())
    works = (follower.run(), server.run(), follow_endpoints(config, store, clock))
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        ended.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(ended, *tasks, return_exceptions=True)
        await server.close()
        await notifier.close()
        await store.close()


def main() -> None:
    """Entry point. Exit status 0 after SIGTERM, 1 on a failure."""
    parser = argparse.ArgumentParser(description="The Holdfast name server of this management node.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="node configuration file")
    parser.add_argument("--port", type=int, default=DNS_PORT)
    arguments = parser.parse_args()
    logs.configure()
    try:
        config = load(arguments.config)
        logs.configure(form=config.log_format, daemon="nameserver", host=config.id)
        announce(config.run_dir, "nameserver")
        asyncio.run(_main(config, arguments.port))
    except HoldfastError as error:
        log.error("the name server ends", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
