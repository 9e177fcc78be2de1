"""Bodies of the requests about S3."""
# ruff: noqa: RUF012 - pydantic copies defaults

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Names, Text
from holdfast.services.s3.config import NAME_DEVICES, OBJECT_DEVICES, REGION


class CreateS3Cluster(Body):
    name: Text
    nodes: Names
    domain: Text
    """Clients find the gateways under it, and under any name below it (BUCKET.DOMAIN)."""
    gateway_addresses: Names = []
    """Ranges, each `IP` or `FIRST-LAST`; one address per node is taken. None: from the end of the network."""
    server_addresses: Names = []
    """The same for name and object servers, one address each."""
    network: Text = "public"
    """Of the clients."""
    server_network: Text = ""
    """Of name and object servers; empty: `storage`, or `management` where there is none."""
    name_servers: Annotated[int, Field(ge=0, le=NAME_DEVICES)] = 0
    """0: by the number of nodes."""
    object_servers: Annotated[int, Field(ge=0, le=OBJECT_DEVICES)] = 0
    region: Text = REGION
    force: bool = False


class AddS3Nodes(Body):
    nodes: Names
    gateway_addresses: Names = []
    server_addresses: Names = []
    name_servers: Annotated[int, Field(ge=0, le=NAME_DEVICES)] = 0
    """So many from now on; 0: as many as there are."""
    object_servers: Annotated[int, Field(ge=0, le=OBJECT_DEVICES)] = 0
    force: bool = False


class RebalanceS3(Body):
    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    force: bool = False


class CreateS3User(Body):
    name: Text


class RotateS3User(Body):
    keep: bool = False
    """The old keys work on."""
