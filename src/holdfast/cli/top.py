"""Commands without a group: status, login, logout, password, version."""

import sys
from typing import Annotated, Any

import typer

from holdfast import __version__
from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.client import part
from holdfast.errors import InvalidInput

PasswordFile = Annotated[
    str, typer.Option("--password-file", help="Read the password from the file's first line; - is standard input.")
]


def register(app: typer.Typer) -> None:
    app.command("status")(status)
    app.command("login")(login)
    app.command("logout")(logout)
    app.command("password")(password)
    app.command("version")(version)


def status(as_json: Json = False) -> None:
    """The whole cluster at a glance: nodes, services, open incidents."""
    picture = connection.api().get("/status")
    if as_json:
        output.emit_json(picture)
        return
    manager = picture["manager"]
    management = picture["management"]
    output.facts(
        [
            ("Cluster", f"{picture['cluster']['name']} (profile {picture['cluster']['profile']})"),
            (
                "Management",
                ", ".join(management["nodes"]) + (f" · {management['virtual_ip']}" if management["virtual_ip"] else ""),
            ),
            ("Manager", f"on {manager['node']}, term {manager['term']}" if manager["node"] else "none elected"),
            ("Hold", picture["hold"]),
            ("Guarantee", guarantee(picture["guarantee"])),
            ("Alarms", _alarms(picture.get("alarms", []))),
            ("Store", picture["store_problem"]),
            ("Version", _versions(picture["nodes"])),
            *((f"HA of {service}", f"OFF: {why}") for service, why in sorted(picture["ha_off"].items())),
        ]
    )
    for text in picture["problems"]:
        output.warn(text)
    print()
    node_table(picture["nodes"])
    print()
    instance_table(picture["instances"])
    _incidents(picture)


def _alarms(found: list[dict[str, Any]]) -> str:
    """How many are open, and the worst of them; "" if there is none."""
    if not found:
        return ""
    count = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0]['severity']}: {found[0]['text']}{count}; see `holdfast alarm list`"


def _versions(nodes: list[dict[str, Any]]) -> str:
    """Of the nodes that were seen: one for all, or which has which."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if node["session"]:
            found.setdefault(node.get("version") or "older", []).append(node["id"])
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{version} on {', '.join(ids)}" for version, ids in sorted(found.items()))


def guarantee(word: dict[str, Any] | None) -> str:
    """One line on the word of the manager; "" if it has none."""
    if word is None:
        return ""
    return f"{'holds' if word['holds'] else 'BROKEN'}: {word['text']}"


def _incidents(picture: dict[str, Any]) -> None:
    for incident in picture["open_incidents"]:
        proof = f", proof {incident['proof']}" if incident["proof"] else ""
        print(f"\nIncident {incident['id']}: {incident['node']} since {incident['wall']}{proof}")
        if incident["steps"]:
            print(f"  {incident['steps'][-1]['text']}")
        for instance, why in incident["waiting"].items():
            print(f"  {instance} waits: {why}")


def node_table(nodes: list[dict[str, Any]]) -> None:
    output.table(
        ("Node", "State", "Roles", "Management", "Watchdog", "Fence devices", "Carries", "Note"),
        (
            (
                node["id"],
                node["state"],
                ",".join(node["roles"]),
                node["addresses"].get("management", ""),
                "yes" if node["watchdog"] else "no",
                ",".join(device["name"] for device in node["fence_devices"]) or "-",
                ",".join(node["instances"]) or "-",
                node["note"],
            )
            for node in nodes
        ),
        empty="There is no node yet.",
    )


def instance_table(instances: list[dict[str, Any]]) -> None:
    output.table(
        ("Instance", "State", "Healthy", "Node", "Address", "Waiting for"),
        (
            (
                instance["id"],
                instance["state"],
                output.yes_no(instance["healthy"]) if instance["state"] == "running" else "-",
                instance["node"] + (f" → {instance['moving_to']}" if instance["moving_to"] else "") or "-",
                instance["address"] or "-",
                instance["waiting"] or (instance["detail"] if instance["state"] == "failed" else ""),
            )
            for instance in instances
        ),
        empty="There is no service yet.",
    )


def login(
    name: Annotated[str, typer.Option("--name", help="Account.")] = "admin",
    password_file: PasswordFile = "",
    as_json: Json = False,
) -> None:
    """Log in at --url from a machine that is no node; later commands of this user use the session."""
    url, ca = connection.remote()
    secret = read_password(f"Password of {name}", password_file)
    answer = connection.at(url, ca).post("/login", {"name": name, "password": secret})
    connection.save_session(url, ca, answer["token"])
    if as_json:
        output.emit_json({"user": name, "url": url, "expires_s": answer["expires_s"]})
    else:
        output.say(f"Logged in to {url} as {name}.")


def logout() -> None:
    """End the session that `holdfast login` began."""
    if connection.saved_session():
        try:
            connection.api().post("/logout")
        finally:
            connection.forget_session()
    output.say("Logged out.")


def password(
    name: Annotated[str, typer.Argument(help="Account.")] = "admin",
    password_file: PasswordFile = "",
    old_password_file: Annotated[
        str, typer.Option("--old-password-file", help="The present password; not needed for root on a node.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Set an account's password. Root on a management node needs no old one."""
    api = connection.api()
    old = ""
    if api.get("/session")["via"] != "socket":
        old = read_password("Your present password", old_password_file)
    new = read_password(f"New password of {name}", password_file, twice=True)
    output.outcome(api.put(f"/users/{part(name)}/password", {"password": new, "old": old}), as_json=as_json)


def version(as_json: Json = False) -> None:
    """The version of this program."""
    if as_json:
        output.emit_json({"version": __version__})
    else:
        output.say(f"holdfast {__version__}")


def read_password(prompt: str, file: str, *, twice: bool = False) -> str:
    """From the file, else asked for without echo. Raises InvalidInput where nobody can be asked."""
    if file:
        from holdfast.bootstrap.users import read_password_file  # noqa: PLC0415 - loads argon2

        return read_password_file(file)
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask for a password", "Give it with --password-file FILE (or -).")
    first = str(typer.prompt(prompt, hide_input=True))
    if twice and typer.prompt("Repeat it", hide_input=True) != first:
        raise InvalidInput("the two passwords differ", "Nothing was changed. Try again.")
    return first
