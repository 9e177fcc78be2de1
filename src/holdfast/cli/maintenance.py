"""holdfast node maintenance: free a node, work on it, and give it back."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.cli.planning import HOW
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete, follow
from holdfast.client import part

app = typer.Typer(no_args_is_help=True, help="Free a node of its instances, work on it, and give it back.")

Node = Annotated[str, typer.Argument(help="Id of the node.")]


@app.command()
def enter(
    node: Node,
    precheck: Annotated[bool, typer.Option("--precheck", help="Only say what would happen; nothing is done.")] = False,
    bring_back: Annotated[
        bool, typer.Option("--bring-back/--no-bring-back", help="What leaves returns when the maintenance ends.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Also where the rest survives less than it is to.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Move everything off the node, live where it can be, and place nothing there. Waits until it is free."""
    api = connection.api()
    if precheck:
        _foresee(api.get(f"/nodes/{part(node)}/maintenance/precheck"), as_json=as_json)
        return
    answer = api.post(f"/nodes/{part(node)}/maintenance", {"bring_back": bring_back, "force": force})
    for text in answer["warnings"]:  # before the wait: what cannot leave is to be known at once
        output.warn(text)
    if wait:
        follow(api, answer, timeout=timeout)
    output.outcome(answer if as_json else {**answer, "warnings": []}, as_json=as_json)


def _foresee(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.emit_json(found)
        return
    rows = [(move["instance"], move["to"], HOW[move["how"]]) for move in found["moves"]]
    rows += [(name, "stays", why) for name, why in sorted(found["stays"].items())]
    output.table(("Instance", "Goes to", "How, or why not"), rows, empty="Nothing is on the node.")
    output.say(f"During the maintenance, {found['during']['text']}.")
    for text in found["warnings"]:
        output.warn(text)


@app.command()
def cancel(
    node: Node,
    bring_back: Annotated[
        bool, typer.Option("--bring-back/--no-bring-back", help="What has left already returns, or stays where it is.")
    ] = True,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Break it off: nothing more leaves, and what has left returns."""
    _end(node, bring_back, wait=wait, timeout=timeout, as_json=as_json)


@app.command("exit")
def exit_(
    node: Node,
    bring_back: Annotated[
        bool | None, typer.Option("--bring-back/--no-bring-back", help="Other than what was said at its begin.")
    ] = None,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """End the maintenance, at any time. Waits until what was moved off has returned."""
    _end(node, bring_back, wait=wait, timeout=timeout, as_json=as_json)


def _end(node: str, bring_back: bool | None, *, wait: bool, timeout: float, as_json: bool) -> None:
    api = connection.api()
    query = {} if bring_back is None else {"bring_back": str(bring_back).lower()}
    answer = api.delete(f"/nodes/{part(node)}/maintenance", **query)
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def status(node: Node, as_json: Json = False) -> None:
    """How far it is: what is still on the node and why, what has left, what returns."""
    api = connection.api()
    found = api.get(f"/nodes/{part(node)}")
    picture = api.get("/status")
    left, request = _on(picture, node), found["maintenance"]
    gone = [name for name in request["moved"] if name not in left] if request else []
    if as_json:
        progress = {"moved": len(gone), "of": len(gone) + len(left)} if request else None
        output.emit_json({"node": node, "state": found["state"], "maintenance": request, "progress": progress,
                          "remaining": left, "returning": found["returning"]})  # fmt: skip
        return
    output.facts(
        [
            ("Node", node),
            ("State", found["state"]),
            ("Maintenance", f"asked for by {request['operator'] or 'somebody'}" if request else "none"),
            ("Progress", f"{len(gone)} of {len(gone) + len(left)} moved off" if request else ""),
            ("Moved off", ", ".join(gone) or "nothing yet" if request else ""),
            ("Afterwards", ("it returns" if request["bring_back"] else "it stays away") if request else ""),
            ("Returning", ", ".join(found["returning"])),
        ]
    )
    if request:
        print()
        rows = [
            (i["id"], i["state"], i["moving_to"] or "-", i["detail"], left[i["id"]]) for i in _remaining(picture, node)
        ]
        columns = ("Still here", "State", "Goes to", "Progress", "Why")
        output.table(columns, rows, empty="Nothing is on the node any more.")


def _remaining(picture: dict[str, Any], node: str) -> list[dict[str, Any]]:
    """What is to leave the node and has not."""
    return [
        instance
        for instance in picture["instances"]
        if instance["node"] == node and instance["desired"] in ("started", "stopped")
    ]


def _on(picture: dict[str, Any], node: str) -> dict[str, str]:
    """Instance → why it is still there, of those that are to leave."""
    return {instance["id"]: instance["waiting"] or instance["state"] for instance in _remaining(picture, node)}
