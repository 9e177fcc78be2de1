"""Bodies of the requests about accounts and API tokens."""

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Text

Secret = Annotated[str, Field(max_length=4096)]


class CreateUser(Body):
    name: Text
    role: Text
    """viewer, operator or admin."""
    password: Secret


class ChangeUser(Body):
    """What is left out stays."""

    role: Text | None = None
    disabled: bool | None = None


class CreateToken(Body):
    name: Text
    scopes: Annotated[list[Text], Field(max_length=50)]
    """Of read, operate, operate:<kind>, administer, metrics: what the owner's role holds."""
    days: int | None = 90
    """How long it lives; null: for ever."""
    owner: Text = ""
    """Whose it is: said by root; everybody else makes their own."""
