"""holdfast explain, what-if, rebalance: what the planner thinks."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import names
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, follow
from holdfast.client import part, parts

HOW = {"live": "live", "restart": "stopped and started", "rest": "stopped, gets another home"}


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)
    app.command("what-if")(what_if)
    app.command("rebalance")(rebalance)


def explain(instance: Annotated[str, typer.Argument(help="Instance, e.g. vm/web-1.")], as_json: Json = False) -> None:
    """Why an instance is where it is, or waits: for each node the reason for or against."""
    found = connection.api().get(f"/planner/explain/{parts(instance)}")
    if as_json:
        output.emit_json(found)
        return
    output.facts(
        [
            ("Instance", found["instance"]),
            ("Node", found["node"] or "none"),
            ("Why there", found["why_there"]),
            ("Waiting", found["waiting"]),
        ]
    )
    print()
    rows = [(v["node"], v["rank"] or ("no" if v["refused"] else "-"), v["text"]) for v in found["verdicts"]]
    output.table(("Node", "Choice", "Why"), rows, empty="There is no node yet.")


def what_if(
    fail: Annotated[list[str], typer.Option("--fail", help="Nodes that fail at once, NODE[,NODE…].", metavar="NODES")],
    as_json: Json = False,
) -> None:
    """What would happen if these nodes failed: where everything goes, what does not fit, what the cluster survives then."""
    api = connection.api()
    query = "&".join(f"fail={part(name)}" for name in names(fail))
    found = api.get(f"/planner/what-if?{query}")
    if as_json:
        output.emit_json(found)
        return
    output.say(f"If {' and '.join(found['failed'])} failed:")
    rows = [(name, node, "started") for name, node in sorted(found["placements"].items())]
    rows += [(name, to, f"migrated from {at}, to make room") for name, (at, to) in sorted(found["moved"].items())]
    rows += [(name, "-", "stopped, to make room") for name in found["stopped"]]
    output.table(("Instance", "Node", "How"), rows, empty="Nothing would be moved.")
    refused(found["unplaced"])
    output.say(f"Afterwards, {found['after']['text']}.")


def refused(unplaced: dict[str, dict[str, str]]) -> None:
    """What does not fit, and for each node why."""
    if unplaced:
        print()
        rows = [(name, node, why) for name, nodes in sorted(unplaced.items()) for node, why in sorted(nodes.items())]
        output.table(("Does not fit", "Node", "Why not there"), rows, empty="")
        print()


def rebalance(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")] = False,
    live_only: Annotated[bool, typer.Option("--live-only", help="Interrupt nothing.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many moves.", min=1, max=1000)] = 20,
    force: Annotated[bool, typer.Option("--force", help="Even if the failures are not survived any more.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Even out the load of the nodes, as far as it is worth the moves, and the numbers of what is only counted."""
    api = connection.api()
    if dry_run:
        found = api.get("/planner/rebalance", limit=limit, restarts=str(not live_only).lower())
        if as_json:
            output.emit_json(found)
            return
        show_moves(found["moves"]["moves"])
        before, after = found["before"], found["after"]
        output.say(f"The fullest node is {before:.0%} above the mean, and would be {after:.0%}.")
        if found["warning"]:
            output.say(found["warning"])
        return
    answer = api.post("/planner/rebalance", {"limit": limit, "restarts": not live_only, "force": force})
    moves = answer["data"]["moves"]
    if not as_json:
        show_moves(moves)
    if wait:
        follow(api, answer, timeout=timeout)
    output.outcome(answer, as_json=as_json)


def show_moves(moves: list[dict[str, Any]]) -> None:
    rows = []
    for move in moves:
        how = HOW["live" if move["live"] else "restart"]
        worth = (f"{move['gain']:.3f}", f"{move['cost']:.3f}")
        if move["counts"]:
            here, there = move["counts"]
            worth = (f"{here} and {there} become {here - 1} and {there + 1}", "-")
        rows.append((move["instance"], move["source"], move["target"], how, *worth))
    output.table(("Instance", "From", "To", "How", "Gain", "Cost"), rows, empty="No move gains more than it costs.")
