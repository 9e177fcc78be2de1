"""Bodies of the requests about iSCSI."""
# ruff: noqa: RUF012 - pydantic copies defaults

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Names, Text

Bytes = Annotated[int, Field(ge=0, le=1 << 60)]


class GroupNodes(Body):
    nodes: Names
    portals: dict[Text, Names] = {}
    """Node → its own addresses on which it serves, `ADDRESS[:PORT]` each. None: those on the group's networks."""


class CreateGroup(GroupNodes):
    name: Text
    networks: Names = ["public"]
    engine: Text = ""
    """`lio` or `tgt`; empty: the best that all the nodes have."""
    iqn: Text = ""
    initiators: Names = []


class ChangeAcl(Body):
    add: Names = []
    remove: Names = []


class ChapAccount(Body):
    user: Text
    secret: Annotated[str, Field(max_length=1000, repr=False)]


class SetChap(Body):
    chap: ChapAccount
    """What initiators must prove to know."""
    mutual: ChapAccount | None = None
    """What the target proves to know."""


class CreateVolume(Body):
    name: Text
    size_bytes: Bytes = 0
    device: Text = ""
    """A block device that all nodes see, instead of a new file of `size_bytes`."""


class AttachVolume(Body):
    group: Text
    lun: int | None = None


class ResizeVolume(Body):
    size_bytes: Bytes
