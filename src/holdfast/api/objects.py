"""Which records an object of the API consists of: they make its ETag.

A tag tells the object's settings, not its state: a node that fails changes nothing that a PUT could overwrite. So tags are
for `If-Match`; nothing is ever answered with 304.
"""

import re
from collections.abc import Callable

from holdfast.api.operations.terms import tag
from holdfast.api.records import Records
from holdfast.services.backup_gateway.cluster import KIND as BACKUP
from holdfast.services.iscsi.config import KIND as ISCSI
from holdfast.services.nfs.config import KIND as NFS
from holdfast.services.s3.config import KIND as S3
from holdfast.services.vm.config import KIND as VM
from holdfast.store import keys

PREFIX = "/api/v1"
_NAME = r"([^/]+)"


def _service(kind: str, name: str) -> tuple[str, ...]:
    """A service with its instances."""
    return keys.service(kind, name), keys.instance(f"{kind}/{name}"), keys.instance(f"{kind}/{name}/")


_OBJECTS: tuple[tuple[str, Callable[..., tuple[str, ...]]], ...] = (
    ("/cluster", lambda: (keys.CLUSTER,)),
    ("/ha/pause", lambda: (keys.PAUSE,)),
    ("/ha", lambda: (keys.MANAGEMENT,)),
    ("/compute", lambda: (keys.COMPUTE,)),
    ("/nfs/cluster", lambda: (keys.kind(NFS),)),
    (f"/nodes/{_NAME}", lambda node: (keys.node_spec(node),)),
    (f"/services/{_NAME}/{_NAME}", _service),
    (r"/instances/(.+?)(?:/(?:move|lock))?$", lambda instance: (keys.instance(instance), keys.lock(instance))),
    (r"/vms/(?!import$|disks/)([^/]+)", lambda name: _service(VM, name)),
    (f"/nfs/volumes/{_NAME}", lambda name: _service(NFS, name)),
    (f"/iscsi/target-groups/{_NAME}", lambda name: (keys.iscsi_group(name),)),
    (f"/iscsi/volumes/{_NAME}", lambda name: (keys.iscsi_volume(name), *_service(ISCSI, name))),
    (f"/s3/clusters/{_NAME}/users/{_NAME}", lambda cluster, user: (keys.s3_user(cluster, user),)),
    (f"/s3/clusters/{_NAME}", lambda name: (keys.s3_cluster(name), *_service(S3, name))),
    (f"/backup/clusters/{_NAME}/users/{_NAME}", lambda cluster, user: (keys.backup_user(cluster, user),)),
    (f"/backup/clusters/{_NAME}", lambda name: (keys.backup_cluster(name), *_service(BACKUP, name))),
    (f"/rules/{_NAME}", lambda name: (keys.rule(name),)),
    (f"/dns/zones/{_NAME}", lambda apex: (keys.dns_zone(apex),)),
    (f"/dns/update-targets/{_NAME}", lambda name: (keys.dns_target(name),)),
    (f"/dns/secondaries/{_NAME}", lambda name: (keys.dns_secondary(name),)),
)
"""The first that a path begins with says what it is about."""
_COMPILED = tuple((re.compile(f"{PREFIX}{pattern}(?:/|$)"), keys_of) for pattern, keys_of in _OBJECTS)


def keys_of(path: str) -> tuple[str, ...]:
    """The keys under spec/ of the object that a request to this path is about (as `Terms.matched`); none: about none."""
    for pattern, of in _COMPILED:
        found = pattern.match(path)
        if found:
            return of(*found.groups())
    return ()


def tag_at(records: Records, path: str) -> str:
    """The ETag of what is at this path; empty: there is nothing that has one."""
    matched = keys_of(path)
    if not matched:
        return ""
    below = tuple(key for key in matched if key.endswith("/"))
    found = [records.revision_of(key) for key in matched]
    if below:
        found += [revision for key, revision in records.revisions.items() if key.startswith(below)]
    return tag(found)
