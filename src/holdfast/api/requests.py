"""Bodies of the requests. Unknown fields are refused, so that a typo cannot silently do nothing."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=1000)]
Names = Annotated[list[Text], Field(max_length=1000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Login(Body):
    name: Text
    password: Annotated[str, Field(max_length=4096)]


class Password(Body):
    password: Annotated[str, Field(max_length=4096)]
    old: Annotated[str, Field(max_length=4096)] = ""
    """The caller's present password; not needed through the Unix socket."""


class FenceDevice(Body):
    name: Text
    type: Text
    options: dict[Text, Text] = {}


class AddNode(Body):
    id: Text
    roles: Names
    addresses: dict[Text, Text]
    failure_domain: Text = ""
    fence_devices: Annotated[list[FenceDevice], Field(max_length=20)] = []
    token_s: Annotated[float, Field(ge=0, le=7 * 24 * 3600)] = 0.0
    """More than 0: a join token that is good for so many seconds, instead of a bundle."""


class ChangeNode(Body):
    """What is left out stays."""

    slots: Annotated[dict[Text, int | None], Field(max_length=20)] = {}
    """Kind → how many instances of it the node carries at most; null: no limit."""
    failure_domain: Text | None = None
    force: bool = False


class FenceDevices(Body):
    devices: Annotated[list[FenceDevice], Field(max_length=20)]
    keep: Names = []
    """Names of present devices that stay as they are, before these."""


class ConfirmDead(Body):
    reason: Text = ""
    yes: bool = False


class EnterMaintenance(Body):
    bring_back: bool = True
    """What is moved off returns when the maintenance ends."""
    force: bool = False
    """Also where the cluster survives less during it than it is to."""


class Rebalance(Body):
    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    restarts: bool = True
    """Also move what must be stopped and started for it."""
    force: bool = False
    """Also where the cluster then survives less than it is to."""


class Pause(Body):
    mode: Text = "freeze"
    """`freeze`, or `ignore`: agents leave instances alone altogether."""
    reason: Text = ""


class SetShutdownPolicy(Body):
    policy: Text


class Move(Body):
    node: Text = ""
    """Empty: wherever the planner likes, but not where it is."""
    live: bool = False
    """Without an interruption; virtual machines only."""


class EnableHa(Body):
    virtual_ip: Text
    nodes: Names


class UpdateHa(Body):
    virtual_ip: Text = ""
    nodes: Names = []


class UpdateCluster(Body):
    dead_node_power_on: bool


class CreateNfsCluster(Body):
    nodes: Names
    addresses: Names
    """Pool of service addresses, each `IP` or `FIRST-LAST`."""
    network: Text = "public"


class CreateVolume(Body):
    name: Text
    size: Text = ""
    address: Text = ""
    access: Names = []
    """Rules `CLIENTS[,rw|ro|none][,root_squash|no_root_squash|all_squash]`; none: everybody, rw, root_squash."""


class VolumeAccess(Body):
    access: Names
