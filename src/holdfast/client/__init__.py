"""The client of a Holdfast cluster's API (docs/api.md). The command line uses it too.

    from holdfast.client import Client

    with_typed_answers = Client("https://10.77.0.100:8443", ca="ca.crt", token="holdfast_…")

`Api` is what stands below it: plain JSON, for who counts milliseconds at start.
"""

from typing import TYPE_CHECKING, Any

from holdfast.client.errors import ApiRefused, ApiUnreachable
from holdfast.client.paths import part, parts
from holdfast.client.streams import ServerEvent
from holdfast.client.transport import Api

if TYPE_CHECKING:
    from holdfast.client.typed import Client

__all__ = ["Api", "ApiRefused", "ApiUnreachable", "Client", "ServerEvent", "part", "parts"]


def __getattr__(name: str) -> Any:
    """The typed client needs the model of the whole cluster, which a command that prints JSON need not load."""
    if name != "Client":
        raise AttributeError(name)
    from holdfast.client.typed import Client  # noqa: PLC0415

    return Client
