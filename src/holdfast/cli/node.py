"""holdfast node: members of the cluster."""

import base64
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from holdfast.cli import connection, join_token, maintenance, output
from holdfast.cli.options import device, names, pairs, slots
from holdfast.cli.output import Json
from holdfast.cli.top import node_table
from holdfast.client import ApiRefused, part
from holdfast.errors import Conflict, HoldfastError, InvalidInput

app = typer.Typer(no_args_is_help=True)
fence = typer.Typer(no_args_is_help=True, help="Fence devices: how the node is switched off when it fails.")
app.add_typer(fence, name="fence")
app.add_typer(maintenance.app, name="maintenance")
join_token.register(app)

Node = Annotated[str, typer.Argument(help="Id of the node.")]
DEVICE_HELP = (
    "NAME,TYPE,option=value,…, e.g. bmc,redfish,url=https://10.79.0.102,username=admin,password-file=/root/bmc.pw or "
    "ipmi,fence-agent,agent=fence_ipmilan,ip=10.79.0.102,…; repeat it, they are tried in this order."
)
Devices = Annotated[list[str], typer.Option("--device", help=DEVICE_HELP, metavar="DEVICE")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All nodes with their states."""
    nodes = connection.api().get("/nodes")
    if as_json:
        output.emit_json(nodes)
    else:
        node_table(nodes)


@app.command()
def show(node: Node, as_json: Json = False) -> None:
    """One node: state, addresses, watchdog, fence devices, what it carries."""
    found = connection.api().get(f"/nodes/{part(node)}")
    if as_json:
        output.emit_json(found)
        return
    watchdog = found["watchdog"]
    output.facts(
        [
            ("Node", found["id"]),
            ("State", found["state"] + (" (death confirmed by an operator)" if found["confirmed_dead"] else "")),
            ("Note", found["note"]),
            ("Roles", ", ".join(found["roles"])),
            ("Addresses", ", ".join(f"{name} {ip}" for name, ip in found["addresses"].items())),
            ("Failure domain", found["failure_domain"]),
            ("Slots", ", ".join(f"{count} for {kind}" for kind, count in found["slots"].items())),
            ("Watchdog", f"{watchdog['identity']}, {watchdog['timeout_s']} s" if watchdog else "none attested"),
            ("Fence devices", ", ".join(f"{d['name']} ({d['type']})" for d in found["fence_devices"]) or "none"),
            ("Fence epoch", found["fence_epoch"]),
            ("Carries", ", ".join(found["instances"]) or "nothing"),
            ("Returning", ", ".join(found["returning"])),
            ("Quarantine", found["health"]["quarantined"]),
            ("Version", found.get("version", "")),
            ("HA", "paused, acknowledged by the node" if found["paused"] else ""),
        ]
    )


@app.command()
def add(
    node: Node,
    addresses: Annotated[
        list[str], typer.Option("--address", help="NETWORK=IP; `management` is required.", metavar="NETWORK=IP")
    ],
    roles: Annotated[list[str], typer.Option("--roles", help="compute,storage,s3,backup")] = ["compute", "storage"],  # noqa: B006
    bundle: Annotated[str, typer.Option("--bundle", help="File for the join bundle; - is standard output.")] = "",
    token: Annotated[
        bool, typer.Option("--token", help="Print a join token; nothing secret is written to a file.")
    ] = False,
    expires: Annotated[str, typer.Option("--expires", help="How long the token is good, like 30m, 1h, 2d.")] = "1h",
    failure_domain: Annotated[str, typer.Option("--failure-domain", help="E.g. the rack.")] = "",
    devices: Devices = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Make a machine a member, by a join token or a bundle (each as secret as a root password)."""
    if token and bundle:
        raise InvalidInput("a token and a bundle are asked for", "Choose one of --token and --bundle.")
    body: dict[str, object] = {
        "id": node,
        "roles": names(roles),
        "addresses": pairs(addresses, "address", "management=10.77.0.12"),
        "failure_domain": failure_domain,
        "fence_devices": [device(text) for text in devices],
    }
    api = connection.api()
    if token:
        join_token.show(api.post("/nodes", {**body, "token_s": join_token.seconds(expires)}), as_json=as_json)
        return
    if bundle == "-":
        sys.stdout.buffer.write(base64.b64decode(api.post("/nodes", body)["data"]["bundle"]))
        return
    target = Path(bundle or f"{node}.bundle")
    with _new_secret_file(target) as file:  # before the node is added: the bundle is told only once
        try:
            answer = api.post("/nodes", body)
        except HoldfastError:
            target.unlink()
            raise
        file.write(base64.b64decode(answer["data"].pop("bundle")))
    if as_json:
        output.emit_json({**answer, "bundle": str(target)})
        return
    output.outcome(answer, as_json=False)
    output.say(f"Copy {target} to {node} and run there: holdfast node join {target}")


def _new_secret_file(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise Conflict(
            f"the bundle cannot be written to {path}: {error.strerror}", "Name another file with --bundle."
        ) from error


@app.command()
def join(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="The bundle that `holdfast node add` wrote (- is standard input); with --token: URLs of the API, if the "
            "token's own do not lead there."
        ),
    ] = None,
    token: Annotated[
        str, typer.Option("--token", help="The token of `holdfast node token`; - reads it from standard input.")
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="This machine is that node already: renew its certificate and secrets.")
    ] = False,
    settings: Annotated[
        list[str], typer.Option("--set", help="Key of node.toml that differs here.", metavar="KEY=VALUE")
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Make this machine the node its token or bundle was made for. Run it as root on that machine."""
    local = pairs(settings, "setting", "watchdog=/dev/watchdog1")
    if token:
        from holdfast.bootstrap.enrol import join_by_token  # noqa: PLC0415 - loads cryptography

        text = sys.stdin.readline() if token == "-" else token  # noqa: S105 (standard input)
        config = join_by_token(text, source or (), local=local, again=again)
    else:
        from holdfast.bootstrap.bundle import join as unpack  # noqa: PLC0415 - loads cryptography

        config = unpack(_bundle(source or ()), local=local)
    if as_json:
        output.emit_json({"node": config.id, "cluster": config.cluster})
        return
    output.say(f"This machine is now node {config.id} of the cluster {config.cluster}.")
    if not again:
        output.say("Start it: systemctl enable --now holdfast-guard holdfast-agent.")
    if not token:
        output.say("Then delete the bundle.")


def _bundle(source: Sequence[str]) -> bytes:
    if len(source) != 1:
        raise InvalidInput("neither a token nor one bundle is given", "Give --token TOKEN, or the bundle's file.")
    try:
        return sys.stdin.buffer.read() if source[0] == "-" else Path(source[0]).read_bytes()
    except OSError as error:
        raise InvalidInput(f"the bundle {source[0]} cannot be read: {error.strerror}", "Check its name.") from error


@app.command("set")
def set_(
    node: Node,
    limits: Annotated[
        list[str],
        typer.Option(
            "--slots", help="At most so many of a kind, e.g. vm=40,nfs=10; vm=none: no limit.", metavar="SLOTS"
        ),
    ] = [],  # noqa: B006
    failure_domain: Annotated[
        str | None, typer.Option("--failure-domain", help="E.g. the rack; empty: one of its own.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where the cluster then survives less than it is to.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change what a node may carry, or where it stands. What runs on it stays."""
    body = {"slots": slots(limits), "failure_domain": failure_domain, "force": force}
    output.outcome(connection.api().put(f"/nodes/{part(node)}", body), as_json=as_json)


@app.command()
def remove(
    node: Node,
    force: Annotated[bool, typer.Option("--force", help="Also where the rest survives less than it is to.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a node that is shut down or claimed and carries nothing. Its certificates count no more."""
    answer = connection.api().delete(f"/nodes/{part(node)}", force=str(force).lower())
    output.outcome(answer, as_json=as_json)


@app.command("confirm-dead")
def confirm_dead(
    node: Node,
    yes: Annotated[bool, typer.Option("--yes", help="I have made sure that it is off.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="How you know; kept in the incident.")] = "",
    as_json: Json = False,
) -> None:
    """Say that a node is dead when nothing else can prove it. A wrong word corrupts data: the warning says which."""
    api = connection.api()
    path = f"/nodes/{part(node)}/confirm-dead"
    if not yes:
        try:
            api.post(path, {"reason": reason, "yes": False})
        except ApiRefused as refusal:
            if "--yes" not in refusal.advice or not sys.stdin.isatty():
                raise
            output.warn(refusal.message + ".")
            if typer.prompt(f"Type {node} if it is certainly off", default="", show_default=False) != node:
                raise Conflict("nothing was confirmed", "Switch the node off first, then repeat this.") from None
    output.outcome(api.post(path, {"reason": reason, "yes": True}), as_json=as_json)


@app.command("return")
def return_(node: Node, as_json: Json = False) -> None:
    """End the quarantine of a node that failed too often: it may carry instances again."""
    output.outcome(connection.api().post(f"/nodes/{part(node)}/return"), as_json=as_json)


@fence.command("set")
def fence_set(
    node: Node,
    devices: Devices = [],  # noqa: B006
    none: Annotated[bool, typer.Option("--none", help="Remove all fence devices.")] = False,
    as_json: Json = False,
) -> None:
    """Replace the fence devices of a node."""
    if bool(devices) == none:
        raise InvalidInput("no fence device is given", "Give --device once or more, or --none to remove all.")
    body = {"devices": [device(text) for text in devices]}
    output.outcome(connection.api().put(f"/nodes/{part(node)}/fence-devices", body), as_json=as_json)


@fence.command("test")
def fence_test(node: Node, as_json: Json = False) -> None:
    """Read the power state through each fence device; switches nothing. Exit status 1 if one does not work."""
    results = connection.api().post(f"/nodes/{part(node)}/fence-test")
    if as_json:
        output.emit_json(results)
    else:
        output.table(
            ("Device", "Type", "Works", "Answer", "What to do"),
            ((r["name"], r["type"], output.yes_no(r["ok"]), r["text"], r["advice"]) for r in results),
            empty="There is no fence device.",
        )
    if not all(result["ok"] for result in results):
        raise typer.Exit(1)
