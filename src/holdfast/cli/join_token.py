"""holdfast node token, tokens, revoke-token: lines by which one machine joins, once."""

import re
import sys
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.client import part
from holdfast.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Expires = Annotated[str, typer.Option("--expires", help="How long it is good, like 30m, 1h, 2d.")]


def seconds(text: str) -> float:
    """`90s`, `30m`, `1h`, `2d`. Raises InvalidInput."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if not found:
        raise InvalidInput(f"`{text}` is no time", "Write it like 30m, 1h or 2d.")
    return float(int(found[1]) * _UNITS[found[2]])


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    """The token goes to standard output, alone on its line, for scripts; what else is to be said does not."""
    token = answer["data"]["token"] if answer["data"].get("token") else ""
    if as_json:
        output.emit_json(answer)
        return
    for warning in answer["warnings"]:
        output.warn(warning)
    if token:
        said = output.harmless(f"{answer['text']}. On the new machine: holdfast node join --token TOKEN")
        print(said, file=sys.stderr)
        print(token)
    else:
        output.outcome(answer, as_json=False)


def token(
    node: Annotated[str, typer.Argument(help="Id of the node.")], expires: Expires = "1h", as_json: Json = False
) -> None:
    """Print a join token for a node that was added before: its machine was replaced, or its certificate has expired."""
    show(connection.api().post(f"/nodes/{part(node)}/tokens", {"expires_s": seconds(expires)}), as_json=as_json)


def tokens(as_json: Json = False) -> None:
    """Join tokens that can still be used."""
    found = connection.api().get("/tokens/join")["items"]
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Token", "For node", "Good until", "Made by"),
        ((one["id"], one["node"], one["expires"], one["by"]) for one in found),
        empty="There is no join token.",
    )


def revoke(token_id: Annotated[str, typer.Argument(help="See `holdfast node tokens`.")], as_json: Json = False) -> None:
    """Make a join token worthless."""
    output.outcome(connection.api().delete(f"/tokens/join/{part(token_id)}"), as_json=as_json)


def register(app: typer.Typer) -> None:
    app.command("token")(token)
    app.command("tokens")(tokens)
    app.command("revoke-token")(revoke)
