"""holdfast rule: which instances run where, together, apart, and in which order they start."""

from typing import Annotated

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import names
from holdfast.cli.output import Json
from holdfast.client import part
from holdfast.errors import InvalidInput

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the rule.")]


@app.command()
def create(
    name: Name,
    kind: Annotated[str, typer.Argument(help="node-affinity, affinity, anti-affinity or start-order.")],
    instances: Annotated[list[str], typer.Argument(help="Instances, e.g. vm/web-1 vm/web-2.")],
    nodes: Annotated[
        list[str], typer.Option("--nodes", help="node-affinity: n1=2,n2=1; the higher is preferred.", metavar="NODES")
    ] = [],  # noqa: B006
    after: Annotated[
        list[str], typer.Option("--after", help="start-order: those that are to be ready before.", metavar="INSTANCES")
    ] = [],  # noqa: B006
    by: Annotated[
        str, typer.Option("--by", help="anti-affinity: node, or domain for different failure domains.")
    ] = "node",
    prefer: Annotated[bool, typer.Option("--prefer", help="A preference; else it is never broken.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if the failures are not survived any more.")] = False,
    as_json: Json = False,
) -> None:
    """Lay down a rule. One that cannot be kept is refused with the reason."""
    body = {
        "name": name,
        "kind": kind,
        "instances": names(instances),
        "nodes": _ranked(names(nodes)),
        "after": names(after),
        "strict": not prefer,
        "by": by,
        "force": force,
    }
    output.outcome(connection.api().post("/rules", body), as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All rules, in words."""
    found = connection.api().get("/rules")
    if as_json:
        output.emit_json(found)
        return
    rows = ((each["rule"]["id"], each["rule"]["kind"], each["text"], each["note"]) for each in found)
    output.table(("Rule", "Kind", "Says", "Note"), rows, empty="There is no rule yet.")


@app.command()
def delete(name: Name, as_json: Json = False) -> None:
    """Forget a rule. Nothing moves because of that."""
    output.outcome(connection.api().delete(f"/rules/{part(name)}"), as_json=as_json)


def _ranked(texts: list[str]) -> dict[str, int]:
    """`n1=2`, `n2` → {n1: 2, n2: 1}. Raises InvalidInput."""
    found: dict[str, int] = {}
    for text in texts:
        node, equals, number = text.partition("=")
        if equals and not number.lstrip("-").isdigit():
            raise InvalidInput(f"`{text}` is not a node with its preference", "Write it like n1=2.")
        found[node] = int(number) if equals else 1
    return found
