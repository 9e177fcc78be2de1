"""holdfast user: accounts of API and panel."""

from typing import Annotated

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.cli.top import PasswordFile, read_password
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the account.")]


@app.command()
def create(
    name: Name,
    role: Annotated[str, typer.Option("--role", help="viewer, operator or admin.")] = "viewer",
    password_file: PasswordFile = "",
    as_json: Json = False,
) -> None:
    """Create an account. The password is asked for, or read from a file."""
    secret = read_password(f"Password of {name}", password_file, twice=True)
    body = {"name": name, "role": role, "password": secret}
    output.outcome(connection.api().post("/users", body), as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All accounts."""
    found = connection.api().get("/users")
    if as_json:
        output.emit_json(found)
        return
    rows = ((each["name"], each["role"], "closed" if each["disabled"] else "open", each["created"]) for each in found)
    output.table(("Account", "Role", "State", "Created"), rows, empty="There is no account.")


@app.command("set-role")
def set_role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, operator or admin.")],
    as_json: Json = False,
) -> None:
    """Give an account another role. Its sessions end; its API tokens hold what the new role holds."""
    output.outcome(connection.api().put(f"/users/{part(name)}", {"role": role}), as_json=as_json)


@app.command()
def disable(name: Name, as_json: Json = False) -> None:
    """Close an account: nobody can log in, its sessions end, its API tokens open nothing."""
    output.outcome(connection.api().put(f"/users/{part(name)}", {"disabled": True}), as_json=as_json)


@app.command()
def enable(name: Name, as_json: Json = False) -> None:
    """Open a closed account again."""
    output.outcome(connection.api().put(f"/users/{part(name)}", {"disabled": False}), as_json=as_json)


@app.command()
def unlock(name: Name, as_json: Json = False) -> None:
    """Forget the wrong passwords that were tried for an account."""
    output.outcome(connection.api().post(f"/users/{part(name)}/unlock"), as_json=as_json)


@app.command()
def delete(name: Name, as_json: Json = False) -> None:
    """Delete an account with its sessions and API tokens."""
    output.outcome(connection.api().delete(f"/users/{part(name)}"), as_json=as_json)


@app.command()
def sessions(
    name: Annotated[str, typer.Argument(help="Name of the account; without it your own.")] = "", as_json: Json = False
) -> None:
    """Who is logged in, since when and from where."""
    api = connection.api()
    found = api.get(f"/users/{part(name)}")["sessions"] if name else api.get("/me/sessions")
    if as_json:
        output.emit_json(found)
        return
    rows = ((each["id"], each["began"], each["ends"], each["address"], each["agent"]) for each in found)
    output.table(("Session", "Began", "Ends at last", "From", "With"), rows, empty="There is no session.")


@app.command("end-sessions")
def end_sessions(name: Name, as_json: Json = False) -> None:
    """End all sessions of an account."""
    output.outcome(connection.api().delete(f"/users/{part(name)}/sessions"), as_json=as_json)
