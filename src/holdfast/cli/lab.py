"""`holdfast lab`: real nodes on this one machine, to be killed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from holdfast.cli import output
from holdfast.errors import NotFound
from holdfast.lab.client import LabClient, Progress, require_root
from holdfast.lab.fault import HOWS
from holdfast.lab.layout import CLIENT, DEFAULT_NAME
from holdfast.lab.options import LabOptions, parse_clock_offset, parse_size

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_COMMAND = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_given = {"name": DEFAULT_NAME}
Node = Annotated[str, typer.Argument(help="A node: n1, n2, …")]


@app.callback()
def _lab(
    lab: Annotated[
        str, typer.Option(envvar="HOLDFAST_LAB", help="The lab's name, where there are several.")
    ] = DEFAULT_NAME,
) -> None:
    _given["name"] = lab


def _client() -> LabClient:
    require_root()
    return LabClient(_given["name"])


@app.command()
def up(
    nodes: Annotated[int, typer.Option(help="Number of nodes.")] = 4,
    profile: Annotated[str, typer.Option(help="Timing profile: default or fast.")] = "default",
    power_fencing: Annotated[bool, typer.Option(help="Nodes have their BMC as fence device.")] = True,
    watchdog: Annotated[bool, typer.Option(help="Nodes have a watchdog.")] = True,
    ha: Annotated[bool, typer.Option(help="Highly available management on the first three nodes.")] = True,
    cluster: Annotated[bool, typer.Option(help="Create the cluster; else the nodes stay bare.")] = True,
    password: Annotated[
        str, typer.Option(envvar="HOLDFAST_LAB_PASSWORD", help="Admin password; generated if not given.")
    ] = "",
    clock_offset: Annotated[
        list[str] | None, typer.Option(help="NODE=SECONDS its clock is ahead, e.g. n2=+3600. Repeatable.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="NODE=CORES:MIB it believes to have, e.g. n1=4:4096. Repeatable.")
    ] = None,
    emulated: Annotated[
        list[str] | None, typer.Option(help="NODE that is an emulated machine with Debian's kernel. Repeatable.")
    ] = None,
    panel_port: Annotated[int, typer.Option(help="Port of 127.0.0.1 that leads to the panel; 0: none.")] = 0,
    as_json: output.Json = False,
) -> None:
    """Start a lab and bring a cluster up in it. Ctrl-C takes everything down again."""
    options = LabOptions(
        nodes=nodes,
        profile=profile,
        power_fencing=power_fencing,
        watchdog=watchdog,
        ha=ha,
        cluster=cluster,
        password=password,
        clock_offsets=dict(parse_clock_offset(text) for text in clock_offset or ()),
        sizes=dict(parse_size(text) for text in size or ()),
        emulated=emulated or [],
        panel_port=panel_port,
    )
    lab = _client()
    with _progress() as tell:
        lab.up(options, tell)
    _show(lab, as_json)


@app.command()
def status(as_json: output.Json = False) -> None:
    """Nodes, faults in force, the panel's address and password."""
    _show(_client(), as_json)


@app.command()
def fail(
    node: Node,
    how: Annotated[str, typer.Option(help="; ".join(f"{name}: {text}" for name, text in HOWS.items()))],
    network: Annotated[str, typer.Option(help="For network: management, public or bmc; default all.")] = "",
    to: Annotated[str, typer.Option(help="For network: drop only what goes from NODE to this node.")] = "",
    loss: Annotated[int, typer.Option(help="For network: percentage of packets that are lost.")] = 100,
    silent: Annotated[bool, typer.Option("--silent", help="For network: the interface keeps its carrier.")] = False,
    mode: Annotated[str, typer.Option(help="For bmc: unreachable, slow, lie, stuck, refuses.")] = "unreachable",
    unit: Annotated[str, typer.Option(help="For hang and kill: a daemon or unit, e.g. holdfast-panel.")] = "",
    as_json: output.Json = False,
) -> None:
    """Break something. `heal` mends it."""
    details = {"network": network, "to": to, "loss": loss, "silent": silent, "mode": mode, "unit": unit}
    began = _client().fail(node, how, **details)
    if as_json:
        output.emit_json({"node": node, "how": how, "boottime": began})
    else:
        output.say(f"Done to {node}: {HOWS[how]}. Undo it: holdfast lab heal {node}")


@app.command()
def heal(node: Node, as_json: output.Json = False) -> None:
    """Undo every fault on a node, and switch it on."""
    when = _client().heal(node)
    if as_json:
        output.emit_json({"node": node, "boottime": when})
    else:
        output.say(f"{node} is on and whole again.")


@app.command("exec", context_settings=_COMMAND)
def execute(
    node: Node,
    command: Annotated[list[str] | None, typer.Argument(help="After --: the command; a shell if none.")] = None,
) -> None:
    """Run a command in a node, with this terminal; its exit status is the command's."""
    _run(node, command)


@app.command(context_settings=_COMMAND)
def client(
    command: Annotated[list[str] | None, typer.Argument(help="After --: the command; a shell if none.")] = None,
) -> None:
    """Run a command in the client host, which is outside the cluster."""
    _run(CLIENT, command)


