"""holdfast s3: clusters of OpenStack Swift that speak S3, their nodes and users."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import names
from holdfast.cli.output import Json
from holdfast.cli.planning import show_moves
from holdfast.cli.s3_user import app as user
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete, follow, wait_for
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)
node = typer.Typer(no_args_is_help=True)
app.add_typer(node, name="node", help="The nodes of an S3 cluster.")
app.add_typer(user, name="user", help="Who may use an S3 cluster, and access keys.")

Cluster = Annotated[str, typer.Argument(help="Name of the S3 cluster.")]
Force = Annotated[bool, typer.Option("--force", help="Even if the failures are not survived any more.")]
SERVERS_HELP = "The same for name and object servers, one each."
Servers = Annotated[list[str], typer.Option("--server-addresses", help=SERVERS_HELP, metavar="RANGES")]
GATEWAYS_HELP = "Addresses for the gateways, one per node: FIRST-LAST. Else the last free ones of the network."
Gateways = Annotated[list[str], typer.Option("--gateway-addresses", help=GATEWAYS_HELP, metavar="RANGES")]


@app.command("create-cluster")
def create_cluster(
    name: Cluster,
    nodes: Annotated[list[str], typer.Option("--nodes", help="Nodes that carry it: a,b,c.", metavar="NODES")],
    domain: Annotated[str, typer.Option("--domain", help="Where clients find it, e.g. s3.example.lan.")],
    name_servers: Annotated[
        int, typer.Option("--name-servers", help="Servers of buckets; else by the number of nodes.", min=0)
    ] = 0,
    object_servers: Annotated[
        int, typer.Option("--object-servers", help="Servers of objects; else by the number of nodes.", min=0)
    ] = 0,
    gateway_addresses: Gateways = [],  # noqa: B006
    server_addresses: Servers = [],  # noqa: B006
    network: Annotated[str, typer.Option("--network", help="Network of the clients.")] = "public",
    server_network: Annotated[
        str, typer.Option("--server-network", help="Network of the servers; else storage, or management.")
    ] = "",
    region: Annotated[str, typer.Option("--region", help="What clients sign for.")] = "us-east-1",
    force: Force = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Create an S3 cluster and wait until all its parts serve. From three nodes on it survives the loss of one."""
    api = connection.api()
    body = {
        "name": name,
        "nodes": names(nodes),
        "domain": domain,
        "gateway_addresses": names(gateway_addresses),
        "server_addresses": names(server_addresses),
        "network": network,
        "server_network": server_network,
        "name_servers": name_servers,
        "object_servers": object_servers,
        "region": region,
        "force": force,
    }
    answer = api.post("/s3/clusters", body)
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


def serves(name: str) -> Callable[[dict[str, Any]], str]:
    """For a ClusterStatus: every part runs and answered a check."""

    def missing(status: dict[str, Any]) -> str:
        parts = _parts(status, name)
        left = [one for one in parts if not one["healthy"]]
        if parts and not left:
            return ""
        first = min(left, key=lambda one: one["id"], default=None)
        why = f"{first['id']} ({first['waiting'] or first['detail'] or first['state']})" if first else name
        return f"{len(left)} of {len(parts)} parts to serve, e.g. {why}"

    return missing


