"""Bodies of requests about drills."""

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Names, Text


class BeginDrill(Body):
    nodes: Annotated[Names, Field(default_factory=list)]
    """Only these are looked at; empty: all."""
    instance: Text = ""
    """A test instance that fails over for real; empty: nothing is touched."""
    kill: bool = False
    """Its process is ended, instead of a planned move away and back."""
