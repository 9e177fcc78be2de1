"""holdfast service: whatever runs, of any kind."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.cli.top import instance_table
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete
from holdfast.client import Api, part, parts
from holdfast.errors import InvalidInput

app = typer.Typer(no_args_is_help=True)

Service = Annotated[str, typer.Argument(help="KIND/NAME, e.g. nfs/vol1.")]
Instance = Annotated[str, typer.Argument(help="Instance, e.g. nfs/vol1.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All services and where their instances run."""
    picture = connection.api().get("/status")
    if as_json:
        output.emit_json({"services": picture["services"], "instances": picture["instances"]})
    else:
        instance_table(picture["instances"])


@app.command()
def show(service: Service, as_json: Json = False) -> None:
    """One service with its instances, and why they are where they are."""
    kind, name = _split(service)
    found = connection.api().get(f"/services/{part(kind)}/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    for instance in found["instances"]:
        output.facts(
            [
                ("Instance", instance["id"]),
                ("Wanted", instance["desired"] + (", being deleted" if found["service"]["deleting"] else "")),
                ("State", instance["state"] + (", healthy" if instance["healthy"] else "")),
                ("Exclusivity", instance["exclusivity"]),
                ("Node", instance["node"]),
                ("Why there", instance["reason"]),
                ("Epoch", instance["epoch"] or ""),
                ("Address", f"{instance['address']} ({instance['network']})" if instance["address"] else ""),
                ("Moving to", instance["moving_to"]),
                ("Waiting", instance["waiting"]),
                ("Detail", instance["detail"]),
            ]
        )


@app.command()
def start(
    service: Service,
    force: Annotated[bool, typer.Option("--force", help="Even if the failures are not survived any more.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Start a service that was stopped."""
    api, answer = _set(service, "start?force=true" if force else "start")
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def stop(service: Service, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False) -> None:
    """Stop a service and keep its data."""
    api, answer = _set(service, "stop")

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def move(
    instance: Instance,
    to: Annotated[str, typer.Option("--to", help="Target node; without it any other node.", metavar="NODE")] = "",
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Move an instance gracefully to another node."""
    api = connection.api()
    answer = api.post(f"/instances/{parts(instance)}/move", {"node": to})

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command("set-state")
def set_state(
    service: Service,
    state: Annotated[str, typer.Argument(help="started, stopped, disabled or ignored.")],
    force: Annotated[bool, typer.Option("--force", help="Even if the failures are not survived any more.")] = False,
    as_json: Json = False,
) -> None:
    """Say what is wanted: also `disabled` (off, and left where it is) or `ignored` (left alone, by everybody)."""
    kind, name = _split(service)
    path = f"/services/{part(kind)}/{part(name)}/state"
    output.outcome(connection.api().put(path, {"state": state, "force": force}), as_json=as_json)


@app.command()
def lock(
    instance: Instance,
    reason: Annotated[str, typer.Option("--reason", help="For those who wonder why it does not move.")] = "",
    as_json: Json = False,
) -> None:
    """Hold an instance where it is, e.g. for a backup. It is recovered all the same when its node dies."""
    output.outcome(connection.api().post(f"/instances/{parts(instance)}/lock", {"reason": reason}), as_json=as_json)


@app.command()
def unlock(instance: Instance, as_json: Json = False) -> None:
    """Let an instance be moved again."""
    output.outcome(connection.api().delete(f"/instances/{parts(instance)}/lock"), as_json=as_json)


def _set(service: str, verb: str) -> tuple[Api, dict[str, Any]]:
    kind, name = _split(service)
    api = connection.api()
    return api, api.post(f"/services/{part(kind)}/{part(name)}/{verb}")


def _split(service: str) -> tuple[str, str]:
    kind, slash, name = service.partition("/")
    if not slash or not kind or not name:
        raise InvalidInput(
            f"`{service}` is not a service", "Write KIND/NAME, e.g. nfs/vol1; see `holdfast service list`."
        )
    return kind, name
