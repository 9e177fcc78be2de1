"""Bodies of the requests about joining, certificates and the authority."""

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body

Expiry = Annotated[float, Field(ge=60, le=7 * 24 * 3600)]
"""Seconds."""


class MakeToken(Body):
    expires_s: Expiry = 3600.0


class Join(Body):
    id: Annotated[str, Field(max_length=64)]
    secret: Annotated[str, Field(max_length=128, repr=False)]
    request: Annotated[str, Field(max_length=4096)]
    """A certificate request (PEM)."""
    sealing_key: Annotated[str, Field(max_length=64)]
