"""holdfast compute: the cluster of nodes that carry virtual machines."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import memory_mib, names, pairs
from holdfast.cli.output import Json
from holdfast.cli.top import guarantee

app = typer.Typer(no_args_is_help=True)
ha = typer.Typer(no_args_is_help=True)
app.add_typer(ha, name="ha", help="Whether virtual machines are recovered when their node dies.")

BRIDGE_HELP = "NETWORK=BRIDGE: the Linux bridge, of the same name on every node, that joins guests to it. Repeatable."
RESERVE_HELP = "of each node that virtual machines may not use"
Bridges = Annotated[list[str], typer.Option("--bridge", help=BRIDGE_HELP, metavar="NETWORK=BRIDGE")]


@app.command("create-cluster")
def create_cluster(
    nodes: Annotated[list[str], typer.Option("--nodes", help="Nodes that carry machines: a,b,c.", metavar="NODES")],
    tolerate: Annotated[int, typer.Option("--tolerate", help="So many nodes may fail and all still fits.", min=0)] = 1,
    with_ha: Annotated[bool, typer.Option("--ha/--no-ha", help="Recover machines whose node died.")] = True,
    reserve_memory: Annotated[str, typer.Option("--reserve-memory", help=f"Memory {RESERVE_HELP}.")] = "512MiB",
    reserve_cpu: Annotated[float, typer.Option("--reserve-cpu", help=f"Cores {RESERVE_HELP}.", min=0)] = 0.0,
    bridge: Bridges = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Say which nodes carry virtual machines, once. They are recovered from a node's death from then on."""
    body = {
        "nodes": names(nodes),
        "tolerate": tolerate,
        "ha": with_ha,
        "reserve_memory_mib": memory_mib(reserve_memory),
        "reserve_cpu": reserve_cpu,
        "bridges": _bridges(bridge),
    }
    output.outcome(connection.api().post("/compute", body), as_json=as_json)


@app.command("set")
def set_(
    nodes: Annotated[
        list[str] | None, typer.Option("--nodes", help="All that carry machines.", metavar="NODES")
    ] = None,
    tolerate: Annotated[int | None, typer.Option("--tolerate", help="So many nodes may fail.", min=0)] = None,
    reserve_memory: Annotated[str, typer.Option("--reserve-memory", help=f"Memory {RESERVE_HELP}.")] = "",
    reserve_cpu: Annotated[float | None, typer.Option("--reserve-cpu", help=f"Cores {RESERVE_HELP}.", min=0)] = None,
    rebalance: Annotated[str | None, typer.Option("--rebalance", help="off, or auto: even out the load.")] = None,
    bridge: Bridges = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Even if the failures are not survived any more.")] = False,
    as_json: Json = False,
) -> None:
    """Change the cluster's settings; what is not named stays."""
    body = {
        "nodes": names(nodes) if nodes else None,
        "tolerate": tolerate,
        "reserve_memory_mib": memory_mib(reserve_memory) if reserve_memory else None,
        "reserve_cpu": reserve_cpu,
        "rebalance": rebalance,
        "bridges": _bridges(bridge),
        "force": force,
    }
    output.outcome(connection.api().put("/compute", body), as_json=as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Settings, and what each node has and may still take."""
    api = connection.api()
    found = api.get("/compute")
    if as_json:
        output.emit_json(found)
        return
    cluster = found["cluster"]
    if cluster is None:
        output.say("There is no compute cluster yet. Create it with `holdfast compute create-cluster --nodes …`.")
        return
    output.facts(
        [
            ("Nodes", ", ".join(cluster["nodes"])),
            ("High availability", "on" if cluster["ha"] else "OFF: machines wait for their own node"),
            ("Tolerates", f"{cluster['tolerate']} failed node{'' if cluster['tolerate'] == 1 else 's'}"),
            ("Guarantee", guarantee(found["guarantee"])),
            ("Reserve", f"{cluster['reserve_cpu']:g} cores and {cluster['reserve_memory_mib']} MiB of each node"),
            ("Rebalancing", cluster["rebalance"]),
        ]
    )
    print()
    output.table(
        ("Node", "State", "Cores free", "of", "MiB free", "of", "Machines"),
        (_row(node) for node in found["nodes"]),
        empty="No node carries virtual machines.",
    )


def _row(node: dict[str, Any]) -> tuple[object, ...]:
    cpu = (f"{node['cpu_free']:g}", f"{node['cpu']:g}")
    return node["id"], node["state"], *cpu, node["memory_free_mib"], node["memory_mib"], ", ".join(node["vms"])


@ha.command()
def enable(as_json: Json = False) -> None:
    """Machines whose node died are recovered on other nodes (unless created with --no-ha)."""
    output.outcome(connection.api().post("/compute/ha"), as_json=as_json)


@ha.command()
def disable(as_json: Json = False) -> None:
    """Machines whose node died wait for that node's return."""
    output.outcome(connection.api().delete("/compute/ha"), as_json=as_json)


def _bridges(texts: list[str]) -> dict[str, str]:
    return pairs(texts, "bridge", "public=br0")
