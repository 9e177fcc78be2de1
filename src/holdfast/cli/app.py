"""Builds the command tree. A group's module is imported only when that group is asked for."""

import importlib
import importlib.util
import os
from collections.abc import Sequence
from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli import connection

GROUPS: dict[str, tuple[str, str]] = {
    "cluster": ("holdfast.cli.cluster", "Create a cluster, look at it."),
    "node": ("holdfast.cli.node", "Nodes: add, join, remove, maintenance, fence devices, confirm a death."),
    "service": ("holdfast.cli.service", "Services: list, start, stop, move, set-state, lock."),
    "compute": ("holdfast.cli.compute", "The nodes that carry virtual machines, and what is kept free on them."),
    "vm": ("holdfast.cli.vm", "Virtual machines: create, import, start, stop, migrate, change, delete."),
    "rule": ("holdfast.cli.rule", "Where instances run, together or apart, and in which order they start."),
    "nfs": ("holdfast.cli.nfs", "NFS volumes."),
    "iscsi": ("holdfast.cli.iscsi", "iSCSI volumes and the target groups that serve them."),
    "s3": ("holdfast.cli.s3", "S3 object storage: clusters, their nodes and users."),
    "backup": ("holdfast.cli.backup", "Backup gateways for restic: clusters, their nodes and users."),
    "dns": ("holdfast.cli.dns", "Names of gateways and services: zones, update targets, what is published."),
    "ha": ("holdfast.cli.ha", "High availability of the management plane; pause and resume."),
    "task": ("holdfast.cli.task", "What was set going, how far it is, and how to break it off."),
    "drill": ("holdfast.cli.drill", "Find out before it is needed whether a failover would work."),
    "alarm": ("holdfast.cli.alarm", "Alarms: what is wrong now, acknowledge it, who is told."),
    "user": ("holdfast.cli.user", "Accounts of API and panel: roles, passwords, sessions."),
    "token": ("holdfast.cli.token", "API tokens for programs."),
    "upgrade": (
        "holdfast.cli.upgrade",
        "Bring another installed version into force, node by node, while services run.",
    ),
    "incident": ("holdfast.cli.incident", "Incidents and events: what happened, step by step."),
    "sim": (
        "holdfast.cli.sim",
        "Simulated clusters: scenarios and random faults.",
    ),
    "lab": ("holdfast.cli.lab", "Real nodes on this one machine, to be killed."),
    "demo": ("holdfast.cli.demo", "See it work: a real cluster here, and a node that dies."),
}
"""Name → module with a Typer called `app`, and its line in the help."""

COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("holdfast.cli.top", "The whole cluster at a glance."),
    "login": ("holdfast.cli.top", "Log in from a machine that is no node."),
    "logout": ("holdfast.cli.top", "End the session."),
    "password": ("holdfast.cli.top", "Set an account's password."),
    "support-bundle": ("holdfast.cli.support", "What somebody who helps needs to see, without secrets, in one file."),
    "audit": ("holdfast.cli.audit", "Who changed what, who logged in, what was refused."),
    "version": ("holdfast.cli.top", "The version of this program."),
    "plan": ("holdfast.cli.plan", "The planner alone, asked about a cluster in a file."),
    "explain": ("holdfast.cli.planning", "Why an instance is where it is, or waits."),
    "what-if": ("holdfast.cli.planning", "What would happen if these nodes failed."),
    "rebalance": ("holdfast.cli.planning", "Even out the load of the nodes."),
}
"""Name → module with a function `register`, and its line in the help."""
COMPLETE = "_HOLDFAST_COMPLETE"


def build(arguments: Sequence[str]) -> typer.Typer:
    """The tree for these arguments: the group that is asked for in full, the others as one line of help each."""
    app = typer.Typer(
        name="holdfast",
        help="Holdfast keeps the services of a cluster alive when nodes fail, and never runs anything twice.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 ended by Ctrl-C.",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    wanted = next((word for word in arguments if word in GROUPS or word in COMMANDS), "")
    everything = COMPLETE in os.environ
    asked = {module for name, (module, _) in COMMANDS.items() if everything or name == wanted}
    for module in sorted(asked):
        importlib.import_module(module).register(app)
    for name, (module, text) in COMMANDS.items():
        if module not in asked:
            app.command(name, help=text)(_stub)
    for name, (module, text) in GROUPS.items():
        if name == wanted or everything:
            if importlib.util.find_spec(module) is not None:
                app.add_typer(importlib.import_module(module).app, name=name, help=text)
        else:
            stub = typer.Typer()
            stub.callback(invoke_without_command=True)(_stub)
            app.add_typer(stub, name=name, help=text)
    return app


def _stub() -> None:
    raise AssertionError("a group or command was run that the arguments do not name")


def _version(asked: bool) -> None:
    if asked:
        print(f"holdfast {__version__}")
        raise typer.Exit


def _root(
    url: Annotated[
        str,
        typer.Option(
            envvar="HOLDFAST_URL", help="API of the cluster, https://ADDRESS:8443; several by commas.", metavar="URL"
        ),
    ] = "",
    ca: Annotated[str, typer.Option(envvar="HOLDFAST_CA", help="The cluster's CA certificate.", metavar="FILE")] = "",
    version: Annotated[bool, typer.Option("--version", help="Its version.", is_eager=True, callback=_version)] = False,
) -> None:
    connection.configure(url=url, ca=ca)


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Parse and run; wrong usage is printed by Typer itself and gives 2."""
    result = typer.main.get_command(app)(args=list(arguments), prog_name="holdfast", standalone_mode=True)
    return result if isinstance(result, int) else 0
