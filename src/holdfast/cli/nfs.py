"""holdfast nfs: volumes for NFS clients."""

from typing import Annotated

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import names
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)

Volume = Annotated[str, typer.Argument(help="Name of the volume.")]
ACCESS_HELP = "CLIENTS[,rw|ro|none][,root_squash|no_root_squash|all_squash]; repeat it, the first match decides."


@app.command("create-cluster")
def create_cluster(
    nodes: Annotated[list[str], typer.Option("--nodes", help="Nodes that may carry volumes: a,b,c.", metavar="NODES")],
    addresses: Annotated[
        list[str],
        typer.Option("--addresses", help="Service addresses, e.g. 10.78.0.101-10.78.0.150.", metavar="RANGES"),
    ],
    network: Annotated[str, typer.Option("--network", help="Network of the clients.")] = "public",
    as_json: Json = False,
) -> None:
    """Prepare nodes and a pool of service addresses, once."""
    body = {"nodes": names(nodes), "addresses": names(addresses), "network": network}
    output.outcome(connection.api().post("/nfs/cluster", body), as_json=as_json)


@app.command()
def create(
    name: Volume,
    size: Annotated[str, typer.Option("--size", help="E.g. 10GiB; without it as much as the storage has.")] = "",
    address: Annotated[str, typer.Option("--address", help="Service address instead of the next free one.")] = "",
    access: Annotated[list[str], typer.Option("--access", help=ACCESS_HELP, metavar="RULE")] = [],  # noqa: B006
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Create a volume and wait until it answers at its address."""
    api = connection.api()
    answer = api.post("/nfs/volumes", {"name": name, "size": size, "address": address, "access": access})
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All volumes."""
    found = connection.api().get("/nfs")
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Volume", "State", "Healthy", "Node", "Mount", "Size", "Waiting for"),
        (
            (
                volume["service"],
                volume["state"],
                output.yes_no(volume["healthy"]),
                volume["node"] or "-",
                _export(volume["address"], volume["service"]),
                output.size(volume["config"].get("size")),
                volume["waiting"],
            )
            for volume in found["volumes"]
        ),
        empty="There is no volume yet. Create one with `holdfast nfs create NAME`."
        if found["cluster"]
        else "There is no NFS cluster yet. Create it with `holdfast nfs create-cluster --nodes … --addresses …`.",
    )


@app.command()
def show(name: Volume, as_json: Json = False) -> None:
    """One volume: state, how to mount it, who may."""
    found = connection.api().get(f"/services/nfs/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    volume = found["instances"][0]
    config = volume["config"]
    output.facts(
        [
            ("Volume", name + (" (being deleted)" if found["service"]["deleting"] else "")),
            ("State", volume["state"] + (", healthy" if volume["healthy"] else "")),
            ("Node", volume["node"]),
            ("Why there", volume["reason"]),
            ("Mount", f"mount -t nfs -o vers=4.2,hard {_export(volume['address'], name)} /mnt"),
            ("Size", output.size(config.get("size"))),
            ("Data", config.get("path")),
            ("Waiting", volume["waiting"]),
            ("Detail", volume["detail"]),
        ]
    )
    print()
    rules = ((rule["clients"], rule["access"], rule["squash"]) for rule in config.get("access", ()))
    output.table(("Clients", "Access", "Squash"), rules, empty="Nobody may mount it.")


@app.command()
def delete(
    name: Volume,
    force: Annotated[bool, typer.Option("--force", help="Also while it is in service: clients lose it.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Stop serving a volume and forget it. Its data stays on the shared storage; the answer says where."""
    api = connection.api()
    answer = api.delete(f"/nfs/volumes/{part(name)}", force=str(force).lower())

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def access(
    name: Volume,
    rules: Annotated[list[str], typer.Argument(help=ACCESS_HELP, metavar="RULE…")],
    as_json: Json = False,
) -> None:
    """Replace the access rules of a volume."""
    output.outcome(connection.api().put(f"/nfs/volumes/{part(name)}/access", {"access": rules}), as_json=as_json)


def _export(address: str, name: str) -> str:
    if not address:
        return "-"
    return f"[{address}]:/{name}" if ":" in address else f"{address}:/{name}"
