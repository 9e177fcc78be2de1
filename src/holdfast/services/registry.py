"""Which drivers and health probes this installation has.

The modules of the kinds are imported when they are asked for, and one that cannot be imported (a library it needs is not
installed) becomes an `UnavailableDriver`: the agent starts, serves the other kinds, and says what is missing when the first
instance of that kind is to run.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.model import ClusterSpec, InstanceSpec
from holdfast.errors import DriverError
from holdfast.ports import Clock, Driver, HealthProbe, Runner, StepRecorder
from holdfast.services.backup_gateway.cluster import BackupCluster
from holdfast.services.backup_gateway.records import Records as BackupRecords
from holdfast.services.iscsi.config import TargetGroup
from holdfast.services.s3.records import Records as S3Records

TargetGroups = Callable[[], Mapping[str, TargetGroup]]
BackupClusters = Callable[[], Mapping[str, BackupCluster]]


def drivers(
    config: NodeConfig,
    runner: Runner,
    clock: Clock,
    cluster: ClusterSpec,
    target_groups: TargetGroups,
    address_of: Callable[[str], str] = str,
    *,
    backup_records: BackupRecords,
    s3_records: S3Records,
) -> dict[str, Driver]:
    """Kind → driver, for every kind Holdfast knows. `target_groups` are iSCSI's as they are stored, by name; `address_of`
    gives the management address of a node, for live migrations; `backup_records` and `s3_records` are what those kinds
    read of the store. (Imports inside: see the text of this module.)"""

    def panel() -> Driver:
        from holdfast.services.admin_panel import PanelDriver  # noqa: PLC0415

        return PanelDriver(runner, clock, config)

    def nfs() -> Driver:
        from holdfast.services.nfs.driver import NfsDriver  # noqa: PLC0415

        return NfsDriver(runner, clock, cluster.shared_root, config.run_dir)

    def vm() -> Driver:
        from holdfast.services.vm.driver import VmDriver  # noqa: PLC0415
        from holdfast.services.vm.files import place_of  # noqa: PLC0415

        return VmDriver(place_of(config, cluster.shared_root), runner, clock, address_of=address_of)

    def iscsi() -> Driver:
        from holdfast.services.iscsi.driver import IscsiDriver  # noqa: PLC0415
        from holdfast.services.iscsi.engine import Engine  # noqa: PLC0415
        from holdfast.services.iscsi.lio import LioEngine  # noqa: PLC0415
        from holdfast.services.iscsi.reporter import Reporter  # noqa: PLC0415
        from holdfast.services.iscsi.tgt import TgtEngine  # noqa: PLC0415

        engines: dict[str, Engine] = {
            "lio": LioEngine(runner, clock),
            "tgt": TgtEngine(Path(config.run_dir), runner, clock),
        }
        reporter = Reporter(config.id, cluster.shared_root, clock)
        return IscsiDriver(config.id, engines, target_groups, config.run_dir, reporter, clock)

    def backup() -> Driver:
        from holdfast.services.backup_gateway.driver import BackupDriver  # noqa: PLC0415
        from holdfast.services.backup_gateway.probe import answers  # noqa: PLC0415

        return BackupDriver(runner, clock, backup_records, cluster.shared_root, config.run_dir, answers=answers)

    def s3() -> Driver:
        from holdfast.services.s3.driver import S3Driver  # noqa: PLC0415
        from holdfast.services.s3.warmth import require_swift  # noqa: PLC0415

        require_swift()
        return S3Driver(runner, clock, s3_records, cluster.shared_root, config.run_dir)

    makers = {"panel": panel, "nfs": nfs, "vm": vm, "iscsi": iscsi, "backup": backup, "s3": s3}
    return load_drivers(makers, runner)


def probes(
    config: NodeConfig, target_groups: TargetGroups, backup_clusters: BackupClusters, s3_records: S3Records
) -> dict[str, HealthProbe]:
    """Kind → health probe, for every kind Holdfast knows."""

    def panel() -> HealthProbe:
        from holdfast.services.admin_panel import PanelProbe  # noqa: PLC0415

        return PanelProbe(config)

    def nfs() -> HealthProbe:
        from holdfast.services.nfs.probe import NfsProbe  # noqa: PLC0415

        return NfsProbe()

    def vm() -> HealthProbe:
        from holdfast.services.vm.probe import VmProbe  # noqa: PLC0415

        return VmProbe(config.run_dir, SystemClock())

    def iscsi() -> HealthProbe:
        from holdfast.services.iscsi.probe import IscsiProbe  # noqa: PLC0415

        return IscsiProbe(config.id, target_groups)

    def backup() -> HealthProbe:
        from holdfast.services.backup_gateway.probe import BackupProbe  # noqa: PLC0415

        return BackupProbe(config.tls.ca, backup_clusters)

    def s3() -> HealthProbe:
        from holdfast.services.s3.probe import S3Probe  # noqa: PLC0415

        return S3Probe(s3_records, SystemClock())

    return load_probes({"panel": panel, "nfs": nfs, "vm": vm, "iscsi": iscsi, "backup": backup, "s3": s3})


def load_drivers(makers: dict[str, Callable[[], Driver]], runner: Runner) -> dict[str, Driver]:
    """Make each driver; one whose module cannot be imported is replaced by an UnavailableDriver."""
    made: dict[str, Driver] = {}
    for kind, make in makers.items():
        try:
            made[kind] = make()
        except ImportError as error:
            made[kind] = UnavailableDriver(kind, str(error), runner)
    return made


def load_probes(makers: dict[str, Callable[[], HealthProbe]]) -> dict[str, HealthProbe]:
    """Make each probe; one whose module cannot be imported reports every instance as unhealthy, with the reason."""
    made: dict[str, HealthProbe] = {}
    for kind, make in makers.items():
        try:
            made[kind] = make()
        except ImportError as error:
            made[kind] = UnavailableProbe(kind, str(error))
    return made


class UnavailableDriver:
    """Stands for a kind whose driver cannot be loaded here. Starts nothing and claims to know nothing."""

    def __init__(self, kind: str, missing: str, runner: Runner) -> None:
        self.kind = kind
        self._missing = missing
        self._runner = runner

    def _error(self) -> DriverError:
        return DriverError(
            f"this node cannot run services of kind {self.kind}: {self._missing}",
            "Install what is missing and restart holdfast-agent, or take the node's role away.",
        )

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        return {instance.id: str(self._error()) for instance in instances}

    async def put_away(self) -> None:
        """Confirmed only where no unit of the kind runs, like a stop."""
        await self.running()

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        raise self._error()

    async def address_up(self, instance: InstanceSpec) -> None:
        raise self._error()

    async def tick(self, instance: InstanceSpec) -> None:
        raise self._error()

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """Confirms a stop only where no unit of the kind runs: what cannot be seen must not be called stopped."""
        await self.running()

    async def reconfigure(self, instance: InstanceSpec) -> None:
        raise self._error()

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        raise self._error()

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        raise self._error()

    async def restart_hung(self, instance: InstanceSpec) -> None:
        raise self._error()

    async def running(self) -> list[str]:
        """Nothing, unless units of the kind are left from a time when the driver could be loaded: then DriverError."""
        left = [
            name
            for name in await self._runner.running()
            if name == self.kind or name.startswith((f"{self.kind}-", f"{self.kind}/"))
        ]
        if left:
            raise DriverError(
                f"units of kind {self.kind} run here ({', '.join(left)}) but its driver cannot be loaded: {self._missing}",
                "Install what is missing and restart holdfast-agent.",
            )
        return []

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """At once: it does not run."""
        return False


class UnavailableProbe:
    """Stands for a kind whose probe cannot be loaded here."""

    def __init__(self, kind: str, missing: str) -> None:
        self.kind = kind
        self._missing = missing

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        return f"{instance.id} cannot be checked from this node: {self._missing}"
