"""holdfast backup: gateways for restic and every tool that speaks its REST protocol."""

from typing import Annotated

import typer

from holdfast.cli import connection, output
from holdfast.cli.backup_user import app as user
from holdfast.cli.options import content, names, pairs
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)
node = typer.Typer(no_args_is_help=True)
app.add_typer(node, name="node", help="The nodes of a backup cluster.")
app.add_typer(user, name="user", help="Who may use a backup cluster.")

Cluster = Annotated[str, typer.Argument(help="Name of the backup cluster.")]
Nodes = Annotated[list[str], typer.Option("--nodes", help="Nodes with a gateway each: a,b,c.", metavar="NODES")]
ADDRESSES_HELP = "Addresses for the gateways, one per node: FIRST-LAST. Else the last free ones of the network."
Addresses = Annotated[list[str], typer.Option("--addresses", help=ADDRESSES_HELP, metavar="RANGES")]
BACKEND_HELP = (
    "Where it is kept: local:DIRECTORY of the shared storage, nfs:HOST:/PATH, s3:https://HOST/BUCKET[/PREFIX] or "
    "sftp:USER@HOST:/PATH."
)
CREDENTIALS_HELP = (
    "What opens the back-end: lines NAME=VALUE, or NAME_file=FILE for a value from a file. s3: access_key, secret_key, "
    "region, ca; sftp: host_key, private_key or password; nfs: options."
)
CredentialsFile = Annotated[str, typer.Option("--credentials-file", help=CREDENTIALS_HELP, metavar="FILE")]
Certificate = Annotated[
    str, typer.Option("--certificate", help="Your own certificate for the domain, PEM, with its chain.", metavar="FILE")
]
CertificateKey = Annotated[str, typer.Option("--certificate-key", help="Its private key, PEM.", metavar="FILE")]


@app.command("create-cluster")
def create_cluster(
    name: Cluster,
    nodes: Nodes,
    domain: Annotated[str, typer.Option("--domain", help="Where clients find it, e.g. backup.example.lan.")],
    backend: Annotated[str, typer.Option("--backend", help=BACKEND_HELP, metavar="BACKEND")],
    addresses: Addresses = [],  # noqa: B006
    credentials_file: CredentialsFile = "",
    append_only: Annotated[
        bool, typer.Option("--append-only", help="No user deletes or changes what was stored.")
    ] = False,
    network: Annotated[str, typer.Option("--network", help="Network of the clients.")] = "public",
    port: Annotated[int, typer.Option("--port", help="Where the gateways listen.", min=1, max=65535)] = 8000,
    certificate: Certificate = "",
    certificate_key: CertificateKey = "",
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Create a backup cluster and wait until all its gateways serve. From two nodes on it survives the loss of one."""
    api = connection.api()
    body = {
        "name": name,
        "nodes": names(nodes),
        "domain": domain,
        "addresses": names(addresses),
        "backend": backend,
        "credentials": _credentials(credentials_file) if credentials_file else {},
        "network": network,
        "port": port,
        "append_only": append_only,
        "certificate": _read(certificate),
        "certificate_key": _read(certificate_key),
    }
    answer = api.post("/backup/clusters", body)
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


def _credentials(file: str) -> dict[str, str]:
    """Raises InvalidInput."""
    lines = [line.strip() for line in _read(file).splitlines()]
    told = pairs([line for line in lines if line and not line.startswith("#")], "credential", "access_key=AKIA…")
    return {key.removesuffix("_file"): _read(value) if key.endswith("_file") else value for key, value in told.items()}


def _read(file: str) -> str:
    """Raises InvalidInput. No name: nothing."""
    return content(file) if file else ""


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All backup clusters."""
    found = connection.api().get("/backup")
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Backup cluster", "State", "URL", "Nodes", "Gateways", "HA", "Back-end", "Users"),
        (
            (
                line["name"],
                line["state"],
                line["url"] or "-",
                ", ".join(line["nodes"]),
                "{}/{}".format(*line["gateways"]),
                "on" if line["ha"] else "OFF",
                line["backend"],
                line["users"],
            )
            for line in found
        ),
        empty="There is no backup cluster yet. Create one: `holdfast backup create-cluster NAME --nodes … --domain …`.",
    )


