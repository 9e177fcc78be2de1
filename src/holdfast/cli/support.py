"""holdfast support-bundle: everything that somebody who helps needs to see, without secrets, in one file."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.output import Json
from holdfast.errors import ConfigError, HoldfastError


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("support-bundle")(support_bundle)


def support_bundle(
    file: Annotated[
        Path | None, typer.Argument(help="What to write, NAME.tar.gz; else a name with node and time, here.")
    ] = None,
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="The ends of the logs, too.")] = True,
    as_json: Json = False,
) -> None:
    """Collect versions, configuration, state, history, logs and the facts of network, store, watchdog and fence devices of
    this node and, through the API, of the cluster. Secrets are taken out. Works while the store is away."""
    from holdfast.clock import SystemClock  # noqa: PLC0415
    from holdfast.config import load  # noqa: PLC0415
    from holdfast.support import archive, collect  # noqa: PLC0415
    from holdfast.support.redact import Redactor  # noqa: PLC0415

    troubles: list[str] = []
    config, api = None, None
    try:
        config = load(connection.NODE_TOML)
    except ConfigError as error:
        troubles.append(str(error))
    try:
        api = connection.api()
    except HoldfastError as error:
        troubles.append(str(error))

    def ask(what: str) -> Any:
        assert api is not None
        method, _, path = what.rpartition(" ")
        return api.call(method or "GET", path, {} if method else None)

    wall = SystemClock().wall()
    path = file or Path(f"holdfast-{config.id if config else 'nowhere'}-{wall[:19].replace(':', '')}.tar.gz")
    root = connection.NODE_TOML.parents[2]

    def progress(name: str) -> None:
        print(f"\r\x1b[K{name} …" if sys.stderr.isatty() else name, end="", file=sys.stderr, flush=True)
        print("", end="" if sys.stderr.isatty() else "\n", file=sys.stderr)

    written = archive.write(
        path,
        collect.everything(config, root, ask if api is not None else None, logs=logs),
        Redactor(collect.secrets_of(config, root)),
        progress,
        {"made": wall, "node": config.id if config else "", "troubles": troubles},
    )
    print("\r\x1b[K" if sys.stderr.isatty() else "", end="", file=sys.stderr, flush=True)
    if as_json:
        output.emit_json(
            {"file": str(written.path), "items": written.items, "bytes": written.size_bytes, "missing": written.missing}
        )
        return
    output.say(f"{written.path}: {written.items} items, {output.size(written.size_bytes)}.")
    for trouble in troubles:
        output.warn(trouble)
    if written.missing:
        output.say(f"Not to be had here: {', '.join(sorted(written.missing))} (why stands in its contents.json).")
    output.say("Secrets were taken out. Names, addresses and logs are in it: look through it before you give it away.")
