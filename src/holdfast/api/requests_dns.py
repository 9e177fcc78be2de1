"""Bodies of the requests about DNS."""
# ruff: noqa: RUF012 - pydantic copies defaults

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Names, Text
from holdfast.core.dns_model import DEFAULT_TTL_S


class CreateZone(Body):
    apex: Text
    network: Text = ""
    """On which clients find the name servers; empty: `public`, else `management`."""
    hostmaster: Text = ""
    ttl_s: int = DEFAULT_TTL_S
    minimum_s: int = DEFAULT_TTL_S
    servers: Names = []
    """Further name servers: the operator's secondaries, by name."""


class AddName(Body):
    instance: Text
    """E.g. nfs/vol1."""
    name: Text


class Key(Body):
    name: Text
    secret: Annotated[str, Field(max_length=1000, repr=False)]
    """Base64."""
    algorithm: Text = "hmac-sha256"


class AddUpdateTarget(Body):
    name: Text
    server: Text
    port: int = 53
    zone: Text
    ttl_s: int = DEFAULT_TTL_S
    key: Key


class AddSecondary(Body):
    name: Text
    addresses: Names
    notify: Names = []
    """`ADDRESS[:PORT]` each; none: its addresses."""
    key: Key | None = None
