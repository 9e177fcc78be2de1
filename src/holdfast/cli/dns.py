"""holdfast dns: zones of our own, the operator's servers that are kept up to date, what is published, and a test of it."""

import base64
import re
import secrets
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import content, names
from holdfast.cli.output import Json
from holdfast.client import part
from holdfast.errors import InvalidInput

app = typer.Typer(no_args_is_help=True)
zone = typer.Typer(no_args_is_help=True)
name_ = typer.Typer(no_args_is_help=True)
target = typer.Typer(no_args_is_help=True)
secondary = typer.Typer(no_args_is_help=True)
app.add_typer(zone, name="zone", help="Zones that the management nodes serve.")
app.add_typer(name_, name="name", help="Names of ordinary service addresses; gateways have those of their cluster.")
app.add_typer(target, name="update-target", help="Your own servers that are kept up to date by RFC 2136.")
app.add_typer(secondary, name="secondary", help="Your own servers that copy the zones.")

SECRET_BYTES = 32
_IN_FILE = re.compile(r'secret[\s:]+"?([A-Za-z0-9+/=]+)"?')
"""As tsig-keygen and keymgr write it."""

Name = Annotated[str, typer.Argument(help="A name for it, of your choice.")]
Instance = Annotated[str, typer.Argument(help="The instance, e.g. nfs/vol1 or panel/admin.")]
KeyName = Annotated[str, typer.Option("--key", help="Name of the TSIG key, as the server knows it.", metavar="NAME")]
Algorithm = Annotated[str, typer.Option("--algorithm", help="hmac-sha256, hmac-sha384, hmac-sha512 …")]
SecretFile = Annotated[
    str, typer.Option("--secret-file", help="The key's file, or one with its Base64 secret; - is standard input.")
]
Ttl = Annotated[int, typer.Option("--ttl", help="Seconds for which resolvers may remember an address.", min=1)]


# --- zones --------------------------------------------------------------------------------------------------------------