@app.command()
def show(name: Cluster, as_json: Json = False) -> None:
    """One backup cluster: its gateways, where they are and how they fare."""
    found = connection.api().get(f"/backup/clusters/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    line, cluster = found["line"], found["cluster"]
    output.facts(
        [
            ("Backup cluster", name),
            ("State", line["state"]),
            ("URL", line["url"]),
            ("High availability", f"OFF: {found['ha_off']}" if found["ha_off"] else "on"),
            ("Back-end", cluster["backend"]),
            ("Append-only", output.yes_no(cluster["append_only"])),
            ("Certificate", "your own" if cluster["own_certificate"] else "of the cluster's authority"),
            ("Users", ", ".join(user["name"] for user in cluster["users"]) or "none"),
        ]
    )
    print()
    output.table(
        ("Gateway of", "Node state", "Address", "Now on", "State", "Healthy", "Why"),
        (
            (
                one["home"],
                one["home_state"],
                one["address"],
                one["node"] or "-",
                one["state"],
                output.yes_no(one["healthy"]),
                one["why"],
            )
            for one in found["gateways"]
        ),
        empty="It has no gateways.",
    )


@app.command()
def update(
    name: Cluster,
    append_only: Annotated[
        bool | None, typer.Option("--append-only/--no-append-only", help="Whether users may delete.")
    ] = None,
    credentials_file: CredentialsFile = "",
    certificate: Certificate = "",
    certificate_key: CertificateKey = "",
    as_json: Json = False,
) -> None:
    """Change what is given. New credentials are tried out first; all of those of the back-end are replaced."""
    body = {
        "append_only": append_only,
        "credentials": _credentials(credentials_file) if credentials_file else None,
        "certificate": _read(certificate),
        "certificate_key": _read(certificate_key),
    }
    output.outcome(connection.api().call("PATCH", f"/backup/clusters/{part(name)}", body), as_json=as_json)


@app.command()
def delete(
    name: Cluster,
    yes: Annotated[bool, typer.Option("--yes", help="Its users and gateways are to be forgotten.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Forget a backup cluster with its users. What was backed up stays in the back-end."""
    api = connection.api()
    answer = api.delete(f"/backup/clusters/{part(name)}", yes=str(yes).lower())

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command("client-config")
def client_config(
    name: Cluster,
    user: Annotated[str, typer.Argument(help="Name of the user.", metavar="USER")],
    as_json: Json = False,
) -> None:
    """What a client of a user sets: restic's environment, the certificate to trust, recommended settings."""
    found = connection.api().get(f"/backup/clusters/{part(name)}/users/{part(user)}/client-config")
    if as_json:
        output.emit_json(found)
        return
    output.say("# Environment of restic 0.17 or newer. PASSWORD is the one of `backup user create` or `rotate`.")
    output.say(f"export RESTIC_REPOSITORY={found['repository']}")
    for variable, value in found["environment"].items():
        output.say(f"export {variable}={value}")
    output.say(f"# Older restic: RESTIC_REPOSITORY={found['repository_with_password']}")
    for option in found["options"]:
        output.say(f"# With each command, from that version on: {option}")
    for key, value in found["sysctl"].items():
        output.say(f"# In /etc/sysctl.d, so that a connection to a dead node ends soon: {key} = {value}")
    if found["ca"]:
        output.say(f"# --- {found['ca_file']}\n{found['ca'].rstrip()}")


# --- nodes --------------------------------------------------------------------------------------------------------------


@node.command("add")
def node_add(
    name: Cluster,
    nodes: Nodes,
    addresses: Addresses = [],  # noqa: B006
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Give more nodes a gateway, and wait until it serves. Addresses come from the cluster's ranges, and from these."""
    api = connection.api()
    body = {"nodes": names(nodes), "addresses": names(addresses)}
    answer = api.post(f"/backup/clusters/{part(name)}/nodes", body)
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@node.command("release")
def node_release(
    name: Cluster,
    node: Annotated[str, typer.Argument(help="The node whose gateway is to go.", metavar="NODE")],
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Take a node's gateway away. Clients that use it are cut off, and find another one."""
    api = connection.api()
    answer = api.delete(f"/backup/clusters/{part(name)}/nodes/{part(node)}")

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)
