"""Driver of the parts of S3 clusters (port Driver): one unit per part, with Swift's servers and daemons in it.

A server listens before its address is on the node. What it must know stands in files of this node's run directory, made from
the cluster's record in the agent's copy of the store, and brought up to date each second: Swift looks at its rings, and a
gateway at its keys, by itself. Only a part that must let go of devices is started anew for it.
"""

import contextlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from holdfast.core import rights
from holdfast.core.model import Exclusivity, InstanceSpec
from holdfast.errors import DriverError, HoldfastError
from holdfast.ports import Clock, Runner, StepRecorder, Unit
from holdfast.services.cold import ColdDriver
from holdfast.services.nfs import tcp
from holdfast.services.resets import Resets
from holdfast.services.s3 import conf, warmth
from holdfast.services.s3.config import KIND, S3Cluster, from_instance, is_gateway
from holdfast.services.s3.devices import PartDirectory
from holdfast.services.s3.records import Keys, Records
from holdfast.services.s3.rings import ring_files
from holdfast.services.storage import SharedStorage, write_atomically
from holdfast.services.warm import NothingWarm

log = structlog.get_logger("holdfast.s3")

PROGRAM = "holdfast.services.s3.inside.program"
STORAGE_TIMEOUT_S = 5.0
LISTEN_TIMEOUT_S = 30.0
"""A cold start takes about a second; several at once on a slow machine get much more before one counts as failed."""
POLL_S = 0.02
WARM_S = 60.0
"""What was in memory is still there so much later."""
MOST_WORKERS = 8
"""Processes of a gateway: each uses one processor at most."""


