"""holdfast task: what operations have set going, and how far it is."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.client import part

app = typer.Typer(no_args_is_help=True, help="What was set going, and how far it is.")

Task = Annotated[str, typer.Argument(help="Id, or `last`.", metavar="TASK")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", help="At most so many.", min=1, max=1000)] = 20,
    running: Annotated[bool, typer.Option("--running", help="Only those that have not ended.")] = False,
    as_json: Json = False,
) -> None:
    """Tasks, the newest first."""
    found = connection.api().get("/tasks", limit=limit, running=str(running).lower())["items"]
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Task", "Kind", "State", "Done", "Begun", "By", "What", "Waits for"),
        (
            (t["id"], t["kind"], t["state"], _percent(t), t["wall"], t["by"], t["text"], t["detail"] or "-")
            for t in found
        ),
        empty="There is no task.",
    )


@app.command()
def show(task: Task = "last", as_json: Json = False) -> None:
    """One task with its steps."""
    found = connection.api().get(f"/tasks/{part(task)}")
    if as_json:
        output.emit_json(found)
        return
    output.facts(
        [
            ("Task", f"{found['id']} ({found['kind']})"),
            ("What", found["text"]),
            ("State", found["state"]),
            ("Done", _percent(found)),
            ("Begun", f"{found['wall']} by {found['by']}"),
            ("Ended", found["ended"]),
            ("Waits for" if found["state"] == "running" else "Why", found["detail"]),
            ("Cancel", f"holdfast task cancel {found['id']}" if found["cancellable"] else ""),
        ]
    )
    if found["steps"]:
        print()
        rows = ((s["aim"], s["subject"] or "-", s["state"], s["detail"] or "-") for s in found["steps"])
        output.table(("Aim", "Of", "State", "What is missing"), rows, empty="")


@app.command()
def cancel(task: Task, as_json: Json = False) -> None:
    """Break it off: a move that has not begun is withdrawn, a maintenance ended, a copy of disks or a drill stopped."""
    output.outcome(connection.api().post(f"/tasks/{part(task)}/cancel"), as_json=as_json)


def _percent(task: dict[str, Any]) -> str:
    return f"{100 * task['progress']:.0f} %"
