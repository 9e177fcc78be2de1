"""holdfast s3 user: who may use an S3 cluster. A secret key is shown once, by the command that makes it."""

from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.client import part

app = typer.Typer(no_args_is_help=True)

Cluster = Annotated[str, typer.Argument(help="Name of the S3 cluster.")]
User = Annotated[str, typer.Argument(help="Name of the user.")]


def _path(cluster: str, user: str = "", what: str = "") -> str:
    return "/".join([f"/s3/clusters/{part(cluster)}/users", *(part(word) for word in (user, what) if word)])


def _made(answer: dict[str, Any], *, as_json: bool) -> None:
    output.outcome(answer, as_json=as_json)
    if not as_json:
        output.facts(
            [
                ("Access key", answer["data"]["access_key"]),
                ("Secret key", answer["data"]["secret_key"] + "  (shown once)"),
            ]
        )


@app.command()
def create(cluster: Cluster, user: User, as_json: Json = False) -> None:
    """Create a user with an access key. The secret key is shown now and never again."""
    _made(connection.api().post(_path(cluster), {"name": user}), as_json=as_json)


@app.command()
def rotate(
    cluster: Cluster,
    user: User,
    keep: Annotated[bool, typer.Option("--keep", help="The old keys work on, until a rotation without this.")] = False,
    as_json: Json = False,
) -> None:
    """Give a user another access key; buckets and objects stay its own. The secret key is shown now and never again."""
    _made(connection.api().post(_path(cluster, user, "rotate"), {"keep": keep}), as_json=as_json)


@app.command("list")
def list_(cluster: Cluster, as_json: Json = False) -> None:
    """The users of an S3 cluster with the ids of their access keys."""
    found = connection.api().get(_path(cluster))
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("User", "Enabled", "Access keys", "Newest key of"),
        (
            (
                user["name"],
                output.yes_no(user["enabled"]),
                ", ".join(key["id"] for key in user["keys"]),
                max((key["created"] for key in user["keys"]), default="-"),
            )
            for user in found
        ),
        empty=f"Nobody may use it yet. Create a user with `holdfast s3 user create {cluster} NAME`.",
    )


@app.command()
def disable(cluster: Cluster, user: User, as_json: Json = False) -> None:
    """Refuse all keys of a user. Buckets and objects stay as they are."""
    output.outcome(connection.api().post(_path(cluster, user, "disable")), as_json=as_json)


@app.command()
def enable(cluster: Cluster, user: User, as_json: Json = False) -> None:
    """Accept the keys of a user again."""
    output.outcome(connection.api().post(_path(cluster, user, "enable")), as_json=as_json)


@app.command()
def delete(
    cluster: Cluster,
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, and not only say what becomes of the objects.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a user and its keys. What it owns stays, out of anybody's reach."""
    output.outcome(connection.api().delete(_path(cluster, user), yes=str(yes).lower()), as_json=as_json)
