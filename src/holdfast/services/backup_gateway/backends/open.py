"""The back-end that a configuration names."""
# ruff: noqa: PLC0415 - boto3 and asyncssh take a second and 30 MB to load; most gateways need neither

from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.local import LocalBackend
from holdfast.services.backup_gateway.backends.nfs import NfsBackend
from holdfast.services.backup_gateway.backends.port import Backend
from holdfast.services.backup_gateway.config import S3, GatewayConfig, Local, Nfs


def open_backend(config: GatewayConfig, clock: Clock) -> Backend:
    """Nothing is connected or mounted yet: the first probe does that."""
    match config.backend:
        case Local(path=path):
            return LocalBackend(path, config.name, clock)
        case Nfs() as nfs:
            return NfsBackend(nfs, config.name, clock)
        case S3() as s3:
            from holdfast.services.backup_gateway.backends.s3 import S3Backend

            return S3Backend(s3, config.name, clock)
        case sftp:
            from holdfast.services.backup_gateway.backends.sftp import SftpBackend

            return SftpBackend(sftp, config.name, clock)
