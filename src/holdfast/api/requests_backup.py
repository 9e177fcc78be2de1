"""Bodies of the requests about backup clusters."""
# ruff: noqa: RUF012 - pydantic copies defaults

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Names, Text
from holdfast.services.backup_gateway.cluster import PORT

Secret = Annotated[str, Field(max_length=32768)]
Credentials = dict[Text, Secret]


class CreateBackupCluster(Body):
    name: Text
    nodes: Names
    domain: Text
    addresses: Names = []
    """`ADDRESS` or `FIRST-LAST` each; none: chosen from the end of the network."""
    backend: Annotated[str, Field(max_length=1000)]
    credentials: Annotated[Credentials, Field(repr=False)] = {}
    network: Text = "public"
    port: int = PORT
    append_only: bool = False
    certificate: Annotated[Secret, Field(repr=False)] = ""
    certificate_key: Annotated[Secret, Field(repr=False)] = ""
    """The operator's own, PEM; none: the cluster's authority certifies each gateway."""


class UpdateBackupCluster(Body):
    """What is left out stays as it is."""

    append_only: bool | None = None
    credentials: Annotated[Credentials | None, Field(repr=False)] = None
    certificate: Annotated[Secret, Field(repr=False)] = ""
    certificate_key: Annotated[Secret, Field(repr=False)] = ""


class AddBackupNodes(Body):
    nodes: Names
    addresses: Names = []
    """More ranges than the cluster has."""


class CreateBackupUser(Body):
    name: Text
    append_only: bool = False


class ChangeBackupUser(Body):
    append_only: bool
