"""holdfast cluster backup, restore, forget-store: the cluster's state in a file, and back from it."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import pairs
from holdfast.cli.output import Json
from holdfast.errors import Conflict, InvalidInput, NotPermitted

Passphrase = Annotated[
    Path, typer.Option("--passphrase-file", help="Its first line opens the backup; keep it elsewhere.", metavar="FILE")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the group `cluster`."""
    app.command("backup")(backup)
    app.command("check-backup")(check_backup)
    app.command("restore")(restore)
    app.command("forget-store")(forget_store)


def backup(
    file: Annotated[Path, typer.Argument(help="What to write; a directory gets a new file, named by the time.")],
    passphrase_file: Passphrase,
    keep: Annotated[int, typer.Option("--keep", help="Of a directory's files, only so many stay.", min=1)] = 30,
    as_json: Json = False,
) -> None:
    """Write all of the cluster's state, encrypted, to a file. On a management node, as root. Data of services are not in it:
    they are on the shared storage."""
    import asyncio  # noqa: PLC0415

    from holdfast.bootstrap import backup as backups  # noqa: PLC0415 - loads cryptography
    from holdfast.bootstrap.restore import read_passphrase  # noqa: PLC0415
    from holdfast.clock import SystemClock  # noqa: PLC0415
    from holdfast.config import load, store_endpoints  # noqa: PLC0415
    from holdfast.store.etcd import EtcdStore  # noqa: PLC0415 - loads grpc

    _require_root()
    passphrase = read_passphrase(passphrase_file)
    config = load(connection.NODE_TOML)
    clock = SystemClock()

    async def read() -> backups.Backup:
        store = EtcdStore(store_endpoints(config), config.tls, clock=clock)
        try:
            return await backups.make(store, config.id, clock.wall(), pki_dir=Path(config.tls.ca).parent)
        finally:
            await store.close()

    made = asyncio.run(read())
    content = backups.pack(made, passphrase)
    stamp = made.wall[:19].replace(":", "").replace("-", "")
    directory = file.is_dir()
    path = file / f"{made.cluster}-{stamp}{backups.SUFFIX}" if directory else file
    backups.write(path, content)
    removed = backups.prune(file, made.cluster, keep) if directory else []
    if as_json:
        output.emit_json(
            {"file": str(path), "records": len(made.records), "revision": made.revision, "bytes": len(content),
             "removed": [str(one) for one in removed]}
        )  # fmt: skip
        return
    output.say(f"{path}: {len(made.records)} records at revision {made.revision}, {output.size(len(content))}.")
    for one in removed:
        output.say(f"{one} was removed: older than the {keep} that stay.")


