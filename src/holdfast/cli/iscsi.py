"""holdfast iscsi: volumes for iSCSI clients, over several paths."""

import sys
from typing import Annotated

import typer

from holdfast.cli import connection, iscsi_group, output
from holdfast.cli.iscsi_group import Group
from holdfast.cli.options import size
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete, follow
from holdfast.client import ApiRefused, part
from holdfast.errors import Conflict
from holdfast.services.iscsi.client_config import iscsid_conf

app = typer.Typer(no_args_is_help=True)
volume = typer.Typer(no_args_is_help=True)
app.add_typer(iscsi_group.app, name="target-group", help="One target on several nodes: who serves, and who may log in.")
app.add_typer(volume, name="volume", help="What is served: a file on the shared storage, or a block device.")

Volume = Annotated[str, typer.Argument(help="Name of the volume.")]


@volume.command()
def create(
    name: Volume,
    wanted: Annotated[str, typer.Option("--size", help="Of a new file on the shared storage, e.g. 10GiB.")] = "",
    device: Annotated[
        str, typer.Option("--device", help="Instead: a block device that all nodes see.", metavar="/dev/…")
    ] = "",
    as_json: Json = False,
) -> None:
    """Create a volume. A file takes room only for what is written."""
    body = {"name": name, "size_bytes": size(wanted) if wanted else 0, "device": device}
    output.outcome(connection.api().post("/iscsi/volumes", body), as_json=as_json)


@volume.command()
def attach(
    name: Volume,
    group: Group,
    lun: Annotated[int | None, typer.Option("--lun", help="1 to 255; without it the lowest free one.")] = None,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Serve a volume by a target group, and wait until it can be read through its active path."""
    api = connection.api()
    answer = api.post(f"/iscsi/volumes/{part(name)}/attach", {"group": group, "lun": lun})
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@volume.command()
def detach(
    name: Volume,
    force: Annotated[
        bool, typer.Option("--force", help="Also while initiators are logged in: who uses it loses it.")
    ] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Serve a volume no more. Its data stay; its LUN is free when it is gone from all nodes."""
    api = connection.api()
    answer = api.post(f"/iscsi/volumes/{part(name)}/detach" + ("?force=true" if force else ""))
    if wait:
        follow(api, answer, timeout=timeout)
        answer = {**answer, "text": f"volume {name} is detached; its data stay"}
    output.outcome(answer, as_json=as_json)


@volume.command()
def resize(
    name: Volume, wanted: Annotated[str, typer.Argument(help="E.g. 20GiB.", metavar="SIZE")], as_json: Json = False
) -> None:
    """Make a volume larger, also while it is attached; or smaller while it is not, down to what was written."""
    answer = connection.api().put(f"/iscsi/volumes/{part(name)}/size", {"size_bytes": size(wanted)})
    output.outcome(answer, as_json=as_json)


@volume.command()
def delete(
    name: Volume,
    yes: Annotated[bool, typer.Option("--yes", help="Nobody needs its data any more.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a detached volume with its data, for good. Those of a block device stay."""
    api = connection.api()
    path = f"/iscsi/volumes/{part(name)}"
    try:
        answer = api.delete(path, yes=str(yes).lower())
    except ApiRefused as refusal:
        if "--yes" not in refusal.advice or not sys.stdin.isatty():
            raise
        output.warn(refusal.message + ".")
        if typer.prompt(f"Type {name} to delete it", default="", show_default=False) != name:
            raise Conflict("nothing was deleted", "") from None
        answer = api.delete(path, yes="true")
    output.outcome(answer, as_json=as_json)


@volume.command("list")
def list_(as_json: Json = False) -> None:
    """All volumes, attached or not."""
    found = connection.api().get("/iscsi")["volumes"]
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Volume", "Size", "Target group", "LUN", "State", "Healthy", "Active on", "Waiting for"),
        (
            (
                volume["name"],
                output.size(volume["size_bytes"]),
                volume["group"] or "-",
                volume["lun"] or "-",
                volume["state"],
                output.yes_no(volume["healthy"]) if volume["state"] == "running" else "-",
                volume["node"] or "-",
                volume["waiting"],
            )
            for volume in found
        ),
        empty="There is no iSCSI volume yet. Create one with `holdfast iscsi volume create NAME --size SIZE`.",
    )


@volume.command()
def show(name: Volume, as_json: Json = False) -> None:
    """One volume: its names at the clients, where it lies and who serves it."""
    found = connection.api().get(f"/iscsi/volumes/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    output.facts(
        [
            ("Volume", name),
            ("State", found["state"] + (", healthy" if found["healthy"] else "")),
            ("Target group", found["group"]),
            ("LUN", found["lun"] or ""),
            ("Active on", found["node"]),
            ("Waiting", found["waiting"]),
            ("Size", f"{output.size(found['size_bytes'])} ({found['size_bytes']} bytes)"),
            ("Block device" if found["device"] else "File", found["path"]),
            ("Serial number", found["serial"]),
            ("WWID (Linux)", f"3{found['wwid']}"),
        ]
    )


@app.command("client-config")
def client_config(group: Group, as_json: Json = False) -> None:
    """What to write and to run at a Linux client (open-iscsi, multipathd) to use a target group over all its paths."""
    found = connection.api().get(f"/iscsi/target-groups/{part(group)}/client-config")
    if as_json:
        output.emit_json(found)
        return
    files = {
        "/etc/multipath.conf": found["multipath"],
        "/etc/iscsi/iscsid.conf: change these lines before the discovery": iscsid_conf(found["iscsid"]),
        **found["units"],
    }
    for name, text in files.items():
        output.say(f"# --- {name}\n{text}")
    output.say("# --- then run\n" + "\n".join(found["commands"]))
