"""holdfast iscsi target-group: one target on several nodes."""

import secrets
import string
import sys
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import content, names
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete
from holdfast.client import part
from holdfast.errors import InvalidInput

app = typer.Typer(no_args_is_help=True)
acl = typer.Typer(no_args_is_help=True)
chap = typer.Typer(no_args_is_help=True)
app.add_typer(acl, name="acl", help="The initiators that may log in.")
app.add_typer(chap, name="chap", help="What initiators must prove to know, and the target to them.")

Group = Annotated[str, typer.Argument(help="Name of the target group.")]
Initiators = Annotated[list[str], typer.Argument(help="E.g. iqn.2026-01.com.example:client1.", metavar="INITIATOR…")]
SECRET_CHARACTERS = string.ascii_letters + string.digits + "._"
"""64 of them: 6 bits each."""
SECRET_LENGTH = 16
"""96 bits, RFC 7143's least; Windows takes no more."""


Nodes = Annotated[list[str], typer.Option("--nodes", help="Nodes that serve it: a,b,c.", metavar="NODES")]
PORTALS_HELP = "NODE=ADDRESS[:PORT],…: where each node listens, instead of its addresses on the networks."
Portals = Annotated[list[str], typer.Option("--portals", help=PORTALS_HELP, metavar="PORTALS")]


