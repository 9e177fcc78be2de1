"""`holdfast plan`: the planner alone, asked about a cluster in a file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import output
from holdfast.clock import SystemClock
from holdfast.core.admission import Guarantee, survives
from holdfast.core.make_room import RoomProblem, RoomSolution
from holdfast.core.plan import Plan, Planner
from holdfast.core.view import View
from holdfast.errors import InvalidInput
from holdfast.planning.cpsat import CpSatSolver
from holdfast.sim.still import NOW, load_view, placed_first

BAD_INPUT = 2
SHOWN_NODES = 8
"""For so many nodes the table says why an instance does not fit; JSON names all."""

Unplaced = Mapping[str, Mapping[str, str]]


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


def plan(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Nodes, instances and rules, as in scenarios: YAML or JSON.")
    ],
    fail: Annotated[str, typer.Option(metavar="NODE[,NODE…]", help="Where would everything go if these failed?")] = "",
    tolerate: Annotated[
        int | None, typer.Option(metavar="N", help="Is there room for everything, whichever N nodes fail?")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Ask the planner about a cluster in a file; nothing is done. Instances without a node are placed first.

    Status 0: it has answered, whatever the answer; 2: bad input."""
    try:
        if bool(fail) == (tolerate is not None):
            raise InvalidInput("plan needs either --fail or --tolerate", "For example: --fail node1.")
        if tolerate is not None and tolerate < 0:
            raise InvalidInput(f"--tolerate is {tolerate}", "Allowed: 0 or more.")
        view = load_view(file)
        failed = _nodes(fail, view)
    except InvalidInput as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    if tolerate is None:
        _fail(view, failed, as_json)
    else:
        _tolerate(view, tolerate, as_json)


def _nodes(text: str, view: View) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text else []
    for name in names:
        if name not in view.nodes:
            raise InvalidInput(f"--fail: there is no node {name!r}", f"There are: {', '.join(list(view.nodes)[:40])}.")
    return list(dict.fromkeys(names))


# --- these fail ---------------------------------------------------------------------------------------------------------


def _fail(view: View, failed: list[str], as_json: bool) -> None:
    solver = _Solver()
    settled, first = placed_first(view)
    planner = Planner(settled, NOW)
    answer = planner.evacuate(failed)
    if answer.shortfall:
        answer = planner.evacuate(failed, solver)
    elapsed_ms = solver.elapsed_ms()
    placements = {**first, **{name: to for name, (_, to) in answer.moved.items() if name in first}}
    placements = {name: node for name, node in placements.items() if node not in failed and name not in answer.stopped}
    placements |= {**answer.placements, **answer.homes}
    if as_json:
        output.emit_json(
            {
                "placements": dict(sorted(placements.items())),
                "unplaced": _unplaced(answer.unplaced),
                "moved": {name: {"from": source, "to": to} for name, (source, to) in answer.moved.items()},
                "stopped": list(answer.stopped),
                "elapsed_ms": elapsed_ms,
            }
        )
        return
    _show(settled, answer, placements, first)
    output.say(f"\nPlanned in {elapsed_ms:g} ms.")


def _show(view: View, answer: Plan, placements: Mapping[str, str], first: Mapping[str, str]) -> None:
    def source(name: str) -> str:
        placement = view.instances[name].placement
        return placement.node if placement and name not in first else "-"

    rows = [(name, source(name), node, view.instances[name].spec.priority) for name, node in placements.items()]
    rows.sort(key=lambda row: (-row[3], row[0]))
    output.table(["instance", "from", "to", "priority"], rows, empty="Nothing has to be placed.")
    if answer.moved:
        output.say("\nThese are migrated first, in this order, to make room:")
        moves = [(name, *way) for name, way in answer.moved.items()]
        output.table(["instance", "from", "to"], moves, empty="")
    if answer.stopped:
        output.say(f"\nThese are stopped to make room, and wait: {', '.join(answer.stopped)}.")
    _show_unplaced(answer.unplaced)


# --- any of them fail ---------------------------------------------------------------------------------------------------


def _tolerate(view: View, tolerate: int, as_json: bool) -> None:
    solver = _Solver()
    settled, _ = placed_first(view)
    answer = _with_waiting(settled, survives(settled, tolerate, solver, now=NOW))
    elapsed_ms = solver.elapsed_ms()
    if as_json:
        output.emit_json(
            {
                "survivable": answer.survivable,
                "worst": list(answer.worst),
                "unplaced": _unplaced(answer.unplaced),
                "checked": answer.checked,
                "complete": answer.complete,
                "elapsed_ms": elapsed_ms,
            }
        )
        return
    output.say(_verdict(answer))
    _show_unplaced(answer.unplaced)
    output.say(f"\nChecked {answer.checked:,} sets in {elapsed_ms:g} ms.")


def _with_waiting(view: View, answer: Guarantee) -> Guarantee:
    """What finds no room even now is not there after a failure either."""
    if not answer.waiting:
        return answer
    reasons = Planner(view, NOW).evacuate(()).unplaced
    waiting = {name: reasons.get(name, {}) for name in answer.waiting}
    return replace(answer, survivable=False, unplaced={**waiting, **answer.unplaced})


def _verdict(answer: Guarantee) -> str:
    count = "any node" if answer.tolerate == 1 else f"any {answer.tolerate} nodes"
    if answer.survivable:
        sure = "" if answer.complete else ", as far as was checked"
        return f"There is room for everything, whichever fail: {count}{sure}."
    return f"There is not room for everything if {count} may fail. Worst: {', '.join(answer.worst) or 'none needs to fail'}."


# --- both ---------------------------------------------------------------------------------------------------------------


def _unplaced(unplaced: Unplaced) -> list[dict[str, object]]:
    return [{"instance": name, "reasons": dict(reasons)} for name, reasons in unplaced.items()]


def _show_unplaced(unplaced: Unplaced) -> None:
    if not unplaced:
        return
    output.say("\nThese would wait:")
    rows: list[tuple[str, str, str]] = []
    for name, reasons in unplaced.items():
        shown = list(reasons.items())[:SHOWN_NODES]
        rows += [("" if number else name, node, reason) for number, (node, reason) in enumerate(shown)]
        if len(reasons) > len(shown):
            rows.append(("", f"{len(reasons) - len(shown)} more", "likewise (--json names all)"))
    output.table(["instance", "node", "why not"], rows, empty="")


class _Solver:
    """The real solver, and how long everything takes since it was made, without loading its library."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._solver = CpSatSolver()
        self._began = self._clock.now()
        self._loaded = False

    def solve(self, problem: RoomProblem) -> RoomSolution:
        if not self._loaded:
            before = self._clock.now()
            self._solver.solve(RoomProblem((), ()))
            self._began += self._clock.now() - before
            self._loaded = True
        return self._solver.solve(problem)

    def elapsed_ms(self) -> float:
        return round((self._clock.now() - self._began) * 1000, 3)
