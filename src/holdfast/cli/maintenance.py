"""holdfast node maintenance: free a node, work on it, and give it back."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.client import Api, part
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, find, wait_for

app = typer.Typer(no_args_is_help=True, help="Free a node of its instances, work on it, and give it back.")

Node = Annotated[str, typer.Argument(help="Id of the node.")]


@app.command()
def enter(
    node: Node,
    bring_back: Annotated[
        bool, typer.Option("--bring-back/--no-bring-back", help="What leaves returns when the maintenance ends.")
    ] = True,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Move everything off the node, live where it can be, and place nothing there. Waits until it is free."""
    api = connection.api()
    answer = api.post(f"/nodes/{part(node)}/maintenance", {"bring_back": bring_back})
    for text in answer["warnings"]:  # before the wait: what cannot leave is to be known at once
        output.warn(text)
    if wait:
        wait_for(api, "/status", _still_on(node), timeout=timeout, revision=answer["revision"])
    output.outcome(answer if as_json else {**answer, "warnings": []}, as_json=as_json)


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
    api = connection.api()
    query = {} if bring_back is None else {"bring_back": str(bring_back).lower()}
    answer = api.delete(f"/nodes/{part(node)}/maintenance", **query)
    if wait:
        instances = answer["data"].get("instances", [])
        wait_for(api, "/status", _not_back(node, instances), timeout=timeout, revision=answer["revision"])
    output.outcome(answer, as_json=as_json)


@app.command()
def status(node: Node, as_json: Json = False) -> None:
    """How far it is: what is still on the node and why, what has left, what returns."""
    api = connection.api()
    found = api.get(f"/nodes/{part(node)}")
    left = _remaining(api, node)
    if as_json:
        output.emit_json({"node": node, "state": found["state"], "maintenance": found["maintenance"],
                          "remaining": left, "returning": found["returning"]})  # fmt: skip
        return
    request = found["maintenance"]
    output.facts(
        [
            ("Node", node),
            ("State", found["state"]),
            ("Maintenance", f"asked for by {request['operator'] or 'somebody'}" if request else "none"),
            ("Moved off", ", ".join(i for i in request["moved"] if i not in left) or "nothing yet" if request else ""),
            ("Afterwards", ("it returns" if request["bring_back"] else "it stays away") if request else ""),
            ("Returning", ", ".join(found["returning"])),
        ]
    )
    if request:
        print()
        output.table(("Still here", "Why"), sorted(left.items()), empty="Nothing is on the node any more.")


def _remaining(api: Api, node: str) -> dict[str, str]:
    return _on(api.get("/status"), node)


def _on(picture: dict[str, Any], node: str) -> dict[str, str]:
    """Instance → why it is still there, of those that are to leave."""
    return {
        instance["id"]: instance["waiting"] or instance["state"]
        for instance in picture["instances"]
        if instance["node"] == node and instance["desired"] in ("started", "stopped")
    }


def _still_on(node: str) -> Callable[[Any], str]:
    def missing(picture: Any) -> str:
        return ", ".join(f"{name} to leave {node} ({why})" for name, why in sorted(_on(picture, node).items()))

    return missing


def _not_back(node: str, instances: list[str]) -> Callable[[Any], str]:
    def missing(picture: Any) -> str:
        found = [instance for name in instances if (instance := find(picture["instances"], name)) is not None]
        away = [f"{i['id']} to return to {node} ({i['waiting'] or i['state']})" for i in found if i["node"] != node]
        return ", ".join(away)

    return missing