@app.command()
def create(
    name: Group,
    nodes: Nodes,
    portals: Portals = [],  # noqa: B006
    network: Annotated[
        list[str], typer.Option("--network", help="Network of the clients; several make several paths per node.")
    ] = ["public"],  # noqa: B006
    engine: Annotated[str, typer.Option("--engine", help="lio or tgt; else the best that all nodes have.")] = "",
    iqn: Annotated[str, typer.Option("--iqn", help="Name of the target; else made from cluster and group.")] = "",
    initiator: Annotated[
        list[str], typer.Option("--initiator", help="Who may log in. Repeatable.", metavar="INITIATOR")
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Create a target group: the same target on several nodes."""
    body = {
        "name": name,
        "nodes": names(nodes),
        "portals": _portals(portals),
        "networks": names(network),
        "engine": engine,
        "iqn": iqn,
        "initiators": names(initiator),
    }
    output.outcome(connection.api().post("/iscsi/target-groups", body), as_json=as_json)


@app.command("add-nodes")
def add_nodes(
    name: Group,
    nodes: Nodes,
    portals: Portals = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Let more nodes serve a target group, e.g. in place of one that was removed from the cluster."""
    body = {"nodes": names(nodes), "portals": _portals(portals)}
    output.outcome(connection.api().post(f"/iscsi/target-groups/{part(name)}/nodes", body), as_json=as_json)


def _portals(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in names(texts):
        node, equals, portal = text.partition("=")
        if not equals or not node.strip() or not portal.strip():
            raise InvalidInput(f"portal `{text}` is not understood", "Write it like n1=10.78.0.11:3260.")
        found.setdefault(node.strip(), []).append(portal.strip())
    return found


@app.command()
def start(
    name: Group,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Serve a group that was stopped, with its volumes."""
    api = connection.api()
    answer = api.post(f"/iscsi/target-groups/{part(name)}/start")
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def stop(name: Group, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False) -> None:
    """Stop serving a group: its clients' I/O waits until it is started again. Its volumes stay attached."""
    api = connection.api()
    answer = api.post(f"/iscsi/target-groups/{part(name)}/stop")

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All target groups."""
    found = connection.api().get("/iscsi")["groups"]
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Target group", "State", "Engine", "Nodes", "Volumes", "Initiators", "CHAP", "Target"),
        (
            (
                group["name"],
                "started" if group["started"] else "stopped",
                group["engine"],
                ", ".join(sorted(group["portals"])),
                len(group["volumes"]),
                len(group["initiators"]),
                _chap(group),
                group["iqn"],
            )
            for group in found
        ),
        empty="There is no target group yet. Create one with `holdfast iscsi target-group create NAME --nodes …`.",
    )


@app.command()
def show(name: Group, as_json: Json = False) -> None:
    """One group: its nodes, the state of each LUN's path on each of them, who is logged in."""
    found = connection.api().get(f"/iscsi/target-groups/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    group, nodes = found["group"], found["nodes"]
    output.facts(
        [
            ("Target group", name),
            ("State", "started" if group["started"] else "stopped"),
            ("Target", group["iqn"]),
            ("Engine", group["engine"]),
            ("Initiators", ", ".join(group["initiators"]) or "nobody may log in"),
            ("CHAP", _chap(group)),
        ]
    )
    if found["problem"]:
        output.warn(f"What the nodes say of their paths cannot be read: {found['problem']}.")
    print()
    output.table(
        ("Node", "State", "Portals", "Tag", "Problem"),
        ((n["node"], n["state"], ", ".join(n["portals"]), n["tag"], _problems(n["problems"])) for n in nodes),
        empty="It has no nodes.",
    )
    print()
    output.table(
        ("LUN", "Volume", "Active", *(node["node"] for node in nodes)),
        (
            (unit["lun"], unit["volume"], unit["active"] or "-", *(unit["paths"][node["node"]] for node in nodes))
            for unit in found["units"]
        ),
        empty=f"It has no volumes. Attach one with `holdfast iscsi volume attach NAME {name}`.",
    )
    print()
    output.table(
        ("Initiator", "From", "Logged in at"),
        ((c["initiator"], c["address"] or "-", c["node"]) for c in found["connections"]),
        empty="No initiator is logged in.",
    )


def _problems(problems: dict[str, str]) -> str:
    return "; ".join(f"{what}: {why.rstrip('.')}" for what, why in sorted(problems.items()))


def _chap(group: dict[str, Any]) -> str:
    mutual = f", mutual as {group['mutual_user']}" if group["mutual_user"] else ""
    return group["chap_user"] + mutual if group["chap_user"] else "off"


@app.command()
def delete(name: Group, as_json: Json = False) -> None:
    """Forget a target group that has no volumes any more."""
    output.outcome(connection.api().delete(f"/iscsi/target-groups/{part(name)}"), as_json=as_json)


# --- who may log in -----------------------------------------------------------------------------------------------------


@acl.command("add")
def acl_add(group: Group, initiators: Initiators, as_json: Json = False) -> None:
    """Let initiators log in."""
    _change(group, {"add": names(initiators)}, as_json=as_json)


@acl.command("remove")
def acl_remove(group: Group, initiators: Initiators, as_json: Json = False) -> None:
    """Let initiators log in no more; their sessions are ended."""
    _change(group, {"remove": names(initiators)}, as_json=as_json)


@acl.command("list")
def acl_list(group: Group, as_json: Json = False) -> None:
    """The initiators that may log in."""
    found = connection.api().get(f"/iscsi/target-groups/{part(group)}")["group"]["initiators"]
    if as_json:
        output.emit_json(found)
    else:
        output.table(("Initiator",), ((name,) for name in found), empty=f"Nobody may log in to {group}.")


def _change(group: str, body: dict[str, list[str]], *, as_json: bool) -> None:
    output.outcome(connection.api().post(f"/iscsi/target-groups/{part(group)}/acl", body), as_json=as_json)


# --- CHAP ---------------------------------------------------------------------------------------------------------------


@chap.command("set")
def chap_set(
    group: Group,
    user: Annotated[str, typer.Option("--user", help="Account of the initiators; of this group only.")],
    secret_file: Annotated[
        str, typer.Option("--secret-file", help="Its secret is the file's first line; - is standard input.")
    ] = "",
    mutual_user: Annotated[
        str, typer.Option("--mutual-user", help="Account of the target, which initiators ask for.")
    ] = "",
    mutual_secret_file: Annotated[str, typer.Option("--mutual-secret-file", help="The same for that account.")] = "",
    generate: Annotated[
        bool, typer.Option("--generate", help="Make up the secrets that no file is given for, and show them this once.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask for CHAP. Secrets are read from files or asked for, 12 to 64 characters (12 to 16 for Windows)."""
    if mutual_secret_file and not mutual_user:
        raise InvalidInput("a mutual secret is given for nobody", "Give --mutual-user too.")
    made: dict[str, str] = {}
    accounts = {"chap": (user, secret_file, "--secret-file")}
    if mutual_user:
        accounts["mutual"] = (mutual_user, mutual_secret_file, "--mutual-secret-file")
    body: dict[str, Any] = {}
    for what, (name, file, option) in accounts.items():
        if generate and not file:
            made[name] = "".join(secrets.choice(SECRET_CHARACTERS) for _ in range(SECRET_LENGTH))
        body[what] = {"user": name, "secret": made.get(name) or _secret(name, file, option)}
    answer = connection.api().put(f"/iscsi/target-groups/{part(group)}/chap", body)
    if as_json and made:
        answer = {**answer, "secrets": made}
    output.outcome(answer, as_json=as_json)
    for name, secret in () if as_json else made.items():
        output.say(f"{name}  {secret}")


@chap.command("clear")
def chap_clear(group: Group, as_json: Json = False) -> None:
    """Ask for CHAP no more: the initiators' names are enough."""
    output.outcome(connection.api().delete(f"/iscsi/target-groups/{part(group)}/chap"), as_json=as_json)


def _secret(user: str, file: str, option: str) -> str:
    """From the file, else asked for without echo: never from the command line, which everybody on the machine can read."""
    if file:
        text = sys.stdin.readline() if file == "-" else content(file, "secret file")
        return (text.splitlines() or [""])[0]
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"there is no terminal to ask for the secret of {user}",
            f"Give it with {option} FILE (or -), or --generate.",
        )
    first = str(typer.prompt(f"CHAP secret of {user}", hide_input=True))
    if typer.prompt("Repeat it", hide_input=True) != first:
        raise InvalidInput("the two secrets differ", "Nothing was changed. Try again.")
    return first