def _parts(status: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [one for one in status["instances"] if one["id"].startswith(f"s3/{name}/")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All S3 clusters."""
    found = connection.api().get("/s3")
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("S3 cluster", "State", "Domain", "Nodes", "Name servers", "Object servers", "Gateways", "HA", "Users"),
        (
            (
                line["name"],
                line["state"],
                line["domain"] or "-",
                ", ".join(line["nodes"]),
                *(_share(line[what]) for what in ("name_servers", "object_servers", "gateways")),
                "on" if line["ha"] else "OFF",
                line["users"],
            )
            for line in found
        ),
        empty="There is no S3 cluster yet. Create one with `holdfast s3 create-cluster NAME --nodes … --domain …`.",
    )


def _share(healthy: list[int]) -> str:
    return "{}/{}".format(*healthy)


@app.command()
def show(name: Cluster, as_json: Json = False) -> None:
    """One cluster: how to connect, where its parts are and how they fare, whether it is highly available."""
    found = connection.api().get(f"/s3/clusters/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    line, cluster = found["line"], found["cluster"]
    output.facts(
        [
            ("S3 cluster", name),
            ("State", line["state"]),
            ("High availability", f"OFF: {found['ha_off']}" if found["ha_off"] else "on"),
            ("Endpoint", found["endpoint"]),
            ("DNS names", ", ".join(found["names"])),
            ("Published", _published(cluster)),
            ("Region", cluster["region"]),
            ("Users", ", ".join(user["name"] for user in cluster["users"]) or "nobody may use it yet"),
        ]
    )
    for note in found["notes"]:
        output.warn(note)
    print()
    output.table(
        ("Node", "State", "Name servers", "Object servers", "Gateways"),
        ((n["node"], n["state"], n["name_servers"], n["object_servers"], n["gateways"]) for n in found["nodes"]),
        empty="It has no nodes.",
    )
    print()
    output.table(
        ("Part", "Kind", "Node", "State", "Healthy", "Address", "Remark"),
        (
            (
                p["part"],
                p["kind"],
                p["node"] or "-",
                p["state"],
                output.yes_no(p["healthy"]),
                p["address"] or "-",
                p["why"] or (f"away from {p['home']}" if p["home"] not in ("", p["node"]) else ""),
            )
            for p in found["parts"]
        ),
        empty="It has no parts.",
    )
    print()
    for text in connect(found):
        output.say(text)


def _published(cluster: dict[str, Any]) -> str:
    if cluster["zone"]:
        return f"{', '.join(cluster['published']) or 'nothing yet'} (zone {cluster['zone']})"
    gateways = ", ".join(sorted(cluster["gateways"].values()))
    return f"nowhere by Holdfast: create its zone with `holdfast dns zone create`, or point your DNS to {gateways}"


def connect(found: dict[str, Any]) -> list[str]:
    """How to use it, for people who have a key."""
    endpoint, region = found["endpoint"], found["cluster"]["region"]
    return [
        "Connect with an access key of `holdfast s3 user create`:",
        f"  AWS CLI   aws --endpoint-url {endpoint} --region {region} s3 ls",
        f"  boto3     boto3.client('s3', endpoint_url='{endpoint}', region_name='{region}')",
        f"  rclone    provider = Other, endpoint = {endpoint}, region = {region}",
    ]


@app.command()
def delete(
    name: Cluster,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, and not only say what would be lost.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Stop an S3 cluster for ever and forget it with its users. Its files stay; the answer says where."""
    api = connection.api()
    answer = api.delete(f"/s3/clusters/{part(name)}", yes=str(yes).lower())
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def rebalance(
    name: Cluster,
    limit: Annotated[int, typer.Option("--limit", help="At most so many moves.", min=1, max=1000)] = 20,
    force: Force = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Even out how many of its servers each node carries. Each move interrupts one server for a moment."""
    api = connection.api()
    answer = api.post(f"/s3/clusters/{part(name)}/rebalance", {"limit": limit, "force": force})
    moves = answer["data"]["moves"]
    if not as_json:
        show_moves(moves)
    if wait:
        follow(api, answer, timeout=timeout)
    output.outcome(answer, as_json=as_json)


# --- nodes --------------------------------------------------------------------------------------------------------------


@node.command("add")
def node_add(
    name: Cluster,
    nodes: Annotated[list[str], typer.Option("--nodes", help="Nodes that shall carry it too: d,e.", metavar="NODES")],
    name_servers: Annotated[int, typer.Option("--name-servers", help="So many from now on.", min=0)] = 0,
    object_servers: Annotated[int, typer.Option("--object-servers", help="So many from now on.", min=0)] = 0,
    gateway_addresses: Gateways = [],  # noqa: B006
    server_addresses: Servers = [],  # noqa: B006
    force: Force = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Let more nodes carry an S3 cluster: each gets a gateway, and takes servers over. No object is copied."""
    api = connection.api()
    body = {
        "nodes": names(nodes),
        "gateway_addresses": names(gateway_addresses),
        "server_addresses": names(server_addresses),
        "name_servers": name_servers,
        "object_servers": object_servers,
        "force": force,
    }
    answer = api.post(f"/s3/clusters/{part(name)}/nodes", body)
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@node.command("release")
def node_release(
    name: Cluster,
    node: Annotated[str, typer.Argument(help="Node that shall carry it no more.")],
    force: Force = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Take an S3 cluster off a node: its servers move to the others, its gateway is stopped and forgotten."""
    api = connection.api()
    answer = api.delete(f"/s3/clusters/{part(name)}/nodes/{part(node)}", force=str(force).lower())

    def missing(status: dict[str, Any]) -> str:
        there = [one["id"] for one in _parts(status, name) if one["node"] == node or one["id"].endswith(f"/gw-{node}")]
        return f"{', '.join(there)} to leave {node}" if there else serves(name)(status)

    if wait:  # its servers are moved by the manager, as room comes free
        wait_for(api, "/status", missing, timeout=timeout, revision=answer["revision"])
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)
