"""The configuration files of Swift's programs for one part of a cluster. Pure.

The settings were measured; each one that keeps an acknowledged object says why it is there.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.services.s3.config import (
    ACCOUNT_PORT,
    BACKGROUND,
    CONTAINER_PORT,
    OBJECT_PORT,
    S3Cluster,
    is_gateway,
    is_name_server,
)

ACCOUNT = "AUTH_s3"
"""All users' buckets lie in one Swift account, so that a bucket's name is unique as in S3; each has an owner."""
TENANT = "s3"
OWN = "holdfast.services.s3.inside"
"""Package of what Holdfast adds to Swift's pipelines."""
UPDATE_EVERY_S = 10
"""What a server could not tell another at once is told at most so much later."""

BACKGROUND_DAEMONS = ("expirer", "segments")

BACKEND_HEADER = "X-Holdfast-Backend"
"""With which the parts of a cluster know each other."""

Section = Mapping[str, object]


class Listener(msgspec.Struct, frozen=True):
    """One of Swift's servers in a process."""

    conf: str
    section: str
    ip: str
    port: int


class Program(msgspec.Struct, frozen=True):
    """What `inside/program.py` is to run; also a file."""

    swift_dir: str
    listeners: tuple[Listener, ...] = ()
    workers: int = 1
    daemons: tuple[str, ...] = ()
    """Names of `inside/daemons.py`; each is a process of its own beside the servers."""
    daemon_conf: str = ""
    uid: int = 0
    gid: int = 0


class Place(msgspec.Struct, frozen=True):
    """Where a part's things are on this node."""

    swift_dir: str
    """swift.conf and the rings."""
    run: str
    """Its private directory."""
    devices: str
    """Its devices root, on the shared storage."""
    keys: str
    """A gateway's key file."""


def backend_key(hash_prefix: str, hash_suffix: str) -> str:
    """The same on every node, and from which nothing is learnt of the hash."""
    return hashlib.sha256(f"holdfast backend {hash_prefix} {hash_suffix}".encode()).hexdigest()


def swift_conf(cluster: S3Cluster) -> str:
    """swift.conf, the same for all parts."""
    return _text(
        {
            "swift-hash": {
                "swift_hash_path_prefix": cluster.hash_prefix,
                "swift_hash_path_suffix": cluster.hash_suffix,
            },
            "storage-policy:0": {"name": "holdfast", "default": "yes"},
        }
    )


def files(cluster: S3Cluster, part: str, place: Place) -> dict[str, str]:
    """File name → text, of one part's configuration."""
    if is_gateway(part):
        return {"gateway.conf": _gateway(cluster, place)}
    if part == BACKGROUND:
        return {"background.conf": _background(place), "internal-client.conf": _internal_client(place)}
    if is_name_server(part):
        return {
            "account.conf": _server(place, "account", {}),
            "container.conf": _server(place, "container", {}),
            "daemons.conf": _daemons(place),
        }
    return {"object.conf": _server(place, "object", {"replication_server": "false"}), "daemons.conf": _daemons(place)}


def ports(cluster: S3Cluster, part: str) -> tuple[int, ...]:
    """Where the part listens at its address."""
    if is_gateway(part):
        return (cluster.gateway_port,)
    if part == BACKGROUND:
        return ()
    return (ACCOUNT_PORT, CONTAINER_PORT) if is_name_server(part) else (OBJECT_PORT,)


def program(cluster: S3Cluster, part: str, place: Place, *, address: str, workers: int) -> Program:
    """The processes of one part."""

    def listener(conf: str, section: str, port: int) -> Listener:
        return Listener(f"{place.run}/{conf}", section, address, port)

    what: dict[str, Any]
    if is_gateway(part):
        what = {"listeners": (listener("gateway.conf", "proxy-server", cluster.gateway_port),), "workers": workers}
    elif part == BACKGROUND:
        what = {"daemons": BACKGROUND_DAEMONS, "daemon_conf": f"{place.run}/background.conf"}
    elif is_name_server(part):
        both = (
            listener("account.conf", "account-server", ACCOUNT_PORT),
            listener("container.conf", "container-server", CONTAINER_PORT),
        )
        what = {"listeners": both, "daemons": ("container-updater",), "daemon_conf": f"{place.run}/daemons.conf"}
    else:
        one = (listener("object.conf", "object-server", OBJECT_PORT),)
        what = {"listeners": one, "daemons": ("object-updater",), "daemon_conf": f"{place.run}/daemons.conf"}
    return Program(place.swift_dir, uid=cluster.uid, gid=cluster.gid, **what)


# --- storage --------------------------------------------------------------------------------------------------------


def _common(place: Place) -> dict[str, object]:
    return {
        "swift_dir": place.swift_dir,
        "devices": place.devices,
        "mount_check": "false",
        "recon_cache_path": f"{place.run}/cache",
        "log_level": "WARNING",
        "log_custom_handlers": f"{OWN}.log.to_console",
        # A server that answers at all answers within this, or its client tries again.
        "conn_timeout": 1,
        "node_timeout": 3,
    }


