"""holdfast audit: who changed what, who logged in, what was refused."""

import json
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json

PAGE = 500


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(
    limit: Annotated[int, typer.Option("--limit", help="How many, the newest.", min=1)] = 50,
    who: Annotated[str, typer.Option("--who", help="Of this account only.")] = "",
    operation: Annotated[
        str,
        typer.Option(
            "--operation", help="change, login, login-failed, login-refused, logout, refused or join-refused."
        ),
    ] = "",
    key: Annotated[str, typer.Option("--key", help="Changes of keys with this in their name, e.g. nodes/n2.")] = "",
    since: Annotated[str, typer.Option("--since", help="E.g. 2026-01-31 or 2026-01-31T12:00 (UTC).")] = "",
    details: Annotated[bool, typer.Option("--details", help="What was there before and after.")] = False,
    as_json: Json = False,
) -> None:
    """The audit, newest first: changes, logins and what was refused."""
    asked = {"who": who, "operation": operation, "key": key, "since": since}
    found = _pages({name: value for name, value in asked.items() if value}, limit)
    if as_json:
        output.emit_json(found)
    elif details:
        for each in found:
            _show(each)
    else:
        rows = (
            (each["wall"], each["who"] or "?", each["role"], _origin(each), each["operation"], each["text"])
            for each in found
        )
        output.table(("When", "Who", "Role", "From", "What", "Text"), rows, empty="There is nothing in the audit.")


def _pages(asked: dict[str, object], limit: int) -> list[dict[str, Any]]:
    api, cursor = connection.api(), ""
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        page = api.get("/audit", **asked, limit=min(PAGE, limit - len(found)), **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        cursor = page["next"]
        if not cursor:
            break
    return found


def _origin(each: dict[str, Any]) -> str:
    return f"{each['address']} ({each['via']})" if each["address"] else str(each["via"])


def _show(each: dict[str, Any]) -> None:
    output.say(
        f"{each['wall']}  {each['who'] or '?'} ({each['role']}, {_origin(each)})  {each['operation']}: {each['text']}"
    )
    for change in each["changes"]:
        before, after = (json.dumps(change[side], ensure_ascii=False) for side in ("before", "after"))
        output.say(f"    {change['key']}\n      before  {before}\n      after   {after}")
    if each["more"]:
        output.say(f"    and {each['more']} more")