@app.command()
def log(
    node: Node,
    unit: Annotated[str, typer.Argument(help="holdfast-agent, holdfast-guard, etcd, …; none: list them.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
) -> None:
    """A node's log, also while the node is off."""
    lab = _client()
    if not unit:
        found = sorted(lab.log_file(node, "x").parent.glob("*.log"))
        output.table(["log", "bytes"], [(p.stem, p.stat().st_size) for p in found], empty=f"{node} has no logs yet.")
        return
    path = lab.log_file(node, unit)
    if not path.exists():
        raise NotFound(f"{node} has no log of `{unit}`", f"List them: holdfast lab log {node}")
    if follow:
        os.execvp("tail", ["tail", "-n", "50", "-F", str(path)])  # noqa: S606 - nothing is left to do here
    sys.stdout.write(path.read_text(errors="replace"))


@app.command()
def events(as_json: output.Json = False) -> None:
    """What the lab did and saw: faults, power, watchdogs. Times are seconds of the machine's boot-time clock."""
    found = _client().events()
    if as_json:
        output.emit_json(found)
        return
    rows = [(f"{e['boottime']:.3f}", e["kind"], e.get("node", ""), e.get("detail", "")) for e in found]
    output.table(["boottime", "event", "node", "detail"], rows, empty="Nothing happened yet.")


@app.command()
def campaign(
    faults: Annotated[int, typer.Option(help="Number of faults.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same faults in the same order.")] = 1,
    nodes: Annotated[int, typer.Option(help="Number of nodes, if no lab is up yet.", min=3)] = 4,
    volumes: Annotated[int, typer.Option(help="Number of NFS volumes with a client each.", min=1, max=8)] = 3,
    profile: Annotated[str, typer.Option(help="Timing profile, if no lab is up yet.")] = "fast",
    only: Annotated[list[str] | None, typer.Option(help="Only faults of this kind. Repeatable.")] = None,
    as_json: output.Json = False,
) -> None:
    """Random faults while clients write; then every acknowledged write is read back. Status 0 only if all is well.

    Strikes the lab that is up (and leaves it up), or one of its own.
    """
    from holdfast.cli.campaign import run  # noqa: PLC0415 - only this command needs it

    options = LabOptions(nodes=nodes, profile=profile)
    raise typer.Exit(run(_client(), options, faults, seed, volumes, only or [], as_json=as_json))


@app.command()
def down() -> None:
    """Take the lab down and delete its nodes' disks. Harmless if it is down already."""
    _client().down()
    output.say("The lab is down; nothing of it is left.")


# --- helpers ---------------------------------------------------------------------------------------------------------


def _run(host: str, command: list[str] | None) -> None:
    words = command or []
    process = _client().popen(host, words[words[:1] == ["--"] :] or ["/bin/bash"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's
    raise typer.Exit(process.wait())


@contextmanager
def _progress() -> Iterator[Progress]:
    """A spinner with the present step on a terminal, else a line per step; always on standard error."""
    if not sys.stderr.isatty():
        yield lambda step: print(f"{step} …", file=sys.stderr, flush=True)
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    console = Console(stderr=True, highlight=False)
    done: list[str] = []

    def tell(step: str) -> None:
        if done:
            console.print(f"[green]✓[/] {done[-1]}")
        done.append(step)
        spinner.update(f"{step} …")

    with console.status("") as spinner:
        yield tell
    if done:
        console.print(f"[green]✓[/] {done[-1]}")


def _show(lab: LabClient, as_json: bool) -> None:
    hosts, options = lab.status(), lab.options
    forwarded = f"https://127.0.0.1:{options.panel_port}/" if options.panel_port else ""
    if as_json:
        panel = {"url": lab.panel_url, "forwarded": forwarded, "user": "admin", "password": lab.password}
        output.emit_json(
            {
                "name": lab.name,
                "state_dir": str(lab.state_dir),
                "options": options.to_json() | {"password": lab.password},
                "panel": panel if options.cluster else None,
                "hosts": hosts,
            }
        )
        return
    rows = [_row(host) for host in hosts]
    columns = ["host", "power", "boots", "management", "public", "bmc", "watchdog", "faults"]
    output.table(columns, rows, empty="The lab has no hosts.")
    if options.cluster:
        output.say("")
        here = f", here {forwarded}" if forwarded else ""
        output.facts([("panel", lab.panel_url + here), ("user", "admin"), ("password", lab.password)])
        output.say(
            f"\nTry: holdfast lab exec n1 -- holdfast status   ·   holdfast lab fail {options_hint(options)} --how power"
        )


def options_hint(options: LabOptions) -> str:
    """A node to break: the last one is never the only management node."""
    return f"n{options.nodes}"


def _row(host: dict[str, Any]) -> tuple[str, ...]:
    addresses, dog = host["addresses"], host.get("watchdog")
    feeding = "" if dog is None else f"armed, {dog['timeout_s']} s" if dog["armed"] else "idle"
    first = [addresses.get(name, [""])[0] for name in ("management", "public")]
    return (host["name"], host["power"], str(host["boots"]), *first, host["bmc"], feeding, ", ".join(host["faults"]))
