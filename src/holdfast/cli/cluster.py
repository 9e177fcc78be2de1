"""holdfast cluster: begin one, look at it."""

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import cluster_backup, connection, output
from holdfast.cli.options import names, pairs
from holdfast.cli.output import Json
from holdfast.cli.top import read_password
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, find, wait_for
from holdfast.client import Api
from holdfast.core.model import NetworkSpec, Role
from holdfast.errors import InvalidInput

app = typer.Typer(no_args_is_help=True)
cluster_backup.register(app)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the cluster.")],
    node: Annotated[str, typer.Option("--node", help="Id of this machine, the first node.")],
    networks: Annotated[
        list[str],
        typer.Option("--network", help="NAME=PREFIX[,PREFIX]; `management` is required.", metavar="NAME=PREFIX"),
    ],
    addresses: Annotated[
        list[str], typer.Option("--address", help="This node's own address on a network.", metavar="NETWORK=IP")
    ],
    roles: Annotated[list[str], typer.Option("--roles", help="Roles of this node.")] = ["management,compute,storage"],  # noqa: B006
    profile: Annotated[str, typer.Option("--profile", help="Timing profile: default or fast.")] = "default",
    shared_root: Annotated[str, typer.Option("--shared", help="Where the shared storage is mounted.")] = "/shared",
    failure_domain: Annotated[str, typer.Option("--failure-domain", help="E.g. the rack.")] = "",
    password_file: Annotated[
        str, typer.Option("--password-file", help="First line: the password of `admin`; - is standard input.")
    ] = "",
    settings: Annotated[
        list[str], typer.Option("--set", help="Key of node.toml that differs here.", metavar="KEY=VALUE")
    ] = [],  # noqa: B006
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the daemons by systemd.")] = True,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Make this machine the first node of a new cluster. Run it as root."""
    from holdfast.bootstrap.create import CreateOptions, create_cluster  # noqa: PLC0415 - loads cryptography

    prefixes = pairs(networks, "network", "management=10.77.0.0/24,fd77::/64")
    options = CreateOptions(
        cluster=name,
        node=node,
        networks=tuple(NetworkSpec(key, tuple(names([value]))) for key, value in prefixes.items()),
        addresses=pairs(addresses, "address", "management=10.77.0.11"),
        password=read_password("Password for the account admin", password_file, twice=True),
        roles=tuple(_role(word) for word in names(roles)),
        profile=profile,
        shared_root=shared_root,
        failure_domain=failure_domain,
        local=pairs(settings, "setting", "watchdog=/dev/watchdog1"),
    )
    config = create_cluster(options)
    started = start and start_daemons()
    if started and wait:

        def missing(status: dict[str, list[dict[str, object]]]) -> str:
            found = find(status["nodes"], node)
            return "" if found and found["state"] == "up" else f"{node} to be up ({found['state'] if found else 'new'})"

        wait_for(Api(socket_path=config.api_socket), "/status", missing, timeout=timeout, begins=True)
    url = f"https://{_host(config.management_address)}:8443"
    if as_json:
        output.emit_json({"cluster": name, "node": node, "panel": url, "started": started})
        return
    output.say(f"Cluster {name} created with the node {node}.")
    if not started:
        output.say("Start it: systemctl enable --now holdfast-guard holdfast-agent")
    output.say(f"The panel: {url} (account admin; its certificate is signed by {config.tls.ca})")
    output.say("Next: holdfast node add …, then holdfast ha enable.")


def _role(word: str) -> Role:
    if word not in list(Role):
        raise InvalidInput(f"there is no role `{word}`", f"Choose from {', '.join(Role)}.")
    return Role(word)


def start_daemons() -> bool:
    """False where there is no systemd (a lab, a container): something else starts the daemons then."""
    if not Path("/run/systemd/system").exists() or os.geteuid() != 0:
        return False
    argv = ["systemctl", "enable", "--now", "holdfast-guard", "holdfast-agent"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@app.command()
def show(as_json: Json = False) -> None:
    """Settings of the cluster."""
    picture = connection.api().get("/status")
    cluster = picture["cluster"]
    if as_json:
        output.emit_json(cluster)
        return
    output.facts(
        [
            ("Cluster", cluster["name"]),
            ("Id", cluster["cluster_id"]),
            ("Profile", cluster["profile"]),
            *((f"Network {n['name']}", ", ".join(n["cidrs"])) for n in cluster["networks"]),
            ("Shared storage", cluster["shared_root"]),
            ("Dead nodes", "are switched on again" if cluster["dead_node_power_on"] else "stay off"),
            ("Shutdown policy", cluster["shutdown_policy"]),
            ("Nodes", len(picture["nodes"])),
            ("Services", len(picture["services"])),
        ]
    )


@app.command("set")
def set_(
    power_on: Annotated[
        bool, typer.Option("--dead-node-power-on/--no-dead-node-power-on", help="Switch dead nodes on again.")
    ],
    as_json: Json = False,
) -> None:
    """Change a setting of the cluster."""
    output.outcome(connection.api().put("/cluster", {"dead_node_power_on": power_on}), as_json=as_json)


@app.command("shutdown-policy")
def shutdown_policy(
    policy: Annotated[
        str,
        typer.Argument(help="migrate, failover, freeze, or conditional (a reboot freezes, a shutdown fails over)."),
    ],
    as_json: Json = False,
) -> None:
    """What becomes of the instances of a node that is shut down or rebooted on purpose."""
    output.outcome(connection.api().put("/cluster/shutdown-policy", {"policy": policy}), as_json=as_json)


@app.command()
def certificates(as_json: Json = False) -> None:
    """The authority, each node's certificate, and how far a change of the authority is."""
    found = connection.api().get("/certificates")
    if as_json:
        output.emit_json(found)
        return
    output.facts(
        [
            ("Authority", found["fingerprint"]),
            ("Ends", found["ends"]),
            ("Changing", found["phase"]),
            ("Waiting for", ", ".join(found["waiting_for"])),
            ("Shared secrets", f"generation {found['generation']}"),
            ("Revoked", found["revoked"]),
        ]
    )
    output.table(
        ("Node", "Serial", "Good until", "By the present authority", "Asked for a new one", "Secrets"),
        (
            (
                one["node"],
                one["serial"][-16:],
                one["ends"],
                output.yes_no(one["current_authority"]),
                "yes" if one["waiting"] else "",
                one["generation"],
            )
            for one in found["nodes"]
        ),
        empty="No node has said anything of its certificate yet.",
    )


@app.command("rotate-certificates")
def rotate_certificates(as_json: Json = False) -> None:
    """Every node renews its certificate now, by itself. Nothing starts anew, connections go on."""
    output.outcome(connection.api().post("/certificates/renew"), as_json=as_json)


@app.command("rotate-authority")
def rotate_authority(as_json: Json = False) -> None:
    """Give the cluster a new authority: both count until every node has changed, then the old one is dropped."""
    output.outcome(connection.api().post("/certificates/authority"), as_json=as_json)
