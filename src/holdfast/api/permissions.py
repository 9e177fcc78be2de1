"""Who may do what: one table for every route, and what roles and tokens hold.

`api/gate.py` looks here before anything of a request is read. A request needs what *every* row that fits its path asks for,
so whichever route the router chooses, its row was obeyed. What no row fits is answered as if it did not exist
(tests/unit/test_permissions.py demands each route of the application here).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from holdfast.core.model import KINDS

PREFIX = "/api/v1"


class Role(StrEnum):
    """What an account may do. Each role may do what the one before it may."""

    VIEWER = "viewer"
    """Looks at everything but secrets, accounts and the audit."""
    OPERATOR = "operator"
    """Services, instances, moves, maintenance, acknowledging alarms."""
    ADMIN = "admin"
    """Nodes, high availability, accounts, settings."""


PUBLIC = "public"
"""Nobody is asked who they are."""
SELF = "self"
"""Anybody who is known, about themselves."""
PERSON = "person"
"""As SELF, but a person who logged in (or root): a token must not make itself a successor."""
OWN = "own"
"""`own:NAME`: as PERSON, and either that account or somebody who may `administer`."""
READ = "read"
OPERATE = "operate"
ADMINISTER = "administer"
METRICS = "metrics"
"""Only the figures for Prometheus; READ holds it."""

_HELD: dict[Role, tuple[str, ...]] = {
    Role.VIEWER: (READ,),
    Role.OPERATOR: (READ, OPERATE),
    Role.ADMIN: (READ, OPERATE, ADMINISTER),
}
SCOPES = (READ, OPERATE, *(f"{OPERATE}:{kind}" for kind in KINDS), ADMINISTER, METRICS)
"""What an API token can be given."""

TABLE: dict[str, str] = {
    # --- oneself ---
    "POST /login": PUBLIC,
    "POST /logout": SELF,
    "GET /session": SELF,
    "GET /me": SELF,
    "GET /me/sessions": PERSON,
    "DELETE /me/sessions": PERSON,
    "DELETE /me/sessions/{session_id}": PERSON,
    "PUT /users/{name}/password": "own:{name}",
    "GET /tokens": PERSON,
    "POST /tokens": PERSON,
    "DELETE /tokens/{token_id}": PERSON,
    # --- accounts ---
    "GET /users": ADMINISTER,
    "GET /users/{name}": ADMINISTER,
    "POST /users": "administer person",
    "PUT /users/{name}": "administer person",
    "DELETE /users/{name}": "administer person",
    "DELETE /users/{name}/sessions": "administer person",
    "POST /users/{name}/unlock": "administer person",
    "GET /audit": ADMINISTER,
    # --- pictures ---
    "GET /openapi.json": PUBLIC,
    "GET /status": READ,
    "GET /stream": READ,
    "GET /nodes": READ,
    "GET /nodes/{node_id}": READ,
    "GET /services": READ,
    "GET /services/{kind}/{name}": READ,
    "GET /instances": READ,
    "GET /instances/{instance_id:path}": READ,
    "GET /incidents": READ,
    "GET /incidents/{incident_id}": READ,
    "GET /events": READ,
    "GET /ha": READ,
    "GET /rules": READ,
    "GET /compute": READ,
    "GET /nfs": READ,
    "GET /iscsi": READ,
    "GET /iscsi/target-groups/{name}": READ,
    "GET /iscsi/target-groups/{name}/client-config": READ,
    "GET /iscsi/volumes/{name}": READ,
    "GET /s3": READ,
    "GET /s3/clusters/{name}": READ,
    "GET /s3/clusters/{name}/users": READ,
    "GET /backup": READ,
    "GET /backup/clusters/{name}": READ,
    "GET /backup/clusters/{name}/users": READ,
    "GET /backup/clusters/{name}/users/{user}/client-config": READ,
    "GET /dns": READ,
    "GET /dns/test": READ,
    "GET /vms": READ,
    "GET /vms/{name}": READ,
    "GET /nfs/volumes/{name}": READ,
    "GET /rules/{name}": READ,
    "GET /tasks": READ,
    "GET /tasks/{task_id}": READ,
    "POST /tasks/{task_id}/cancel": OPERATE,
    "GET /vms/{name}/console": "operate:vm",  # a guest may print anything there
    # --- alarms ---
    "GET /alarms": READ,
    "GET /alarms/{alarm_id}": READ,
    "POST /alarms/{alarm_id}/acknowledge": OPERATE,
    "GET /alarms/receivers": ADMINISTER,
    "POST /alarms/receivers": ADMINISTER,
    "DELETE /alarms/receivers/{name}": ADMINISTER,
    "POST /alarms/receivers/{name}/test": ADMINISTER,
    # --- drills ---
    "GET /drills": READ,
    "GET /drills/{drill_id}": READ,
    "POST /drills": OPERATE,
    # --- planner ---
    "GET /planner/explain/{instance_id:path}": READ,
    "GET /planner/what-if": READ,
    "GET /planner/guarantee": READ,
    "GET /planner/rebalance": READ,
    "POST /planner/rebalance": OPERATE,
    "GET /nodes/{node_id}/maintenance/precheck": READ,
    # --- joining, certificates, the authority ---
    "GET /join/authority": PUBLIC,
    "POST /join": PUBLIC,
    "POST /nodes/{node_id}/tokens": ADMINISTER,
    "GET /tokens/join": ADMINISTER,
    "DELETE /tokens/join/{token_id}": ADMINISTER,
    "GET /certificates": READ,
    "POST /certificates/renew": ADMINISTER,
    "POST /certificates/authority": ADMINISTER,
    # --- the cluster and its nodes ---
    "PUT /cluster": ADMINISTER,
    "PUT /cluster/shutdown-policy": ADMINISTER,
    "POST /nodes": ADMINISTER,
    "PUT /nodes/{node_id}": ADMINISTER,
    "DELETE /nodes/{node_id}": ADMINISTER,
    "PUT /nodes/{node_id}/fence-devices": ADMINISTER,
    "POST /nodes/{node_id}/fence-test": OPERATE,
    "POST /nodes/{node_id}/confirm-dead": ADMINISTER,
    "POST /nodes/{node_id}/maintenance": OPERATE,
    "DELETE /nodes/{node_id}/maintenance": OPERATE,
    "POST /nodes/{node_id}/return": OPERATE,
    "POST /ha": ADMINISTER,
    "PUT /ha": ADMINISTER,
    "DELETE /ha": ADMINISTER,
    "POST /ha/pause": ADMINISTER,
    "DELETE /ha/pause": ADMINISTER,
    "POST /compute": ADMINISTER,
    "PUT /compute": ADMINISTER,
    "POST /compute/ha": ADMINISTER,
    "DELETE /compute/ha": ADMINISTER,
    "POST /rules": OPERATE,
    "DELETE /rules/{name}": OPERATE,
    # --- services of any kind ---
    "POST /services/{kind}/{name}/start": "operate:{kind}",
    "POST /services/{kind}/{name}/stop": "operate:{kind}",
    "PUT /services/{kind}/{name}/state": "operate:{kind}",
    "POST /instances/{instance_id:path}/move": "operate:{instance_id}",
    "POST /instances/{instance_id:path}/lock": "operate:{instance_id}",
    "DELETE /instances/{instance_id:path}/lock": "operate:{instance_id}",
    # --- NFS, virtual machines ---
    "POST /nfs/cluster": "operate:nfs",
    "POST /nfs/volumes": "operate:nfs",
    "PUT /nfs/volumes/{name}/access": "operate:nfs",
    "DELETE /nfs/volumes/{name}": "operate:nfs",
    "POST /vms": "operate:vm",
    "POST /vms/import": "operate:vm",
    "PUT /vms/{name}": "operate:vm",
    "DELETE /vms/{name}": "operate:vm",
    "POST /vms/disks/delete": "operate:vm",
    # --- iSCSI ---
    "POST /iscsi/target-groups": "operate:iscsi",
    "DELETE /iscsi/target-groups/{name}": "operate:iscsi",
    "POST /iscsi/target-groups/{name}/nodes": "operate:iscsi",
    "POST /iscsi/target-groups/{name}/start": "operate:iscsi",
    "POST /iscsi/target-groups/{name}/stop": "operate:iscsi",
    "POST /iscsi/target-groups/{name}/acl": "operate:iscsi",
    "PUT /iscsi/target-groups/{name}/chap": "operate:iscsi",
    "DELETE /iscsi/target-groups/{name}/chap": "operate:iscsi",
    "POST /iscsi/volumes": "operate:iscsi",
    "DELETE /iscsi/volumes/{name}": "operate:iscsi",
    "POST /iscsi/volumes/{name}/attach": "operate:iscsi",
    "POST /iscsi/volumes/{name}/detach": "operate:iscsi",
    "PUT /iscsi/volumes/{name}/size": "operate:iscsi",
    # --- S3 ---
    "POST /s3/clusters": "operate:s3",
    "DELETE /s3/clusters/{name}": "operate:s3",
    "POST /s3/clusters/{name}/rebalance": "operate:s3",
    "POST /s3/clusters/{name}/nodes": "operate:s3",
    "DELETE /s3/clusters/{name}/nodes/{node}": "operate:s3",
    "POST /s3/clusters/{name}/users": "operate:s3",
    "POST /s3/clusters/{name}/users/{user}/rotate": "operate:s3",
    "POST /s3/clusters/{name}/users/{user}/enable": "operate:s3",
    "POST /s3/clusters/{name}/users/{user}/disable": "operate:s3",
    "DELETE /s3/clusters/{name}/users/{user}": "operate:s3",
    # --- backup gateways ---
    "POST /backup/clusters": "operate:backup",
    "PATCH /backup/clusters/{name}": "operate:backup",
    "DELETE /backup/clusters/{name}": "operate:backup",
    "POST /backup/clusters/{name}/nodes": "operate:backup",
    "DELETE /backup/clusters/{name}/nodes/{node}": "operate:backup",
    "POST /backup/clusters/{name}/users": "operate:backup",
    "PATCH /backup/clusters/{name}/users/{user}": "operate:backup",
    "POST /backup/clusters/{name}/users/{user}/rotate": "operate:backup",
    "DELETE /backup/clusters/{name}/users/{user}": "operate:backup",
    # --- DNS ---
    "POST /dns/zones": ADMINISTER,
    "DELETE /dns/zones/{apex}": ADMINISTER,
    "POST /dns/update-targets": ADMINISTER,
    "DELETE /dns/update-targets/{name}": ADMINISTER,
    "POST /dns/secondaries": ADMINISTER,
    "DELETE /dns/secondaries/{name}": ADMINISTER,
    "POST /dns/names": OPERATE,
    "DELETE /dns/names/{name}": OPERATE,
}
"""`METHOD path below /api/v1` → what it needs, all of it. A name in braces is taken from the path; of an instance's id the
kind."""

PAGES: dict[str, str] = {
    "GET /": PUBLIC,
    "GET /login": PUBLIC,
    "GET /static/{version}/{name:path}": PUBLIC,
    "GET /metrics": METRICS,
}
"""Outside of /api/v1: shells of the panel (the way to the form, and files without a word about the cluster), and figures."""


@dataclass(frozen=True, slots=True)
class _Row:
    pattern: re.Pattern[str]
    needs: str

    def need(self, path: str) -> list[str]:
        found = self.pattern.fullmatch(path)
        return [self._filled(need, found) for need in self.needs.split()] if found else []

    def _filled(self, need: str, found: re.Match[str]) -> str:
        before, _, parameter = need.partition("{")
        return f"{before}{found[parameter.rstrip('}')].partition('/')[0]}" if parameter else need


@lru_cache
def _rows() -> dict[str, tuple[_Row, ...]]:
    """Method → its rows."""
    rows: dict[str, list[_Row]] = {}
    for table, before in ((TABLE, PREFIX), (PAGES, "")):
        for route, needs in table.items():
            method, _, path = route.partition(" ")
            rows.setdefault(method, []).append(_Row(re.compile(before + _expression(path), re.DOTALL), needs))
    return {method: tuple(found) for method, found in rows.items()}


def _expression(template: str) -> str:
    """As the router reads it: `{name}` is one part of the path, `{name:path}` any number of them."""
    pieces = re.split(r"\{(\w+(?::path)?)\}", template)
    return "".join(
        re.escape(piece)
        if number % 2 == 0
        else f"(?P<{piece.removesuffix(':path')}>{'.*' if piece.endswith(':path') else '[^/]+'})"
        for number, piece in enumerate(pieces)
    )


def needed(method: str, path: str) -> frozenset[str]:
    """What a request needs, all of it. Empty: there is no such route."""
    rows = _rows().get(method, ())
    return frozenset(need for row in rows for need in row.need(path))


def methods(path: str) -> list[str]:
    """What can be done at a path."""
    return sorted(method for method, rows in _rows().items() if any(row.need(path) for row in rows))


def held(role: Role) -> frozenset[str]:
    """What the role may do."""
    return frozenset(_HELD[role])


def covers(granted: Iterable[str], need: str) -> bool:
    """Whether one of what is granted is `need`, or holds it: `operate` holds `operate:nfs`, `read` holds `metrics`."""
    granted = frozenset(granted)
    return need in granted or need.partition(":")[0] in granted or (need == METRICS and READ in granted)
