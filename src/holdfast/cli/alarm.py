"""holdfast alarm: what is wrong now, and who is told of it."""

import sys
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import content, names
from holdfast.cli.output import Json
from holdfast.client import part
from holdfast.errors import InvalidInput

app = typer.Typer(no_args_is_help=True)
receiver = typer.Typer(no_args_is_help=True)
app.add_typer(receiver, name="receiver", help="Who is told of alarms: webhooks, mail addresses, Alertmanagers.")

Alarm = Annotated[str, typer.Argument(help="Its id, e.g. node-dead:n3.", metavar="ALARM")]
Name = Annotated[str, typer.Argument(help="A name for it, of your choice.")]


@app.command("list")
def list_alarms(
    everything: Annotated[bool, typer.Option("--all", help="What is over, too.")] = False,
    severity: Annotated[str, typer.Option("--severity", help="At least this: info, warning, error.")] = "",
    as_json: Json = False,
) -> None:
    """What is wrong, the most severe first."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        query = {"cleared": str(everything).lower(), "limit": 1000, "severity": severity, "cursor": cursor}
        answer = connection.api().get("/alarms", **query)
        found += answer["items"]
        cursor = answer["next"]
        if not cursor:
            break
    if as_json:
        output.emit_json(found)
        return
    rows = ((each["severity"], each["state"], each["id"], each["raised_at"][:16], each["text"]) for each in found)
    output.table(("Severity", "State", "Alarm", "Since (UTC)", "What"), rows, empty="There is no alarm.")


@app.command("show")
def show(alarm: Alarm, as_json: Json = False) -> None:
    """One alarm and what to do about it."""
    found = connection.api().get(f"/alarms/{part(alarm)}")
    if as_json:
        output.emit_json(found)
        return
    seen = f"{found['acknowledged_by']}, {found['acknowledged_at']}" if found["acknowledged_by"] else ""
    output.facts(
        (
            ("alarm", found["id"]),
            ("severity", found["severity"]),
            ("state", found["state"]),
            ("what", found["text"]),
            ("what to do", found["advice"]),
            ("since", found["raised_at"]),
            ("cleared", found["cleared_at"]),
            ("acknowledged", seen),
            ("note", found["note"]),
        )
    )


@app.command("acknowledge")
def acknowledge(
    alarm: Alarm,
    note: Annotated[str, typer.Option("--note", help="What others should know.")] = "",
    as_json: Json = False,
) -> None:
    """Say that you look after it. It stays until what is wrong is over, and is told again only when it gets worse."""
    output.outcome(connection.api().post(f"/alarms/{part(alarm)}/acknowledge", {"note": note}), as_json=as_json)


# --- receivers ----------------------------------------------------------------------------------------------------------


@receiver.command("add")
def add(
    name: Name,
    webhook: Annotated[
        str,
        typer.Option(
            "--webhook", help="POST JSON to this https:// URL; - reads it from standard input.", metavar="URL"
        ),
    ] = "",
    key_file: Annotated[str, typer.Option("--key-file", help="Key that signs what is posted.", metavar="FILE")] = "",
    email: Annotated[list[str], typer.Option("--email", help="Send mail to this address. Repeatable.")] = [],  # noqa: B006
    sender: Annotated[str, typer.Option("--from", help="Sender of the mail.")] = "",
    server: Annotated[str, typer.Option("--server", help="Mail server.")] = "",
    port: Annotated[int, typer.Option("--port", help="Its port.", min=1, max=65535)] = 587,
    tls: Annotated[str, typer.Option("--tls", help="starttls, tls (from the first byte) or none.")] = "starttls",
    alertmanager: Annotated[
        str, typer.Option("--alertmanager", help="URL of a Prometheus Alertmanager.", metavar="URL")
    ] = "",
    user: Annotated[str, typer.Option("--user", help="Log in to the mail server or Alertmanager.")] = "",
    password_file: Annotated[str, typer.Option("--password-file", help="Its password.", metavar="FILE")] = "",
    severity: Annotated[str, typer.Option("--severity", help="From this on: info, warning, error.")] = "warning",
    ca_file: Annotated[
        str, typer.Option("--ca-file", help="Authorities of the server's certificate (default: the system's).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Tell somebody of alarms. Everything that is open now is told at once."""
    if sum(map(bool, (webhook, email, alertmanager))) != 1:
        raise InvalidInput("one way to tell it is needed", "Give one of --webhook, --email and --alertmanager.")
    ca = content(ca_file) if ca_file else ""
    password = _secret(password_file) if password_file else ""
    body: dict[str, Any] = {"name": name, "min_severity": severity}
    if webhook:
        url = sys.stdin.readline().strip() if webhook == "-" else webhook
        body["webhook"] = {"url": url, "key": _secret(key_file) if key_file else "", "ca": ca}
    elif alertmanager:
        body["alertmanager"] = {"url": alertmanager, "user": user, "password": password, "ca": ca}
    else:
        if not server or not sender:
            raise InvalidInput("server and sender of the mail are missing", "Give --server and --from.")
        mail = {"server": server, "port": port, "tls": tls, "sender": sender, "to": names(email)}
        body["email"] = {**mail, "user": user, "password": password, "ca": ca}
    output.outcome(connection.api().post("/alarms/receivers", body), as_json=as_json)


@receiver.command("list")
def list_receivers(as_json: Json = False) -> None:
    """Who is told, and whether it works."""
    found = connection.api().get("/alarms/receivers")["items"]
    if as_json:
        output.emit_json(found)
        return
    rows = (
        (
            each["name"],
            each["type"],
            _where(each["options"]),
            each["min_severity"],
            each["error"] or ("ok" if each["at"] else "nothing told yet"),
        )
        for each in found
    )
    output.table(("Receiver", "Type", "Where", "From", "Deliveries"), rows, empty="Nobody is told of alarms.")


@receiver.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Its name.")], as_json: Json = False) -> None:
    """Tell it nothing any more."""
    output.outcome(connection.api().delete(f"/alarms/receivers/{part(name)}"), as_json=as_json)


@receiver.command("test")
def test(name: Annotated[str, typer.Argument(help="Its name.")], as_json: Json = False) -> None:
    """Send it a test alarm, and wait until it has taken it."""
    output.outcome(connection.api().post(f"/alarms/receivers/{part(name)}/test"), as_json=as_json)


def _where(options: dict[str, str]) -> str:
    return options.get("to") or options.get("url") or options.get("host", "")


def _secret(file: str) -> str:
    """Its first line."""
    lines = content(file).splitlines()
    if not lines or not lines[0]:
        raise InvalidInput(f"{file} is empty", "Write the secret into its first line.")
    return lines[0]
