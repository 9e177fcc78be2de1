"""A node for the NFS tests: the real driver, runner and addresses in one network namespace, driven over standard input.

One JSON object per line: {"do": "start"|"stop"|"reconfigure"|"probe", "instance": …}; one answer per line. While an instance
runs, its address is renewed and the driver's tick is called each second, as the agent's worker does it.
"""

import asyncio
import json
import sys
import time
from typing import Any

import msgspec

from holdfast.agent.runner import CgroupRunner
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.model import InstanceSpec
from holdfast.errors import HoldfastError
from holdfast.net.addresses import KernelAddresses
from holdfast.services.nfs.driver import NfsDriver
from holdfast.services.nfs.probe import NfsProbe


class Steps:
    def __init__(self) -> None:
        self.began = time.monotonic()
        self.taken: dict[str, float] = {}

    def step(self, name: str) -> None:
        self.taken[name] = round(time.monotonic() - self.began, 4)


class Node:
    def __init__(self, config: NodeConfig, shared: str) -> None:
        self.driver = NfsDriver(CgroupRunner(config), SystemClock(), shared, config.run_dir)
        self.addresses = KernelAddresses(config.addresses)
        self.keeper: asyncio.Task[None] | None = None

    async def start(self, spec: InstanceSpec) -> dict[str, Any]:
        """The order of the agent's worker."""
        assert spec.address is not None
        steps = Steps()
        await self.driver.start(spec, lambda: True, steps)
        await self.addresses.add(spec.address, 10)
        steps.step("address")
        await self.addresses.announce(spec.address)
        await self.driver.address_up(spec)
        steps.step("reset")
        self.keeper = asyncio.create_task(self.keep(spec))
        while problem := await NfsProbe().check(spec, timeout=1.0):
            if time.monotonic() - steps.began > 10:
                return {"error": problem}
            await asyncio.sleep(0.01)
        steps.step("healthy")
        return {"steps": steps.taken}

    async def keep(self, spec: InstanceSpec) -> None:
        assert spec.address is not None
        while True:
            await self.addresses.add(spec.address, 10)
            await self.addresses.announce(spec.address)
            await self.driver.tick(spec)
            await asyncio.sleep(1)

    async def stop(self, spec: InstanceSpec) -> dict[str, Any]:
        assert spec.address is not None
        if self.keeper:
            self.keeper.cancel()
        await self.addresses.mute(spec.address)
        await self.driver.stop(spec, 2.0)
        await self.addresses.remove(spec.address)
        return {"running": await self.driver.running()}

    async def prepare(self, spec: InstanceSpec) -> dict[str, Any]:
        return dict(await self.driver.prepare([spec]))

    async def reconfigure(self, spec: InstanceSpec) -> dict[str, Any]:
        await self.driver.reconfigure(spec)
        return {}

    async def probe(self, spec: InstanceSpec) -> dict[str, Any]:
        began = time.monotonic()
        problem = await NfsProbe().check(spec, timeout=2.0)
        return {"problem": problem, "took": time.monotonic() - began}


async def main() -> None:
    config = msgspec.json.decode(sys.argv[1], type=NodeConfig)
    node = Node(config, sys.argv[2])
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        spec = msgspec.convert(order["instance"], InstanceSpec)
        try:
            answer = await getattr(node, order["do"])(spec)
        except HoldfastError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