class S3Driver(ColdDriver, NothingWarm):
    """See the module's text. `shared_root` is the shared storage, `run_dir` a private directory of this node."""

    kind = KIND

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        records: Records,
        shared_root: str,
        run_dir: str,
        *,
        program: Sequence[str] = (sys.executable, "-m", PROGRAM),
        is_listening: Callable[[str, int], bool] = tcp.listening,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._records = records
        self._storage = SharedStorage(shared_root, clock)
        self._run_dir = Path(run_dir) / KIND
        self._program = tuple(program)
        self._is_listening = is_listening
        self._resets = Resets(self._storage, clock)
        self._allowed: dict[str, Callable[[], bool]] = {}
        self._settled: dict[str, S3Cluster] = {}
        """Instance → the record whose devices it has."""
        self._written: dict[str, tuple[S3Cluster, Keys]] = {}
        """Instance → what its files were made from last."""
        self._warm_until = 0.0
        self._restarting: defaultdict[str, int] = defaultdict(int)

    # --- start ------------------------------------------------------------------------------------------------------

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Have Swift in memory where something of it could come to."""
        if instances and self._clock.now() >= self._warm_until:
            self._warm_until = self._clock.now() + WARM_S
            warmth.warm()
        return {}

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Serve, or adopt what runs. Raises DriverError, InvalidInput, ConfigError."""
        cluster, _ = self._of(instance)
        self._allowed[instance.id] = allowed
        if is_gateway(from_instance(instance).part):
            await self._resets.before_start(instance.id)
        if instance.id in await self._runner.running():
            self._write_files(instance, cluster)
        else:
            await self._start(instance)
        await self._until_listening(instance)
        steps.step("server")

    async def _start(self, instance: InstanceSpec) -> None:
        cluster, part = self._of(instance)
        allowed = self._allowed.get(instance.id, lambda: False)
        if part in cluster.servers:
            await self._storage.check(timeout=STORAGE_TIMEOUT_S)
            _ask(allowed, instance)
            directory = PartDirectory(self._storage.root, cluster, part)

            def ready() -> None:
                directory.make()
                directory.give()
                self._note(instance, cluster, directory.take())

            await self._storage.run(ready, timeout=STORAGE_TIMEOUT_S, what=f"preparing {directory.devices}")
        self._write_files(instance, cluster)
        _ask(allowed, instance)
        argv = (*self._program, str(self._directory(instance) / "program.json"))
        strict = instance.exclusivity is Exclusivity.STRICT
        await self._runner.start(Unit(instance.id, argv, strict=strict, allowed=allowed, rights=rights.S3))

    async def _until_listening(self, instance: InstanceSpec) -> None:
        cluster, part = self._of(instance)
        wanted = conf.ports(cluster, part)
        deadline = self._clock.now() + LISTEN_TIMEOUT_S
        polls = 0
        while instance.address and not all(self._is_listening(instance.address.ip, port) for port in wanted):
            polls += 1
            if polls % 10 == 0 and instance.id not in await self._runner.running():
                raise DriverError(f"the program of {instance.id} ended before it listened", self._log_hint(instance.id))
            if self._clock.now() > deadline:
                raise DriverError(
                    f"{instance.id} does not listen after {LISTEN_TIMEOUT_S:g} s", self._log_hint(instance.id)
                )
            await self._clock.sleep(POLL_S)

    # --- its files --------------------------------------------------------------------------------------------------

    def _write_files(self, instance: InstanceSpec, cluster: S3Cluster) -> None:
        """Raises DriverError, ConfigError."""
        part = from_instance(instance).part
        keys = self._records.keys(cluster) if is_gateway(part) else {}
        if self._written.get(instance.id) == (cluster, keys):
            return
        directory = self._directory(instance)
        place = self._place(instance, cluster)
        address = instance.address.ip if instance.address else ""
        program = conf.program(cluster, part, place, address=address, workers=_workers())
        files: dict[str, bytes] = {
            **ring_files(cluster),
            "swift.conf": conf.swift_conf(cluster).encode(),
            "program.json": msgspec.json.encode(program),
            **{name: text.encode() for name, text in conf.files(cluster, part, place).items()},
        }
        if is_gateway(part):
            files["keys.json"] = json.dumps(keys).encode()
        try:
            for made in (self._run_dir, directory.parent):
                made.mkdir(parents=True, exist_ok=True)
            for made in (directory, directory / "cache"):
                made.mkdir(exist_ok=True)
                made.chmod(0o700)
                os.chown(made, cluster.uid, cluster.gid)
            for name, content in files.items():
                _write_if_changed(directory / name, content, cluster)
        except OSError as error:
            raise DriverError(
                f"the settings of {instance.id} cannot be written: {error}", f"Check the space of {self._run_dir}."
            ) from error
        self._written[instance.id] = (cluster, keys)

    def _place(self, instance: InstanceSpec, cluster: S3Cluster) -> conf.Place:
        directory = str(self._directory(instance))
        part = from_instance(instance).part
        devices = ""
        if part in cluster.servers:
            devices = str(PartDirectory(self._storage.root, cluster, part).devices)
        return conf.Place(directory, directory, devices, f"{directory}/keys.json")

    # --- while it runs ----------------------------------------------------------------------------------------------

    async def address_up(self, instance: InstanceSpec) -> None:
        """Reset the connections that clients of a gateway had to the address's former owner. (Gateways find out about
        name and object servers by themselves: `inside/backend.py`.)"""
        cluster, part = self._of(instance)
        if instance.address is not None and is_gateway(part):
            self._resets.address_up(instance.id, instance.address.ip, cluster.gateway_port)

    async def tick(self, instance: InstanceSpec) -> None:
        """Bring rings, keys and devices up to date. Never raises: what it has goes on."""
        try:
            cluster, part = self._of(instance)
            self._write_files(instance, cluster)
            if part in cluster.servers:
                await self._bring_devices(instance, cluster, part)
            elif instance.address is not None and is_gateway(part):
                await self._resets.tick(instance.id, instance.address.ip, cluster.gateway_port)
        except HoldfastError as error:
            log.warning("not brought up to date", instance=instance.id, error=str(error))

    async def _bring_devices(self, instance: InstanceSpec, cluster: S3Cluster, part: str) -> None:
        """Let go of devices that are another part's now, take those that have become this one's."""
        if self._settled.get(instance.id) == cluster:
            return
        directory = PartDirectory(self._storage.root, cluster, part)
        what = f"looking at {directory.devices}"
        if await self._storage.run(directory.too_many, timeout=STORAGE_TIMEOUT_S, what=what):
            log.info("started anew to let go of devices", instance=instance.id)
            await self._restart(instance, grace_s=1.0)
        else:
            missing = await self._storage.run(directory.take, timeout=STORAGE_TIMEOUT_S, what=what)
            self._note(instance, cluster, missing)

    def _note(self, instance: InstanceSpec, cluster: S3Cluster, missing: frozenset[str]) -> None:
        if not missing:
            self._settled[instance.id] = cluster

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """What a part needs to know is in the cluster's record, not in its specification. Raises DriverError."""
        cluster, _ = self._of(instance)
        self._write_files(instance, cluster)

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """Kill it and start it again in place, if it still may run here. Raises DriverError."""
        await self._restart(instance, grace_s=0.0)

    async def _restart(self, instance: InstanceSpec, *, grace_s: float) -> None:
        self._restarting[instance.id] += 1
        try:
            await self._runner.stop(instance.id, grace_s=grace_s)
            await self._start(instance)
        finally:
            self._restarting[instance.id] -= 1
        await self._until_listening(instance)

    # --- stop -------------------------------------------------------------------------------------------------------

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL; returns when no process of it is left. Needs only the instance's id."""
        await self._runner.stop(instance.id, grace_s=grace_s)
        self._resets.forget(instance.id)
        for kept in (self._allowed, self._settled, self._written, self._restarting):
            kept.pop(instance.id, None)
        (self._directory(instance) / "keys.json").unlink(missing_ok=True)

    async def running(self) -> list[str]:
        return [name for name in await self._runner.running() if name.startswith(f"{KIND}/")]

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """A restart of the driver's own is no end."""
        while True:
            await self._runner.wait_exit(instance.id)
            if not self._restarting.get(instance.id):
                return False
            await self._clock.sleep(POLL_S)

    # --- small things -----------------------------------------------------------------------------------------------

    def _of(self, instance: InstanceSpec) -> tuple[S3Cluster, str]:
        """Raises DriverError, InvalidInput."""
        config = from_instance(instance)
        cluster = self._records.cluster(config.cluster)
        if instance.exclusivity is Exclusivity.STRICT and instance.address and config.part not in cluster.servers:
            raise DriverError(
                f"{instance.id} is no part of its cluster any more", "It is being removed: nothing is to be done."
            )
        return cluster, config.part

    def _directory(self, instance: InstanceSpec) -> Path:
        return self._run_dir / instance.id.removeprefix(f"{KIND}/")

    def _log_hint(self, name: str) -> str:
        path = self._runner.log_path(name)
        with contextlib.suppress(OSError):
            lines = [line for line in Path(path).read_text(errors="replace").splitlines()[-50:] if "Error" in line]
            if lines:
                return f"Its log {path} ends with: {lines[-1]}"
        return f"Look at its log {path}."


def _ask(allowed: Callable[[], bool], instance: InstanceSpec) -> None:
    if not allowed():
        raise DriverError(f"the start of {instance.id} was abandoned", "This node may not run it any more.")


def _workers() -> int:
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // 2))


def _write_if_changed(path: Path, content: bytes, cluster: S3Cluster) -> None:
    """Readable by the part alone: most of these hold a secret."""
    if path.exists() and path.read_bytes() == content:
        return
    write_atomically(path, content, owner=(cluster.uid, cluster.gid))
