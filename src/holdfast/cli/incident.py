"""holdfast incident: what happened, step by step."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", help="At most so many, the newest first.", min=1, max=1000)]

PROOFS = {
    "P1": "power fencing, verified off",
    "P2": "rebooted",
    "P3": "released by its agent",
    "P4": "watchdog and waiting time",
    "P5": "confirmed by an operator",
    "P6": "evicted at the storage",
}


@app.command("list")
def list_(limit: Limit = 20, as_json: Json = False) -> None:
    """Incidents, the newest first."""
    incidents = connection.api().get("/incidents", limit=limit)["items"]
    if as_json:
        output.emit_json(incidents)
        return
    output.table(
        ("Incident", "State", "Node", "Began", "Proof", "Affected", "Recovered", "Took"),
        (
            (
                incident["id"],
                incident["state"],
                incident["node"],
                incident["wall"],
                _proof(incident["proof"]),
                len(incident["affected"]),
                len(incident["recovered"]),
                _took(incident),
            )
            for incident in incidents
        ),
        empty="There was no incident.",
    )


@app.command()
def show(
    incident_id: Annotated[str, typer.Argument(help="Id, or `last`.", metavar="INCIDENT")] = "last",
    as_json: Json = False,
) -> None:
    """One incident: every step with its time, the proof used, what still waits and why."""
    incident = connection.api().get(f"/incidents/{part(incident_id)}")
    if as_json:
        output.emit_json(incident)
        return
    output.facts(
        [
            ("Incident", f"{incident['id']} ({incident['state']})"),
            ("Node", incident["node"]),
            ("Began", incident["wall"]),
            ("Proof", _proof(incident["proof"])),
            ("Affected", ", ".join(incident["affected"])),
            ("Recovered", ", ".join(incident["recovered"])),
        ]
    )
    print()
    output.table(
        ("Seconds", "Step", "Instance", "What"),
        ((f"{step['at']:+.3f}", step["name"], step["instance"] or "-", step["text"]) for step in incident["steps"]),
        empty="No step is recorded.",
    )
    for instance, why in incident["waiting"].items():
        print(f"\n{instance} waits: {why}")


@app.command()
def events(limit: Limit = 50, as_json: Json = False) -> None:
    """The cluster's history, the newest event first."""
    found = connection.api().get("/events", limit=limit)["items"]
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("When", "Severity", "Event", "Node", "Instance", "What"),
        ((e["wall"], e["severity"], e["kind"], e["node"] or "-", e["instance"] or "-", e["text"]) for e in found),
        empty="Nothing has happened yet.",
    )


def _proof(proof: str | None) -> str:
    return f"{proof} ({PROOFS.get(proof, '?')})" if proof else "-"


def _took(incident: dict[str, Any]) -> str:
    return f"{incident['steps'][-1]['at']:.1f} s" if incident["steps"] and incident["state"] == "closed" else "-"
