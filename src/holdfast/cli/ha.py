"""holdfast ha: high availability of the management plane, and its pause."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import names
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, ApiEnded, Timeout, Wait, complete, follow
from holdfast.client import Api

app = typer.Typer(no_args_is_help=True)

Nodes = Annotated[list[str], typer.Option("--nodes", help="Three or five management nodes: a,b,c.", metavar="NODES")]
VirtualIp = Annotated[str, typer.Option("--virtual-ip", help="The panel's own address.", metavar="IP")]


@app.command()
def enable(
    virtual_ip: VirtualIp, nodes: Nodes, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Three or five management nodes instead of one, and an address of its own for the panel."""
    api = connection.api()
    _finish(api, api.post("/ha", {"virtual_ip": virtual_ip, "nodes": names(nodes)}), wait, timeout, as_json)


@app.command()
def update(
    nodes: Nodes = [],  # noqa: B006 - Typer wants it so
    virtual_ip: VirtualIp = "",
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Other management nodes (replace one, 3 → 5, 5 → 3), or another address."""
    api = connection.api()
    _finish(api, api.put("/ha", {"virtual_ip": virtual_ip, "nodes": names(nodes)}), wait, timeout, as_json)


@app.command()
def disable(
    keep: Annotated[str, typer.Option("--keep", help="The one node that stays the management node.")],
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Back to one management node."""
    api = connection.api()
    _finish(api, api.delete("/ha", keep=keep), wait, timeout, as_json)


@app.command()
def show(as_json: Json = False) -> None:
    """Management nodes, members of the store, the panel's address and where it is."""
    ha = connection.api().get("/ha")
    if as_json:
        output.emit_json(ha)
        return
    panel = ha["panel"] or {}
    output.facts(
        [
            ("HA", "enabled" if ha["enabled"] else "not enabled"),
            ("Virtual IP", ha["virtual_ip"]),
            ("Panel", f"{panel.get('state', 'unknown')} on {panel.get('node') or 'no node'}"),
            ("Manager", f"on {ha['manager']['node'] or 'no node'}, term {ha['manager']['term']}"),
            ("Members", "as wanted" if ha["settled"] else "being changed"),
        ]
    )
    print()
    members = {member["node"]: member for member in ha["members"]}
    output.table(
        ("Node", "Wanted", "State", "Store member", "Store endpoint"),
        (
            (
                node,
                output.yes_no(node in ha["nodes"]),
                ha["states"].get(node, "-"),
                members[node]["state"] if node in members else "-",
                members[node]["client_url"] if node in members else "-",
            )
            for node in dict.fromkeys([*ha["nodes"], *members])
        ),
        empty="There is no management node.",
    )


@app.command()
def pause(
    mode: Annotated[
        str, typer.Option("--mode", help="freeze: what ends is restarted in place; ignore: instances are left alone.")
    ] = "freeze",
    reason: Annotated[str, typer.Option("--reason", help="For the others who see it.")] = "",
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Fence, claim, place and move nothing, for work on network, store or power. Waits until every node goes along."""
    api = connection.api()
    answer = api.post("/ha/pause", {"mode": mode, "reason": reason})
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def resume(wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False) -> None:
    """End the pause."""
    api = connection.api()
    answer = api.delete("/ha/pause")
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


def _finish(api: Api, answer: dict[str, Any], wait: bool, timeout: float, as_json: bool) -> None:
    """Through its own API a node that leaves sees everything but the very end."""
    farewell = ""
    if wait:
        try:
            follow(api, answer, timeout=timeout)
        except ApiEnded as ended:
            farewell = str(ended)
    output.outcome(answer, as_json=as_json)
    if farewell:
        output.warn(farewell[:1].upper() + farewell[1:])