def check_backup(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Try whether it opens the backup, too.", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether a backup is whole, and when and where it was made; with the passphrase, whether it opens."""
    from holdfast.bootstrap import backup as backups  # noqa: PLC0415
    from holdfast.bootstrap import sealed  # noqa: PLC0415
    from holdfast.bootstrap.restore import read_passphrase  # noqa: PLC0415

    content = _read(file)
    about = sealed.about(content)
    if passphrase_file is not None:
        backups.unpack(content, read_passphrase(passphrase_file))
    shown = {key: value for key, value in about.items() if key not in ("salt", "holdfast-backup")}
    if as_json:
        output.emit_json({**shown, "opened": passphrase_file is not None})
        return
    output.facts([(key.capitalize(), value) for key, value in shown.items()])
    output.say("It is whole, and the passphrase opens it." if passphrase_file else "It is whole.")


def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    passphrase_file: Passphrase,
    node: Annotated[
        str, typer.Option("--node", help="Which node this machine is to be; else the one it is, or where it was made.")
    ] = "",
    settings: Annotated[
        list[str], typer.Option("--set", help="Key of node.toml that differs here.", metavar="KEY=VALUE")
    ] = [],  # noqa: B006
    replaces: Annotated[
        bool,
        typer.Option(
            "--replaces-dead-machine", help="The machine that was this node is off for good; this is another."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Every member of the old store is lost, and stays away.")] = False,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the daemons by systemd.")] = True,
    as_json: Json = False,
) -> None:
    """Begin a new store from a backup, on this machine, after all management nodes were lost. Every other node stops what is
    strict when it joins the new store; nothing strict starts before each of them has joined, or is proven dead."""
    from holdfast.agent.identity import read_identity  # noqa: PLC0415
    from holdfast.bootstrap import backup as backups  # noqa: PLC0415
    from holdfast.bootstrap import restore as restoring  # noqa: PLC0415
    from holdfast.cli.cluster import start_daemons  # noqa: PLC0415
    from holdfast.clock import SystemClock  # noqa: PLC0415
    from holdfast.net.links import hardware_addresses  # noqa: PLC0415

    _require_root()
    opened = backups.unpack(_read(file), restoring.read_passphrase(passphrase_file))
    wall = SystemClock().wall()
    root = connection.NODE_TOML.parents[2]
    chosen, _ = restoring.choose_node(opened, restoring.RestoreOptions("", 0, node=node), root)
    addresses = restoring.addresses_of(opened, chosen)
    answering = restoring.living_members(opened)
    if answering:
        raise Conflict(
            f"the old store is not lost: its members on {', '.join(answering)} take connections",
            "If most of its members live, nothing needs to be restored. If not: stop holdfast-agent there, run "
            "`holdfast cluster forget-store` on those nodes, and restore on one of them.",
        )
    if not yes:
        raise Conflict(_warning(opened, chosen), "If that is so: the same command with --yes.")
    options = restoring.RestoreOptions(
        wall,
        int(datetime.fromisoformat(wall).timestamp() * 1000),
        node,
        read_identity(hardware_addresses(addresses)).machine_id,
        replaces,
        pairs(settings, "setting", "watchdog=/dev/watchdog1"),
    )
    config = restoring.restore(opened, options, root)
    started = start and start_daemons()
    others = restoring.other_nodes(opened, chosen)
    if as_json:
        output.emit_json({"node": config.id, "cluster": config.cluster, "started": started, "others": others})
        return
    output.say(f"The store begins anew on {config.id}, with what the backup of {opened.wall} holds.")
    if not started:
        output.say("Start it: systemctl enable --now holdfast-guard holdfast-agent")
    output.say("On each of the other former management nodes, before its agent starts: holdfast cluster forget-store")
    if others:
        output.say(
            f"Then {', '.join(others)} join by themselves; of those that stay off: holdfast node confirm-dead NODE"
        )
    output.say("See who is waited for with `holdfast status`; then `holdfast ha update` for three members again.")


def forget_store(
    yes: Annotated[
        bool, typer.Option("--yes", help="The store was restored elsewhere; this copy is worthless.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove this node's copy of a store that was restored on another node, so that the old one never comes back."""
    from holdfast.bootstrap import restore as restoring  # noqa: PLC0415
    from holdfast.config import load  # noqa: PLC0415

    _require_root()
    config = load(connection.NODE_TOML)
    if restoring.living_here(config):
        raise Conflict("this node's member of the store runs", "Stop it first: systemctl stop holdfast-agent.")
    if not yes:
        raise Conflict(
            "what the store's members on this node hold is removed for good",
            "If the store was restored on another node: holdfast cluster forget-store --yes.",
        )
    had = restoring.forget(connection.NODE_TOML.parents[2], config.state_dir)
    text = "this node's copy of the old store is gone" if had else "this node had no copy of a store"
    output.outcome({"text": text, "warnings": []}, as_json=as_json)


def _warning(opened: Any, node: str) -> str:
    return (
        f"the state of {opened.cluster} becomes what it was at {opened.wall}: what was created or removed since is "
        "forgotten, accounts and certificates that were taken away since count again. Every member of the old store must "
        f"be lost and stay away; nodes that were added since must be off. {node} alone keeps the store then"
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"the backup {file} cannot be read: {error.strerror}", "Check its name.") from error


def _require_root() -> None:
    if os.geteuid() != 0:
        raise NotPermitted("this needs root", "Use sudo, on the node itself.")
