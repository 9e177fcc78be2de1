"""What the parameters of paths and queries mean, by their names: one sentence and an example each, for OpenAPI."""

from typing import Any

SENTENCES: dict[str, tuple[str, Any]] = {
    "alarm_id": ("Of the alarm, as lists name it.", None),
    "apex": ("The zone's name.", "cluster.example.com"),
    "bring_back": ("What was moved off returns. Left out: as it was said when the maintenance began.", True),
    "cleared": ("Those that are over, too.", False),
    "cursor": ("`next` of the page before; empty: from the newest.", ""),
    "disks": ("Its disks are deleted once it is gone.", False),
    "drill_id": ("Of the drill; `last`: the newest.", "last"),
    "fail": ("Nodes that are imagined to fail, all at once.", ["n2"]),
    "force": ("Also where that interrupts somebody or breaks the guarantee: what is refused without says why.", False),
    "incident_id": ("Of the incident, as lists name it.", None),
    "instance": ("The instance that has the name.", "nfs/vol1"),
    "instance_id": ("Kind and names with slashes.", "nfs/vol1"),
    "keep": ("The management node that stays.", "n1"),
    "key": ("Part of a changed key of the store.", "spec/nodes/"),
    "kind": ("Of the service: panel, vm, iscsi, s3, backup or nfs.", "nfs"),
    "limit": ("At most so many.", 100),
    "lines": ("So many, the last ones.", 200),
    "name": ("Of what the path is about.", "vol1"),
    "node": ("The node's id.", "n2"),
    "node_id": ("The node's id.", "n2"),
    "operation": ("`change`, `login`, `login-failed`, `login-refused`, `logout`, `refused`, `join-refused`.", "change"),
    "resolver": ("The address of a name server that is asked as clients ask it.", "10.78.0.53"),
    "restarts": ("Also move what must be stopped and started for it.", True),
    "session_id": ("Of the session, as lists name it.", None),
    "severity": ("At least this: `info`, `warning` or `error`.", "warning"),
    "since": ("ISO 8601 UTC, or the beginning of it.", "2026-11-23T14"),
    "task_id": ("Of the task; `last`: the newest.", "last"),
    "tolerate": ("So many nodes that may fail at once; left out: what the compute cluster is set to.", 1),
    "token_id": ("Of the token, as lists name it: not the token.", None),
    "user": ("The user's name.", "alice"),
    "who": ("The account's name.", "ann"),
    "yes": ("It is to be lost for ever; without this the refusal says what would be.", False),
}


def explain(parameter: dict[str, Any]) -> None:
    """Complete a parameter of an OpenAPI operation that says nothing of itself."""
    if parameter.get("description") or parameter["name"] not in SENTENCES:
        return
    text, example = SENTENCES[parameter["name"]]
    parameter["description"] = text
    if example is not None:
        parameter["example"] = example
