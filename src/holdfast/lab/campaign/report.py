"""How a campaign is told: a line per fault while it runs, and a table at the end."""

import sys
from collections.abc import Iterable, Mapping
from typing import Protocol

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.lab.campaign.record import Outcome, Row, Turn, spread

WIDTH = 150
"""Columns when the output is no terminal."""


class Teller(Protocol):
    """Where the campaign is told while it runs."""

    def step(self, text: str) -> None:
        """What is under way."""
        ...

    def turn(self, turn: Turn) -> None:
        """A fault is over."""
        ...

    def close(self) -> None: ...


class Lines:
    """A line per fault; on a terminal also a spinner with what is under way."""

    def __init__(self, stream_is_stderr: bool, wanted: int) -> None:
        stream = sys.stderr if stream_is_stderr else sys.stdout
        self._console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
        self._spinner = self._console.status("") if stream.isatty() else None
        self._wanted = wanted
        self._begun = False

    def step(self, text: str) -> None:
        if self._spinner is not None:
            self._spinner.update(f"{text} …")
            self._spinner.start()
        elif not self._begun:
            self._console.print(f"{text} …", markup=False)

    def turn(self, turn: Turn) -> None:
        if not self._begun:
            self._begun = True
            self._console.print(_line("fault", "what", "whom", "out", "answered", "whole", "bold"))
        number = f"{turn.number}/{self._wanted}"
        answered = f"{turn.recovery_s:.1f} s" if turn.stalls else "-"
        whole = f"{turn.whole_s:.1f} s" if turn.whole else "never"
        self._console.print(_line(number, turn.text, turn.victim, _out(turn), answered, whole))
        for text in turn.violations:
            self._console.print(Text(f"        VIOLATION: {text}", style="bold red"))

    def close(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()


def _line(number: str, what: str, whom: str, out: str, answered: str, whole: str, style: str = "") -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, expand=False)
    for width, justify in ((8, "right"), (26, "left"), (36, "left"), (46, "left"), (8, "right"), (7, "right")):
        table.add_column(width=width, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_row(*(Text(cell, style=style) for cell in (number, what, whom, out, answered, whole)))
    return table


def _out(turn: Turn) -> str:
    """`panel 0.7 s, vol1 1.6 s; claimed by P1`."""
    words = [
        ", ".join(f"{name} {max(s.seconds for s in found):.1f} s" for name, found in turn.stalls.items()) or "nothing"
    ]
    words += [f"claimed by {', '.join(turn.proofs)}"] if turn.proofs else []
    words += [f"also went off: {', '.join(turn.bystanders)}"] if turn.bystanders else []
    words += [turn.missed] if turn.missed else []
    return "; ".join(words)


def table(outcome: Outcome) -> Table:
    """A row per kind of fault."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in (
        "fault",
        "count",
        "answered again, s",
        "whole again, s",
        "acknowledged",
        "lost",
        "INV-1 looks",
        "violations",
    ):
        made.add_column(name, justify="left" if name == "fault" else "right", no_wrap=True)
    for row in (*outcome.rows(), outcome.total()):
        made.add_row(*cells(row), style="bold" if row.kind == "all" else "")
    return made


def cells(row: Row) -> list[str]:
    return [
        row.kind,
        str(len(row.recoveries_s)),
        _spread(row.recoveries_s),
        _spread(row.wholes_s),
        str(row.acked),
        str(row.lost),
        str(row.looks),
        str(row.violations),
    ]


def _spread(values: Iterable[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in spread(tuple(values)))


def verdict(outcome: Outcome) -> Iterable[RenderableType]:
    """What there is to say below the table."""
    for readback in outcome.readbacks:
        said = readback.client
        yield (
            f"{readback.volume}: {readback.acked} writes acknowledged, {len(readback.lost)} not on the shared storage; "
            f"read through the volume: {said.get('lost', '?')} lost, {said.get('torn', '?')} torn; " + _more(said)
        )
    yield f"INV-1: {outcome.samples} looks at all processes, at most {outcome.longest_gap_s * 1000:.0f} ms apart"
    count, bystanders = len(outcome.turns), sum(len(turn.bystanders) for turn in outcome.turns)
    yield (
        f"{count} faults in {outcome.seconds / 60:.1f} min ({outcome.seconds / max(1, count):.1f} s each), "
        f"seed {outcome.seed}; {bystanders} nodes went off unprovoked, {outcome.returned} returned from quarantine"
    )
    for text in outcome.problems:
        yield Text(text, style="bold red")
    if outcome.evidence:
        yield f"The state at each violation is kept in {outcome.evidence}"
    yield (
        Text("Nothing lost, nothing twice, everything back.", style="bold green")
        if outcome.ok
        else Text("FAILED", "bold red")
    )


def _more(said: Mapping[str, object]) -> str:
    """What only clients of its kind can tell."""
    if "stale" in said:
        return f"{said['stale']} stale; {said['switches']} changes of path"
    opens, met = said.get("opens", "?"), said.get("servers_met", "?")
    return f"lock kept: {said.get('lock_kept', '?')}; {opens} files opened, {met} servers met"


def show(outcome: Outcome) -> None:
    """The whole end."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print()
    console.print(table(outcome))
    console.print()
    for part in verdict(outcome):
        console.print(part, soft_wrap=True)
