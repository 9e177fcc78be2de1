"""Driver of backup gateways (port Driver): one process per gateway, as a unit that is not strict.

The gateway listens before its address is on the node, as every server does here. What it must know stands in files of this
node's run directory, which are made from the agent's copy of the store each second: it follows the users' file and its
certificate by itself; for other settings it is started anew, once it has answered what it is being asked.
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from holdfast.core import rights
from holdfast.core.model import InstanceSpec
from holdfast.core.rights import Rights
from holdfast.errors import DriverError, HoldfastError
from holdfast.owners import give, ids_of
from holdfast.ports import Clock, Runner, StepRecorder, Unit
from holdfast.services.backup_gateway.cluster import KIND, BackupCluster, certificate_names, place_of
from holdfast.services.backup_gateway.config import GatewayConfig, parse_backend, to_bytes, users_to_bytes
from holdfast.services.backup_gateway.records import Records
from holdfast.services.cold import ColdDriver
from holdfast.services.nfs import tcp
from holdfast.services.resets import Resets
from holdfast.services.storage import SharedStorage, write_atomically
from holdfast.services.warm import NothingWarm

log = structlog.get_logger("holdfast.backup")

LISTEN_TIMEOUT_S = 20.0
"""A cold start takes about a second; slow machines get much more before it counts as failed."""
POLL_S = 0.02
RELOAD_GRACE_S = 5.0
"""So long a gateway that is started anew may finish what it is being asked."""

_RIGHTS = {"local": rights.BACKUP_FILES, "nfs": rights.BACKUP_MOUNT}


class BackupDriver(ColdDriver, NothingWarm):
    """See the module's text. `answers(ip, port)`: whether a gateway there answers at all, with a healthy back-end or not."""

    kind = KIND

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        records: Records,
        shared_root: str,
        run_dir: str,
        *,
        answers: Callable[[str, int], Awaitable[bool]],
        is_listening: Callable[[str, int], bool] = tcp.listening,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._records = records
        self._run_dir = Path(run_dir) / KIND
        self._answers = answers
        self._is_listening = is_listening
        self._resets = Resets(SharedStorage(shared_root, clock), clock)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One start, restart or stop of an instance at a time."""

    # --- start ------------------------------------------------------------------------------------------------------

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Nothing: what is to come within a second need not be kept warm."""
        return {}

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Serve, or adopt the gateway that runs. Raises DriverError, InvalidInput, ConfigError."""
        if not allowed():
            raise DriverError(f"the start of {instance.id} was abandoned", "The node may not start it any more.")
        async with self._locks[instance.id]:
            await self._resets.before_start(instance.id)
            await self._bring_up(instance)
        steps.step("server")

    async def _bring_up(self, instance: InstanceSpec) -> None:
        """With its present settings, whether or not it runs."""
        if self._write_files(instance) and instance.id in await self._runner.running():
            await self._runner.stop(instance.id, grace_s=RELOAD_GRACE_S)
        await self._runner.start(self._unit(instance))
        await self._until_listening(instance)

    def _unit(self, instance: InstanceSpec) -> Unit:
        config = str(self._directory(instance.id) / "gateway.json")
        argv = (sys.executable, "-m", "holdfast.services.backup_gateway.gateway", config)
        return Unit(instance.id, argv, strict=False, rights=self._rights(instance))

    def _rights(self, instance: InstanceSpec) -> Rights:
        """By where its back-end is. Raises DriverError."""
        return _RIGHTS.get(self._cluster(instance).backend.partition(":")[0], rights.BACKUP)

    async def _until_listening(self, instance: InstanceSpec) -> None:
        _, ip, port = place_of(instance)
        deadline = self._clock.now() + LISTEN_TIMEOUT_S
        hint = f"Its output is in {self._runner.log_path(instance.id)}."
        while not self._is_listening(ip, port):
            if instance.id not in await self._runner.running():
                raise DriverError(f"the process of {instance.id} ended before it listened", hint)
            if self._clock.now() >= deadline:
                raise DriverError(f"{instance.id} does not listen after {LISTEN_TIMEOUT_S:g} s", hint)
            await self._clock.sleep(POLL_S)

    # --- its files --------------------------------------------------------------------------------------------------

    def _write_files(self, instance: InstanceSpec) -> bool:
        """Whether anything has changed for which it must be started anew."""
        _, ip, port = place_of(instance)
        cluster = self._cluster(instance)
        try:
            return self._write(cluster, instance, self._config(cluster, instance, ip, port))
        except OSError as error:
            raise DriverError(
                f"the settings of {instance.id} cannot be written: {error}", f"Check the space of {self._run_dir}."
            ) from error

    def _cluster(self, instance: InstanceSpec) -> BackupCluster:
        name, _, _ = place_of(instance)
        cluster = self._records.clusters().get(name)
        if cluster is None:
            raise DriverError(
                f"{instance.id} belongs to the backup cluster {name}, which this node does not know",
                "It was deleted, or the store was not read yet: look at `holdfast backup list`.",
            )
        return cluster

    def _config(self, cluster: BackupCluster, instance: InstanceSpec, ip: str, port: int) -> GatewayConfig:
        directory = self._directory(instance.id)
        credentials = json.loads(self._records.unlock(cluster.credentials)) if cluster.credentials else {}
        return GatewayConfig(
            name=instance.id,
            address=ip,
            cert=str(directory / "cert.pem"),
            key=str(directory / "key.pem"),
            users=str(directory / "users.json"),
            backend=parse_backend(cluster.backend, credentials, str(directory / "mount")),
            port=port,
            append_only=cluster.append_only,
        )

    def _write(self, cluster: BackupCluster, instance: InstanceSpec, config: GatewayConfig) -> bool:
        directory = self._directory(instance.id)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)  # there are secrets in it
        owner = ids_of(self._rights(instance))
        give(owner, directory)
        names = () if cluster.certificate else certificate_names(cluster, instance)
        certificate, key = self._certificate(cluster, directory, names)
        users = sorted(self._records.users(cluster.name).values(), key=lambda user: user.name)
        for file, content in (
            ("users.json", users_to_bytes(users)),
            ("key.pem", key),
            ("cert.pem", certificate),
            ("names.json", json.dumps(names).encode()),  # last: what is written half is made anew
        ):
            _write_if_changed(directory / file, content, owner)
        return _write_if_changed(directory / "gateway.json", to_bytes(config), owner)

    def _certificate(self, cluster: BackupCluster, directory: Path, names: Sequence[str]) -> tuple[bytes, bytes]:
        """The operator's own, else one for this gateway, made once per authority."""
        if cluster.certificate:
            return cluster.certificate.encode(), self._records.unlock(cluster.certificate_key)
        try:
            present = (directory / "cert.pem").read_bytes()
            named = json.loads((directory / "names.json").read_bytes()) == list(names)
            if named and self._records.still_good(present):
                return present, (directory / "key.pem").read_bytes()
        except (FileNotFoundError, ValueError):
            log.info("a certificate is made", names=names)
        return self._records.certify(f"backup {cluster.name}", names)

    def _directory(self, instance_id: str) -> Path:
        return self._run_dir / instance_id.removeprefix(f"{KIND}/").replace("/", ":")

    # --- while it runs ----------------------------------------------------------------------------------------------

    async def address_up(self, instance: InstanceSpec) -> None:
        """Reset the connections that clients had to the address's former owner."""
        _, ip, port = place_of(instance)
        self._resets.address_up(instance.id, ip, port)

    async def tick(self, instance: InstanceSpec) -> None:
        """Bring its users and settings up to date, and remember who is connected. Never raises: what it has goes on."""
        _, ip, port = place_of(instance)
        try:
            if self._write_files(instance):
                log.info("settings changed: started anew", instance=instance.id)
                async with self._locks[instance.id]:
                    await self._restart(instance, RELOAD_GRACE_S)
        except HoldfastError as error:
            log.warning("settings not brought up to date", instance=instance.id, error=str(error))
        await self._resets.tick(instance.id, ip, port)

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """Its cluster has other nodes, or other settings. Raises DriverError, InvalidInput, ConfigError."""
        async with self._locks[instance.id]:
            await self._bring_up(instance)

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """Not one that answers and cannot reach its back-end: anew it could not either. Raises DriverError."""
        _, ip, port = place_of(instance)
        if not await self._answers(ip, port):
            async with self._locks[instance.id]:
                await self._restart(instance, 0.0)

    async def _restart(self, instance: InstanceSpec, grace_s: float) -> None:
        await self._runner.stop(instance.id, grace_s=grace_s)
        await self._bring_up(instance)

    # --- stop -------------------------------------------------------------------------------------------------------

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL; nothing with secrets is left. Needs only the instance's id."""
        async with self._locks[instance.id]:
            await self._runner.stop(instance.id, grace_s=grace_s)
            self._resets.forget(instance.id)
            for name in ("gateway.json", "users.json", "key.pem", "cert.pem", "names.json"):
                (self._directory(instance.id) / name).unlink(missing_ok=True)

    async def running(self) -> list[str]:
        return [name for name in await self._runner.running() if name.startswith(f"{KIND}/")]

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """A restart of the driver's own is no end."""
        while True:
            await self._runner.wait_exit(instance.id)
            async with self._locks[instance.id]:
                if instance.id not in await self._runner.running():
                    return False


def _write_if_changed(path: Path, content: bytes, owner: tuple[int, int]) -> bool:
    if path.exists() and path.read_bytes() == content:
        give(owner, path)
        return False
    write_atomically(path, content, owner=owner)
    return True
