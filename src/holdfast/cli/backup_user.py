"""holdfast backup user: who may use a backup cluster. A password is shown once, by the command that makes it."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)

Cluster = Annotated[str, typer.Argument(help="Name of the backup cluster.")]
User = Annotated[str, typer.Argument(help="Name of the user.")]


def _path(cluster: str, *more: str) -> str:
    return "/".join([f"/backup/clusters/{part(cluster)}/users", *(part(word) for word in more)])


def _made(answer: dict[str, Any], *, as_json: bool) -> None:
    output.outcome(answer, as_json=as_json)
    if not as_json:
        output.facts([("User", answer["data"]["user"]), ("Password", answer["data"]["password"] + "  (shown once)")])


@app.command()
def create(
    cluster: Cluster,
    user: User,
    append_only: Annotated[
        bool, typer.Option("--append-only", help="The user deletes and changes nothing, locks excepted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create a user with repositories below /USER/. The password is shown now and never again."""
    _made(connection.api().post(_path(cluster), {"name": user, "append_only": append_only}), as_json=as_json)


@app.command()
def rotate(cluster: Cluster, user: User, as_json: Json = False) -> None:
    """Give a user another password, shown now and never again. Repositories and their keys stay as they are."""
    _made(connection.api().post(_path(cluster, user, "rotate")), as_json=as_json)


@app.command()
def change(
    cluster: Cluster,
    user: User,
    append_only: Annotated[bool, typer.Option("--append-only/--no-append-only", help="Whether it only appends.")],
    as_json: Json = False,
) -> None:
    """Whether a user may delete what it stored, e.g. for the time of a prune."""
    answer = connection.api().call("PATCH", _path(cluster, user), {"append_only": append_only})
    output.outcome(answer, as_json=as_json)


@app.command("list")
def list_(cluster: Cluster, as_json: Json = False) -> None:
    """The users of a backup cluster."""
    found = connection.api().get(_path(cluster))
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("User", "Append-only"),
        ((user["name"], output.yes_no(user["append_only"])) for user in found),
        empty=f"Nobody may use it yet. Create a user with `holdfast backup user create {cluster} NAME`.",
    )


@app.command()
def delete(cluster: Cluster, user: User, as_json: Json = False) -> None:
    """Refuse a user from now on. Its repositories stay in the back-end."""
    output.outcome(connection.api().delete(_path(cluster, user)), as_json=as_json)
