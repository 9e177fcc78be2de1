"""holdfast token: API tokens for programs. A token is shown once, by the command that makes it."""

from typing import Annotated

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import names
from holdfast.cli.output import Json
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, e.g. backup-job.")],
    scope: Annotated[
        list[str],
        typer.Option("--scope", help="read, operate, operate:KIND, administer or metrics; several by commas."),
    ],
    owner: Annotated[str, typer.Option("--owner", help="Account it belongs to; only root says whose.")] = "",
    days: Annotated[int, typer.Option("--days", help="How long it lives.", min=1)] = 90,
    forever: Annotated[bool, typer.Option("--forever", help="It never expires.")] = False,
    as_json: Json = False,
) -> None:
    """Make an API token. It is shown now and never again; send it as `Authorization: Bearer …`, or set HOLDFAST_TOKEN."""
    body = {"name": name, "scopes": names(scope), "days": None if forever else days, "owner": owner}
    answer = connection.api().post("/tokens", body)
    output.outcome(answer, as_json=as_json)
    if not as_json:
        output.facts([("Token", answer["data"]["token"] + "  (shown once)"), ("Expires", answer["data"]["expires"])])


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Your API tokens; administrators and root see all."""
    found = connection.api().get("/tokens")
    if as_json:
        output.emit_json(found)
        return
    rows = (
        (
            each["id"],
            each["name"],
            each["owner"],
            ", ".join(each["scopes"]),
            each["expires"] or "never",
            f"{each['last_used']} from {each['last_address']}" if each["last_used"] else "never",
        )
        for each in found
    )
    output.table(("Id", "Name", "Owner", "Scopes", "Expires", "Last used"), rows, empty="There is no API token.")


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Its id, from `holdfast token list`.", metavar="ID")],
    as_json: Json = False,
) -> None:
    """End an API token at once."""
    output.outcome(connection.api().delete(f"/tokens/{part(token_id)}"), as_json=as_json)
