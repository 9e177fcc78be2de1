"""A back-end tried out from the node that serves the API, before a cluster is made or its credentials are changed."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from holdfast.errors import Conflict, DriverError, HoldfastError, InvalidInput
from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.open import open_backend
from holdfast.services.backup_gateway.config import GatewayConfig, Local, Nfs, parse_backend
from holdfast.services.storage import OWNED

CHECK_S = 20.0
"""Before whoever asked has given up."""


class BackendCheck:
    """Port `api.operations.backup_clusters.Backends`. `ca`: file of the cluster's authority."""

    def __init__(self, node: str, ca: str, clock: Clock) -> None:
        self._node = node
        self._ca = Path(ca)
        self._clock = clock

    async def check(self, root: str, backend: str, credentials: Mapping[str, str]) -> None:
        """Connect, write and read a little. `root` is the shared storage. Raises InvalidInput, Conflict, DriverError."""
        # Kept where it cannot be unmounted again: the gateways on this node use their own.
        with tempfile.TemporaryDirectory(prefix="holdfast-backend-", ignore_cleanup_errors=True) as mount_point:
            parsed = parse_backend(backend, credentials, mount_point)
            if isinstance(parsed, Local):
                check_local(root, parsed.path)
            name = f"check-{self._node}"
            opened = open_backend(GatewayConfig(name, "127.0.0.1", "", "", "", parsed), self._clock)
            try:
                async with self._clock.timeout(CHECK_S):
                    await opened.probe()
            except TimeoutError:
                raise DriverError(
                    f"the back-end {backend} did not answer within {CHECK_S:g} s, asked from {self._node}",
                    "Check it and the way to it; nothing was changed.",
                ) from None
            except HoldfastError as error:
                raise DriverError(
                    f"the back-end {backend} cannot be used from {self._node}: {error.message}",
                    error.advice or "Check it and what opens it; nothing was changed.",
                ) from error
            finally:
                await opened.close()
                if isinstance(parsed, Nfs):
                    await _unmount(mount_point)

    def authority(self) -> str:
        """The certificate that clients trust, PEM. Raises DriverError."""
        try:
            return self._ca.read_text()
        except OSError as error:
            raise DriverError(f"{self._ca} cannot be read: {error}", "Ask another node.") from error


def check_local(root: str, path: str) -> None:
    """Every node must see it, and nobody else may keep anything there. Raises InvalidInput, Conflict."""
    place, shared = PurePosixPath(path), PurePosixPath(root)
    if shared not in place.parents:
        raise InvalidInput(
            f"{path} is outside of the shared storage {root}: not every node would see it",
            f"Write it like local:{root}/backup.",
        )
    owner = place.relative_to(shared).parts[0]
    if owner in OWNED:
        raise Conflict(
            f"{shared / owner} on the shared storage belongs to another kind of service", f"Take {root}/backup."
        )


async def _unmount(mount_point: str) -> None:
    process = await asyncio.create_subprocess_exec("umount", "--lazy", mount_point, stderr=asyncio.subprocess.DEVNULL)
    await process.wait()
