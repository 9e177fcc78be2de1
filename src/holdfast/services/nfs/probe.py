"""The health check of an NFS volume: a NULL call, then a stat of the export's root through NFS, on a new connection."""

import asyncio
import os
import socket
from typing import Any

from holdfast.core.model import InstanceSpec
from holdfast.errors import HoldfastError
from holdfast.services.nfs import ops, rpc
from holdfast.services.nfs.config import KIND, PORT, NfsVolume, allows, from_instance
from holdfast.services.nfs.ops import NfsStatusError, Status
from holdfast.services.nfs.recovery import PROBE_OWNER
from holdfast.services.nfs.transport import Connection

_DIRECTORY = 2
_OWNER = f"{PROBE_OWNER}-{socket.gethostname()}-{os.getpid()}".encode()
_VERIFIER = b"holdfast"
"""Owner and verifier stay the same: each check of this process continues one client identity, so that a server does not
collect them; and no two processes share one, so that none ends the other's session."""


class NfsProbe:
    """Port HealthProbe. Opens nothing, so it works in the grace period, and leaves no state behind."""

    kind = KIND

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """ "" if healthy, else one sentence. Never raises."""
        try:
            volume = from_instance(instance)
            assert instance.address is not None
            async with asyncio.timeout(timeout):
                return await _check(volume, instance.address.ip, timeout)
        except TimeoutError:
            return f"{instance.id} does not answer within {timeout:g} s"
        except HoldfastError as error:
            return f"{instance.id} is not healthy: {error.message}"


async def _check(volume: NfsVolume, ip: str, timeout: float) -> str:
    connection = await Connection.open(ip, PORT, timeout=timeout, credential=rpc.Credential())
    try:
        await connection.call(rpc.PROC_NULL, b"", timeout=timeout)
        return await _stat(connection, volume, timeout)
    finally:
        await connection.close()


async def _stat(connection: Connection, volume: NfsVolume, timeout: float) -> str:
    """Session, stat, session closed. A server in its grace period or a new one answers all of it at once."""
    [known] = await _run(connection, [ops.exchange_id(_OWNER, _VERIFIER)], timeout)
    [(session, _)] = await _run(connection, [ops.create_session(known.client_id, known.sequence, 1)], timeout)
    head = ops.sequence(session, 1, 0, 0, False)
    walk = [head, ops.put_root(), ops.lookup(volume.name), ops.get_attributes()]
    try:
        *_, attributes = await _run(connection, walk, timeout)
    except NfsStatusError as error:
        if error.operation == "LOOKUP" and error.status in (Status.NOENT, Status.ACCESS):
            return _refused(volume, connection.local_ip)
        raise
    finally:
        await connection.compound([ops.destroy_session(session)], timeout=timeout)
    return "" if attributes.type == _DIRECTORY else f"volume {volume.name} is not a directory any more"


def _refused(volume: NfsVolume, own_ip: str) -> str:
    """A client without access sees no export, and neither does anybody if it could not be made."""
    if allows(volume, own_ip) is False:
        return ""
    return f"the server of volume {volume.name} answers but does not export it; look at its log"


async def _run(connection: Connection, operations: list[ops.Op], timeout: float) -> list[Any]:
    results, error = await connection.compound(operations, timeout=timeout)
    if error is not None:
        raise error
    return results
