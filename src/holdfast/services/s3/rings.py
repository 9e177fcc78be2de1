"""Swift's ring files of an S3 cluster: which device has a partition, and at which address that device is served. Pure.

They follow from the cluster's record alone, so every node writes the same bytes for itself and there is nothing to keep.
Partition p lies on device p modulo the number of devices, in one copy: the shared storage has the others. A part that
moves to another node takes its address along, so only a part that is *added* changes a ring, and then only addresses.
"""

import array
import gzip
import json
import struct
import sys
from collections.abc import Mapping

from holdfast.services.s3.config import ACCOUNT_PORT, CONTAINER_PORT, OBJECT_PORT, S3Cluster, S3Server

_MAGIC = b"R1NG\x00\x01"
"""Version 1 of Swift's format: magic, length of a JSON text, the text, one 16-bit device number for each partition."""
_PARTITION_BITS = 32


def ring_files(cluster: S3Cluster) -> dict[str, bytes]:
    """File name → content."""
    return {
        "account.ring.gz": _ring(cluster.name_servers, ACCOUNT_PORT, cluster.part_power),
        "container.ring.gz": _ring(cluster.name_servers, CONTAINER_PORT, cluster.part_power),
        "object.ring.gz": _ring(cluster.object_servers, OBJECT_PORT, cluster.part_power),
    }


def _ring(servers: Mapping[str, S3Server], port: int, part_power: int) -> bytes:
    served = {device: server.address.ip for server in servers.values() for device in server.devices}
    devices = [
        {
            "id": number,
            "region": 1,
            "zone": 1,
            "weight": 1.0,
            "device": device,
            "ip": served[device],
            "port": port,
            "replication_ip": served[device],
            "replication_port": port,
            "meta": "",
        }
        for number, device in enumerate(sorted(served))
    ]
    text = {
        "devs": devices,
        "part_shift": _PARTITION_BITS - part_power,
        "replica_count": 1,
        "byteorder": sys.byteorder,
        "version": 1,
    }
    encoded = json.dumps(text, sort_keys=True).encode("ascii")
    partitions = array.array("H", (partition % len(devices) for partition in range(1 << part_power)))
    return gzip.compress(_MAGIC + struct.pack("!I", len(encoded)) + encoded + partitions.tobytes(), mtime=0)