def _server(place: Place, kind: str, more: Section) -> str:
    return _text(
        {
            "DEFAULT": {**_common(place), "fallocate_reserve": "1%", "client_timeout": 60},
            "pipeline:main": {"pipeline": f"storage {kind}-server"},
            "filter:storage": {"paste.filter_factory": f"{OWN}.storage:filter_factory"},
            f"app:{kind}-server": {"use": f"egg:swift#{kind}", **more},
        }
    )


def _daemons(place: Place) -> str:
    return _text(
        {
            "DEFAULT": _common(place),
            "object-updater": {"interval": UPDATE_EVERY_S, "concurrency": 4},
            # A name server that was gone is told again at the next round, not after a minute.
            "container-updater": {"interval": UPDATE_EVERY_S, "account_suppression_time": 0},
        }
    )


# --- clients of storage -----------------------------------------------------------------------------------------------

_ONE_REPLICA: Section = {
    "use": "egg:swift#proxy",
    "account_autocreate": "true",
    # With Swift's defaults a write for a server that is down is acknowledged by another one that will never be asked
    # again: the old version comes back with the server.
    "request_node_count": 1,
    # A server that failed is asked again at once: with 60 s here, one that moved would be avoided for as long.
    "error_suppression_interval": 0,
    "conn_timeout": 1,
    "node_timeout": 10,
}


def _gateway(cluster: S3Cluster, place: Place) -> str:
    pipeline = (
        "catch_errors thawed gatekeeper healthcheck listing_formats strip s3api auth bulk copy slo dlo versioned_writes "
        "symlink unreachable outdated proxy-server"
    )
    return _text(
        {
            "DEFAULT": {**_clients(place), "client_timeout": 60},
            "pipeline:main": {"pipeline": pipeline},
            "app:proxy-server": {**_ONE_REPLICA, "allow_account_management": "false"},
            **{
                f"filter:{name}": {"use": f"egg:swift#{name}"} for name in ("catch_errors", "gatekeeper", "healthcheck")
            },
            **{f"filter:{name}": {"use": f"egg:swift#{name}"} for name in ("listing_formats", "bulk", "copy", "dlo")},
            "filter:symlink": {"use": "egg:swift#symlink"},
            "filter:thawed": {"paste.filter_factory": f"{OWN}.thawed:filter_factory"},
            "filter:strip": {"paste.filter_factory": f"{OWN}.auth:strip_factory"},
            "filter:auth": {
                "paste.filter_factory": f"{OWN}.auth:auth_factory",
                "keys": place.keys,
                "account": ACCOUNT,
                "tenant": TENANT,
            },
            "filter:unreachable": {"paste.filter_factory": f"{OWN}.unreachable:filter_factory"},
            "filter:outdated": {"paste.filter_factory": f"{OWN}.outdated:filter_factory"},
            "filter:s3api": {
                "use": "egg:swift#s3api",
                "location": cluster.region,
                "storage_domain": cluster.domain,
                "s3_acl": "true",
                "check_bucket_owner": "true",
                # Swift knows only its own authentication by name; ours is in the pipeline above.
                "auth_pipeline_check": "false",
                "max_upload_part_num": 10000,
            },
            # Segments are deleted before the answer: nothing would do it later.
            "filter:slo": {"use": "egg:swift#slo", "max_manifest_segments": 10000, "allow_async_delete": "false"},
            "filter:versioned_writes": {
                "use": "egg:swift#versioned_writes",
                "allow_versioned_writes": "true",
                "allow_object_versioning": "true",
            },
        }
    )


def _internal_client(place: Place) -> str:
    return _text(
        {
            "DEFAULT": _clients(place),
            "pipeline:main": {"pipeline": "catch_errors unreachable proxy-server"},
            "filter:catch_errors": {"use": "egg:swift#catch_errors"},
            "filter:unreachable": {"paste.filter_factory": f"{OWN}.unreachable:filter_factory"},
            "app:proxy-server": {**_ONE_REPLICA, "allow_account_management": "true"},
        }
    )


def _background(place: Place) -> str:
    return _text(
        {
            "DEFAULT": {**_clients(place), "account": ACCOUNT},
            "segments": {"internal_client_conf_path": f"{place.run}/internal-client.conf"},
            "object-expirer": {
                "internal_client_conf_path": f"{place.run}/internal-client.conf",
                "interval": 60,
                "processes": 0,
                "dequeue_from_legacy": "true",
            },
        }
    )


def _clients(place: Place) -> dict[str, object]:
    return {
        "swift_dir": place.swift_dir,
        "recon_cache_path": f"{place.run}/cache",
        "log_level": "WARNING",
        "log_custom_handlers": f"{OWN}.log.to_console",
    }


def _text(sections: Mapping[str, Section]) -> str:
    lines = ["# Written by holdfast; changes are overwritten."]
    for name, settings in sections.items():
        lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"