@zone.command("create")
def zone_create(
    apex: Annotated[str, typer.Argument(help="The zone, e.g. cloud.example.com.")],
    network: Annotated[
        str, typer.Option("--network", help="Network on which clients reach the name servers (default: public).")
    ] = "",
    hostmaster: Annotated[str, typer.Option("--hostmaster", help="Mail address (default: hostmaster@ZONE).")] = "",
    ttl: Ttl = 5,
    minimum: Annotated[int, typer.Option("--minimum", help="The same for a name that does not exist.", min=1)] = 5,
    servers: Annotated[
        list[str], typer.Option("--server", help="Also a name server of the zone: your secondary. Repeatable.")
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Serve a zone on every management node. Published names below it are answered from then on."""
    body = {
        "apex": apex,
        "network": network,
        "hostmaster": hostmaster,
        "ttl_s": ttl,
        "minimum_s": minimum,
        "servers": names(servers),
    }
    output.outcome(connection.api().post("/dns/zones", body), as_json=as_json)


@zone.command("delete")
def zone_delete(
    apex: Annotated[str, typer.Argument(help="The zone.")],
    as_json: Json = False,
) -> None:
    """Answer for a zone no more."""
    output.outcome(connection.api().delete(f"/dns/zones/{part(apex)}"), as_json=as_json)


@zone.command("list")
def zone_list(as_json: Json = False) -> None:
    """The zones with their name servers: what the zone above must say."""
    found = connection.api().get("/dns")["zones"]
    if as_json:
        output.emit_json(found)
        return
    rows = (
        (each["zone"]["apex"], name, ", ".join(addresses) or "-", each["zone"]["ttl_s"])
        for each in found
        for name, addresses in sorted(each["servers"].items()) or [("not published yet", [])]
    )
    output.table(("Zone", "Name server", "Address", "TTL s"), rows, empty="There is no zone yet.")


# --- names --------------------------------------------------------------------------------------------------------------


@name_.command("add")
def name_add(
    name: Annotated[str, typer.Argument(help="A fully qualified name.")], instance: Instance, as_json: Json = False
) -> None:
    """Let clients find an instance's address under a name."""
    body = {"instance": instance, "name": name}
    output.outcome(connection.api().post("/dns/names", body), as_json=as_json)


@name_.command("remove")
def name_remove(
    name: Annotated[str, typer.Argument(help="The name.")], instance: Instance, as_json: Json = False
) -> None:
    """Take a name away from an instance."""
    output.outcome(connection.api().delete(f"/dns/names/{part(name)}", instance=instance), as_json=as_json)


# --- update targets -----------------------------------------------------------------------------------------------------


@target.command("add")
def target_add(
    name: Name,
    server: Annotated[str, typer.Option("--server", help="IP address of the zone's primary server.")],
    zone: Annotated[str, typer.Option("--zone", help="The zone there; names below it are written.")],
    key: KeyName,
    secret_file: SecretFile,
    algorithm: Algorithm = "hmac-sha256",
    port: Annotated[int, typer.Option("--port", help="TCP port of the server.", min=1, max=65535)] = 53,
    ttl: Ttl = 5,
    as_json: Json = False,
) -> None:
    """Keep the names of a zone up to date on a server of yours."""
    body = {
        "name": name,
        "server": server,
        "port": port,
        "zone": zone,
        "ttl_s": ttl,
        "key": {"name": key, "secret": _secret(secret_file), "algorithm": algorithm},
    }
    output.outcome(connection.api().post("/dns/update-targets", body), as_json=as_json)


@target.command("remove")
def target_remove(name: Name, as_json: Json = False) -> None:
    """Update it no more. What was written there stays."""
    output.outcome(connection.api().delete(f"/dns/update-targets/{part(name)}"), as_json=as_json)


@target.command("list")
def target_list(as_json: Json = False) -> None:
    """The update targets, and whether they are up to date."""
    found = connection.api().get("/dns")
    if as_json:
        output.emit_json(found["update_targets"])
        return
    rows = (
        (
            each["name"],
            each["zone"],
            f"{each['server']} port {each['port']}",
            each["key"],
            _update(each, found["serial"]),
        )
        for each in found["update_targets"]
    )
    output.table(("Name", "Zone", "Server", "Key", "State"), rows, empty="There is no update target yet.")


def _update(each: dict[str, Any], serial: int) -> str:
    state = each["state"]
    if state["error"]:
        return str(state["error"])
    return "ok" if state["serial"] == serial else f"has {state['serial'] or 'nothing'}, {serial} is on its way"


# --- secondaries --------------------------------------------------------------------------------------------------------


@secondary.command("add")
def secondary_add(
    name: Name,
    address: Annotated[
        list[str], typer.Option("--address", help="Address or prefix that may copy the zones. Repeatable.")
    ],
    notify: Annotated[
        list[str], typer.Option("--notify", help="ADDRESS[:PORT] told of changes (default: its addresses). Repeatable.")
    ] = [],  # noqa: B006
    key: Annotated[
        str, typer.Option("--key", help="Name of the TSIG key that it must sign with.", metavar="NAME")
    ] = "",
    algorithm: Algorithm = "hmac-sha256",
    secret_file: SecretFile = "",
    generate: Annotated[
        bool, typer.Option("--generate", help="Make up the key's secret, and show it this once.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a server of yours copy the zones (AXFR), and tell it of each change (NOTIFY)."""
    if bool(key) != bool(secret_file or generate):
        raise InvalidInput(
            "a key needs a name and a secret", "Give --key with --secret-file or --generate, or neither."
        )
    made = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode() if generate and not secret_file else ""
    secret = made or (_secret(secret_file) if key else "")
    body = {
        "name": name,
        "addresses": names(address),
        "notify": names(notify),
        "key": {"name": key, "secret": secret, "algorithm": algorithm} if key else None,
    }
    answer = connection.api().post("/dns/secondaries", body)
    if as_json and made:
        answer = {**answer, "secret": made}
    output.outcome(answer, as_json=as_json)
    if made and not as_json:
        output.say(f"{key}  {made}")


@secondary.command("remove")
def secondary_remove(name: Name, as_json: Json = False) -> None:
    """It may copy the zones no more."""
    output.outcome(connection.api().delete(f"/dns/secondaries/{part(name)}"), as_json=as_json)


@secondary.command("list")
def secondary_list(as_json: Json = False) -> None:
    """Who may copy the zones."""
    found = connection.api().get("/dns")["secondaries"]
    if as_json:
        output.emit_json(found)
        return
    rows = (
        (each["name"], ", ".join(each["addresses"]), ", ".join(each["notify"]) or "-", each["key"] or "none")
        for each in found
    )
    output.table(("Name", "May copy", "Is told", "Key"), rows, empty="There is no secondary yet.")


# --- what is, and whether it works --------------------------------------------------------------------------------------


@app.command()
def show(as_json: Json = False) -> None:
    """What is published, and why each address is in or out."""
    found = connection.api().get("/dns")
    if as_json:
        output.emit_json(found)
        return
    output.facts(
        [
            ("Zones", ", ".join(each["zone"]["apex"] for each in found["zones"]) or "none"),
            ("Serial", found["serial"] or "nothing is published yet"),
            ("Changed", found["changed"]),
            *((f"Updates of {each['name']}", _update(each, found["serial"])) for each in found["update_targets"]),
        ]
    )
    print()
    rows = [row for each in found["names"] for row in _rows(each)]
    output.table(("Name", "Address", "Published", "Instance", "Why"), rows, empty="No instance has a name.")
    for each in found["names"]:
        if not each["zone"] and not each["targets"]:
            output.warn(f"{each['name']} lies in no zone and no update target: nobody answers for it.")


def _rows(name: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            name["name"],
            one["address"],
            output.yes_no(one["address"] in name["published"]),
            one["instance"],
            one["why"],
        )
        for one in name["candidates"]
    ]


@app.command()
def test(
    resolver: Annotated[
        str,
        typer.Option("--resolver", help="Address of the resolver that stands for the world (default: this node's)."),
    ] = "",
    as_json: Json = False,
) -> None:
    """What each name server and the world answer. Exit status 1 if anything is wrong."""
    query = {"resolver": resolver} if resolver else {}
    found = connection.api().get("/dns/test", **query)
    bad = sum(not one["ok"] for findings in found.values() for one in findings)
    if as_json:
        output.emit_json(found)
    else:
        rows = [
            (apex, one["where"], one["check"], "ok" if one["ok"] else "failed", one["text"])
            for apex, findings in sorted(found.items())
            for one in findings
        ]
        output.table(("Zone", "Asked", "Check", "Result", "What it said"), rows, empty="There is no zone yet.")
    if bad:
        raise typer.Exit(1)


def _secret(file: str) -> str:
    """A TSIG secret from a file, never from the command line, which everybody on the machine can read."""
    text = content(file, "secret file")
    match = _IN_FILE.search(text)
    return match[1] if match else (text.split() or [""])[0]
