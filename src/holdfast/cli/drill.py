"""holdfast drill: find out before it is needed whether a failover would work."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, options, output, wait
from holdfast.cli.output import Json
from holdfast.cli.wait import Timeout, Wait
from holdfast.client import part
from holdfast.errors import HoldfastError

app = typer.Typer(invoke_without_command=True)

TIMEOUT_S = 900.0
ORDER = {"failed": 0, "warning": 1, "ok": 2}


class DrillFailed(HoldfastError):
    """A check of the drill failed: a failover would not work."""


@app.callback()
def drill(
    context: typer.Context,
    node: Annotated[list[str] | None, typer.Option("--node", help="Only these nodes; may be repeated.")] = None,
    instance: Annotated[
        str,
        typer.Option("--instance", help="A test instance that fails over for real: moved away and back.", metavar="ID"),
    ] = "",
    kill: Annotated[
        bool, typer.Option("--kill", help="End the process of --instance by force, instead of a move.")
    ] = False,
    follow: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Check fence devices, watchdogs, addresses, storage, DNS, room and the store. Nothing is disturbed, unless --instance
    names what may fail over. Exit status 1 if a check failed."""
    if context.invoked_subcommand is not None:
        return
    api = connection.api()
    body = {"nodes": options.names(node or []), "instance": instance, "kill": kill}
    begun = api.post("/drills", body)
    if not follow:
        wait.complete(api, begun, wait=False, timeout=timeout, as_json=as_json)
        return
    path = f"/drills/{part(begun['task'])}"
    try:
        wait.follow(api, begun, timeout=timeout)
    except wait.TaskFailed:
        _print(api.get(path), as_json=as_json)  # what it has found until then
        raise
    found = api.get(path)
    _print(found, as_json=as_json)
    if found["grade"] == "failed":
        failed = sum(check["grade"] == "failed" for check in found["drill"]["checks"])
        raise DrillFailed(
            f"{failed} check{'s' if failed > 1 else ''} failed", "Do what stands beside each of them, then drill again."
        )


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The last drills, newest first."""
    items = connection.api().get("/drills")["items"]
    if as_json:
        output.emit_json(items)
        return
    rows = [
        (one["drill"]["id"], one["drill"]["wall"], one["drill"]["operator"], one["drill"]["state"], one["grade"])
        for one in items
    ]
    output.table(("Drill", "Begun", "By", "State", "Worst"), rows, empty="No drill was made yet.")


@app.command()
def show(
    drill_id: Annotated[str, typer.Argument(help="Id of the drill; `last` is the newest.")] = "last",
    as_json: Json = False,
) -> None:
    """One drill with all its checks."""
    _print(connection.api().get(f"/drills/{part(drill_id)}"), as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.emit_json(found)
        return
    drill = found["drill"]
    checks = sorted(drill["checks"], key=lambda check: ORDER[check["grade"]])
    rows = [(check["grade"], check["section"], check["about"] or "-", check["text"]) for check in checks]
    output.table(("", "Section", "About", "What was seen"), rows, empty="Nothing was looked at yet.")
    if drill["steps"]:
        print()
        steps = [(f"{step['at']:.2f} s", step["name"], step["text"]) for step in drill["steps"]]
        output.table(("At", "Step", "What happened"), steps, empty="")
    print()
    counts = {grade: sum(check["grade"] == grade for check in checks) for grade in ("ok", "warning", "failed")}
    said = ", ".join(f"{count} {grade}" for grade, count in counts.items())
    why = found["task"]["detail"] if drill["state"] == "running" and found["task"] else drill["why"]
    state = drill["state"] + (f" ({why})" if why else "")
    took = f" after {drill['elapsed_s']:.1f} s" if drill["elapsed_s"] else ""
    output.say(f"Drill {drill['id']}: {state}{took}: {said}.")
    for check in checks:
        if check["advice"]:
            output.say(f"  {check['section']} {check['about']}: {check['advice']}".replace("  :", ":"))
