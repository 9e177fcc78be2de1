"""The live display of the demonstration on a terminal; plain lines elsewhere."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.lab.demo.story import Check, Moment

WIDTH = 110
"""Columns when the output is no terminal."""
_STATE = {
    "up": "green",
    "suspect": "yellow",
    "joining": "yellow",
    "claimed": "bold red",
    "on": "green",
    "off": "bold red",
}
_WHAT = {
    "lab": "bold red",
    "detection": "yellow",
    "manager": "yellow",
    "proof": "magenta",
    "claim": "magenta",
    "restart": "cyan",
    "client": "bold green",
    "incident": "dim",
}


@dataclass(slots=True)
class Scene:
    """Everything that is shown at one moment."""

    title: str
    status: dict[str, Any] = field(default_factory=dict)
    power: dict[str, str] = field(default_factory=dict)
    clients: list[tuple[str, str, bool]] = field(default_factory=list)
    """(client, what it sees, all is well)."""
    moments: Sequence[Moment] = ()


class Display(Protocol):
    """Where the story is told."""

    def step(self, text: str) -> None:
        """Something begins that takes a while."""
        ...

    def scene(self, scene: Scene) -> None:
        """How things are now."""
        ...

    def close(self) -> None:
        """The live picture ends; what is told afterwards stays."""
        ...


class Plain:
    """A line per step, and one per moment of the time line as soon as it is known. For files and pipes."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._title = ""

    def step(self, text: str) -> None:
        print(f"{text} …", flush=True)

    def scene(self, scene: Scene) -> None:
        if scene.title != self._title:
            self._title = scene.title
            self.step(scene.title)
        for moment in scene.moments:
            if moment.text not in self._told:
                self._told.add(moment.text)
                print(f"  {moment.ms:7.0f} ms  {moment.what:<9}  {moment.text}", flush=True)

    def close(self) -> None:
        sys.stdout.flush()


class Terminal:
    """A spinner per step, then one picture that is drawn over and over."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._live: Live | None = None
        self._spinner = self.console.status("")
        self._spinning = ""

    def step(self, text: str) -> None:
        self._tick_off()
        self._spinning = text
        self._spinner.update(f"{text} …")
        self._spinner.start()

    def _tick_off(self) -> None:
        if self._spinning:
            self._spinner.stop()
            self.console.print(f"[green]✓[/] {self._spinning}")
            self._spinning = ""

    def scene(self, scene: Scene) -> None:
        self._tick_off()
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True, vertical_overflow="crop")
            self._live.start()
        self._live.update(render(scene), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._spinning:
            self._spinner.stop()
            self._spinning = ""


def render(scene: Scene) -> Group:
    """One picture."""
    parts: list[RenderableType] = [Text(scene.title, style="bold"), Text(), _nodes(scene), Text(), _clients(scene)]
    if scene.moments:
        parts += [Text(), time_line(scene.moments)]
    return Group(*parts)


def _nodes(scene: Scene) -> Table:
    table = _table("node", "power", "the cluster says", "carries", "")
    leader = scene.status.get("manager", {}).get("node", "")
    running = {i["id"]: i for i in scene.status.get("instances", ())}
    for node in scene.status.get("nodes", ()):
        power = scene.power.get(node["id"], "?")
        carried = [f"{name} ({running[name]['state']})" for name in node["instances"] if name in running]
        role = "leads" if node["id"] == leader else ""
        table.add_row(node["id"], _styled(power), _styled(node["state"]), ", ".join(carried), Text(role, style="dim"))
    return table


def _clients(scene: Scene) -> Table:
    table = _table("client", "sees")
    for name, text, well in scene.clients:
        table.add_row(name, Text(text, style="green" if well else "bold red"))
    return table


def time_line(moments: Sequence[Moment]) -> Table:
    """Milliseconds after the fault, what kind of step, what happened."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for moment in moments:
        table.add_row(f"{moment.ms:.0f} ms", Text(moment.what, style=_WHAT.get(moment.what, "")), moment.text)
    return table


def verdict(checks: Sequence[Check]) -> Table:
    """The summary table."""
    table = _table("", "check", "seen")
    for check in checks:
        mark = Text("✓", style="green") if check.ok else Text("✗", style="bold red")
        table.add_row(mark, Text(check.name, style="" if check.ok else "bold red"), check.text)
    return table


def _styled(word: str) -> Text:
    return Text(word, style=_STATE.get(word, ""))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
