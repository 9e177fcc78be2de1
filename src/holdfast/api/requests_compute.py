"""Bodies of the requests about the compute cluster, virtual machines and rules."""
# ruff: noqa: RUF012 - pydantic copies defaults

from typing import Annotated, Any, Literal

from pydantic import Field

from holdfast.api.requests import Body, Names, Text

Cores = Annotated[float, Field(ge=0, le=1024)]
Mib = Annotated[int, Field(ge=0, le=1 << 30)]
Bytes = Annotated[int, Field(ge=1, le=1 << 60)]
Xml = Annotated[str, Field(max_length=1 << 20)]
Priority = Annotated[int, Field(ge=0, le=1000)]
Hang = Annotated[float, Field(gt=2, le=3600)]


class CreateCompute(Body):
    nodes: Names
    tolerate: int = 1
    ha: bool = True
    reserve_cpu: Cores = 0.0
    reserve_memory_mib: Mib = 512
    bridges: dict[Text, Text] = {}
    """Network → Linux bridge that joins guests to it, of the same name on every node."""


class ChangeCompute(Body):
    """Null: as it is."""

    nodes: Names | None = None
    tolerate: int | None = None
    reserve_cpu: Cores | None = None
    reserve_memory_mib: Mib | None = None
    rebalance: Text | None = None
    bridges: dict[Text, Text] = {}
    force: bool = False


class Policies(Body):
    """What a machine does when something happens to it. Null: the default, or as it is."""

    on_power_off: Literal["stop", "restart"] | None = None
    heartbeat: Literal["none", "agent", "port"] | None = None
    hang_s: Hang | None = None
    on_hang: Literal["reset", "ignore"] | None = None
    on_storage_loss: Literal["restart", "ignore"] | None = None
    storage_loss_s: Hang | None = None

    def policies(self) -> dict[str, Any]:
        """Those that were given."""
        found = {name: getattr(self, name) for name in Policies.model_fields}
        return {name: value for name, value in found.items() if value is not None}


class NewMachine(Policies):
    """What a new machine and an imported one are asked for alike."""

    priority: Priority = 500
    ha: bool = True
    preemptible: bool = False
    started: bool = True
    node: Text = ""
    force: bool = False
    """Also where the guarantee would be broken."""


class CreateMachine(NewMachine):
    name: Text
    cpu: Cores
    memory_mib: Mib
    disks: Names = []
    copy_disks: bool = False
    """The images are copied to the machine's own directory; else they are used where they are."""
    sizes: Annotated[list[Bytes], Field(max_length=20)] = []
    """Empty disks, in bytes."""
    networks: Names = []
    kernel: Text = ""
    initrd: Text = ""
    cmdline: Annotated[str, Field(max_length=4096)] = ""


class ImportMachine(NewMachine):
    xml: Xml


class ChangeMachine(Policies):
    cpu: Cores | None = None
    memory_mib: Mib | None = None
    priority: Priority | None = None
    ha: bool | None = None
    preemptible: bool | None = None
    force: bool = False

    def changes(self) -> dict[str, Any]:
        names = ("cpu", "memory_mib", "priority", "ha", "preemptible")
        found = {name: getattr(self, name) for name in names}
        return {**{name: value for name, value in found.items() if value is not None}, **self.policies()}


class DeleteDisks(Body):
    paths: Names


class CreateRule(Body):
    name: Text
    kind: Text
    instances: Names
    nodes: dict[Text, int] = {}
    after: Names = []
    strict: bool = True
    by: Text = "node"
    """anti-affinity: `node`, or `domain`: not even in one failure domain."""
    force: bool = False


class SetState(Body):
    state: Text
    force: bool = False


class Lock(Body):
    reason: Text = ""
