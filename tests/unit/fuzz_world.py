"""A panel process over a cluster in which every kind of thing exists, each secret in it known."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from api_world import NETWORKS, put
from backup_world import FakeBackends
from iscsi_world import NoDevices, storage
from people_world import Panel, panel
from s3_world import files
from vm_world import FakeImages

from holdfast.core.history import Incident
from holdfast.core.model import Beat, BeatPhase, ClusterSpec, NetworkSpec
from holdfast.store import keys

SECRETS = {
    "fence": "fence-password-x1",
    "chap": "chap-secret-xx2",
    "mutual": "mutual-secret-x",
    "backup": "backup-credential-x4",
    "tsig": "dHNpZy1zZWNyZXQteDUtbG9uZy1lbm91Z2g=",
    "webhook": "webhook-path-secret-x6",
    "webhook key": "webhook-signing-key-x7",
    "mail": "mail-password-x8",
}
"""What nobody may be shown. Those that the API makes itself are added by `populated`."""

KNOWN: dict[str, list[str]] = {
    "node_id": ["n1", "n2", "n5", "n9"],
    "node": ["n1", "n3"],
    "kind": ["nfs", "vm", "panel", "iscsi", "s3", "backup"],
    "name": ["vol1", "web", "main", "g1", "lun1", "apart", "vera", "hook", "secondary", "nobody"],
    "instance_id": ["nfs/vol1", "vm/web", "panel/admin", "s3/main/os-1", "nothing/here"],
    "user": ["carol", "nobody"],
    "apex": ["example.lan"],
    "incident_id": ["i1", "last"],
    "alarm_id": ["a1"],
    "session_id": ["abcd"],
    "token_id": ["abcd"],
    "task_id": ["last"],
    "drill_id": ["last"],
}
"""Parameter of a path → what exists, and what does not."""


async def fill(world: Panel, root: Path) -> dict[str, str]:
    """Make one of everything, as an operator would; the secrets that were made on the way."""
    store = world.context.store
    bridged = (NETWORKS[0], NetworkSpec("public", ("10.78.0.0/24",), bridge="br0"))
    await storage(store, root)
    await put(store, {keys.CLUSTER: ClusterSpec("demo", "c1", networks=bridged, shared_root=str(root))})
    beats = {
        keys.beat(f"n{k}"): Beat(f"s{k}", f"b{k}", f"m{k}", 1, 1, BeatPhase.ACTIVE, cpu=8, memory_mib=16384)
        for k in range(1, 6)
    }
    await put(store, beats)
    await put(store, {keys.incident("i1"): Incident("i1", "n2", "2026-01-01T00:00:00Z", "closed")})
    await world.caught_up()
    made: dict[str, str] = {}
    async with world.client(local=True) as client:

        async def ask(method: str, path: str, body: object) -> dict[str, Any]:
            answer: httpx.Response = await client.request(method, f"/api/v1{path}", json=body)
            assert answer.status_code in (200, 201, 202), (path, answer.text)
            found: dict[str, Any] = answer.json()
            data: dict[str, Any] = found.get("data", found)
            return data

        device = {"name": "bmc", "type": "redfish", "options": {"state": "on", "password": SECRETS["fence"]}}
        await ask("PUT", "/nodes/n2/fence-devices", {"devices": [device]})
        await ask("POST", "/compute", {"nodes": ["n1", "n2", "n3"], "reserve_memory_mib": 0})
        machine = {"name": "web", "cpu": 1, "memory_mib": 512, "disks": [f"{root}/web.qcow2"]}
        await ask("POST", "/vms", machine)
        await ask(
            "POST",
            "/rules",
            {"name": "apart", "kind": "node-affinity", "instances": ["vm/web"], "nodes": {"n1": 1}, "strict": False},
        )
        await ask("POST", "/nfs/cluster", {"nodes": ["n2", "n3"], "addresses": ["10.78.0.101-10.78.0.110"]})
        await ask("POST", "/nfs/volumes", {"name": "vol1", "size": "1G"})
        await ask("POST", "/iscsi/target-groups", {"name": "g1", "nodes": ["n1", "n2"], "engine": "tgt"})
        chap = {"chap": {"user": "c", "secret": SECRETS["chap"]}, "mutual": {"user": "m", "secret": SECRETS["mutual"]}}
        await ask("PUT", "/iscsi/target-groups/g1/chap", chap)
        await ask("POST", "/iscsi/volumes", {"name": "lun1", "size_bytes": 1 << 20})
        await ask("POST", "/iscsi/volumes/lun1/attach", {"group": "g1"})
        s3 = {
            "name": "main",
            "nodes": ["n1", "n2", "n3"],
            "domain": "s3.example.lan",
            "gateway_addresses": ["10.78.0.151-10.78.0.159"],
            "server_addresses": ["10.77.0.120-10.77.0.159"],
            "name_servers": 2,
            "object_servers": 3,
        }
        await ask("POST", "/s3/clusters", s3)
        made["s3 user"] = (await ask("POST", "/s3/clusters/main/users", {"name": "carol"}))["secret_key"]
        backup = {
            "name": "main",
            "nodes": ["n1", "n2"],
            "domain": "backup.example.lan",
            "addresses": ["10.78.0.171-10.78.0.179"],
            "backend": "s3:https://objects.example.lan/bucket",
            "credentials": {"access_key": "AK", "secret_key": SECRETS["backup"]},
        }
        await ask("POST", "/backup/clusters", backup)
        made["backup user"] = (await ask("POST", "/backup/clusters/main/users", {"name": "carol"}))["password"]
        await ask("POST", "/dns/zones", {"apex": "example.lan", "network": "management"})
        key = {"name": "update.", "secret": SECRETS["tsig"]}
        target = {"name": "main", "server": "10.77.0.200", "zone": "example.lan", "key": key}
        await ask("POST", "/dns/update-targets", target)
        await ask("POST", "/dns/secondaries", {"name": "secondary", "addresses": ["10.77.0.201"], "key": key})
        hook = {"url": f"https://hooks.example.lan/{SECRETS['webhook']}", "key": SECRETS["webhook key"]}
        await ask("POST", "/alarms/receivers", {"name": "hook", "webhook": hook})
        mail = {"server": "mail.example.lan", "sender": "a@example.lan", "to": ["b@example.lan"], "user": "u"}
        await ask("POST", "/alarms/receivers", {"name": "mail", "email": {**mail, "password": SECRETS["mail"]}})
        token = {"name": "ci", "scopes": ["read"], "owner": "ada"}
        made["token"] = (await ask("POST", "/tokens", token))["token"]
    await world.caught_up()
    return made


@asynccontextmanager
async def populated(root: Path) -> AsyncIterator[tuple[Panel, dict[str, str]]]:
    """The panel process, and every secret in its cluster."""
    images = FakeImages({f"{root}/web.qcow2": "qcow2", "/root/own.raw": "raw"})
    parts: dict[str, Any] = {
        "images": images,
        "files": NoDevices(),
        "s3_files": files(),
        "backends": FakeBackends(),
        "log_dir": root,
    }
    async with panel(**parts) as world:
        made = await fill(world, root)
        session = await world.token("ada")
        yield (
            world,
            {**SECRETS, **made, "session": session, "hash": world.context.auth.people.users["ada"].password_hash},
        )
