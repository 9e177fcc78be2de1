"""`holdfast demo`: a real cluster on this machine, and a node that dies while clients watch."""

import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from holdfast.cli import output
from holdfast.lab.client import LabClient
from holdfast.lab.demo.display import WIDTH, Display, Plain, Terminal, time_line, verdict
from holdfast.lab.demo.play import Outcome, Play, refuse_if_not_possible
from holdfast.lab.layout import DEFAULT_NAME

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None, subcommand_metavar="")
FEWEST_NODES = 4


@app.callback()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself; status 0 only if every check held.")] = False,
    nodes: Annotated[int, typer.Option(help="Number of nodes.", min=FEWEST_NODES, max=16)] = FEWEST_NODES,
    lab: Annotated[str, typer.Option(envvar="HOLDFAST_LAB", help="Name of the lab it runs in.")] = DEFAULT_NAME,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
) -> None:
    """A real cluster on this machine, with the panel and an NFS volume; the node that carries both loses its power."""
    stage = LabClient(lab)
    refuse_if_not_possible(stage)
    display: Display = Plain() if plain or not sys.stdout.isatty() else Terminal()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: everything is taken down
    try:
        outcome = Play(stage, display, nodes).perform()
    except BaseException:
        display.close()
        _down(stage)
        raise
    display.close()
    _tell(outcome)
    failed = [check.name for check in outcome.checks if not check.ok]
    if not once:
        _what_next(stage, outcome.node)
    else:
        _down(stage, keep_logs=bool(failed))
    if failed:
        print(f"\nFailed: {'; '.join(failed)}.", file=sys.stderr)
        raise typer.Exit(1)


def _down(lab: LabClient, keep_logs: bool = False) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing may be left behind
    logs = Path(tempfile.mkdtemp(prefix="holdfast-demo-")) if keep_logs else None
    lab.down(save_logs=logs)
    if logs is not None:
        print(f"Logs of all nodes: {logs}", file=sys.stderr)


def _tell(outcome: Outcome) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    leaders = "the manager and etcd" if outcome.leads_store else "the manager"
    console.print(
        f"\n[bold]Power loss of {outcome.node}[/], which carried panel and volume, and where {leaders} led:\n"
    )
    console.print(time_line(outcome.moments))
    console.print()
    console.print(verdict(outcome.checks))


def _what_next(lab: LabClient, node: str) -> None:
    port = lab.options.panel_port
    option = "" if lab.name == DEFAULT_NAME else f" --lab {lab.name}"
    output.say(
        "\nThe cluster goes on. Open its panel in a browser on this machine (its certificate is the cluster's own):\n"
    )
    output.facts(
        [
            ("panel", f"https://127.0.0.1:{port}/"),
            ("from afar", f"ssh -L {port}:127.0.0.1:{port} THIS-MACHINE, then the same URL"),
            ("user", "admin"),
            ("password", lab.password),
        ]
    )
    output.say("\nTry, and watch the panel:\n")
    command = f"{_command()} lab{option}"
    for words, what in (
        (f"exec {node} -- holdfast status", "the cluster at a glance"),
        (f"exec {node} -- holdfast incident show", "what just happened, step by step"),
        ("fail n2 --how power", "another power loss"),
        ("fail n3 --how network", "all its cables pulled"),
        ("fail n3 --how freeze", "a hung kernel"),
        ("heal n3", "undo all faults of a node"),
        ("down", "take it all down"),
    ):
        output.say(f"  {command} {words:<36} {what}")


def _command() -> str:
    """This program as it can be typed here: by its name if that leads to it, else by its path."""
    own = Path(sys.argv[0]).absolute()
    if shutil.which("holdfast") == str(own):
        return "holdfast"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)
