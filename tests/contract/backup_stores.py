"""Storage for backup gateways: a directory, a bucket of a real Swift, OpenSSH's SFTP server."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import boto3
import botocore.config

from holdfast.services.backup_gateway.config import S3, Backend, Local, Sftp
from holdfast.services.storage import MARKER

ROOT = Path(__file__).resolve().parents[2]
SWIFT = str(ROOT / "bench/s3_swift.py")
KINDS = ("local", "s3", "sftp")


@contextmanager
def store(kind: str, directory: Path) -> Iterator[Backend]:
    with {"local": local, "s3": swift, "sftp": sftp}[kind](directory) as backend:
        yield backend


@contextmanager
def local(directory: Path) -> Iterator[Backend]:
    (directory / "shared").mkdir()
    (directory / "shared" / MARKER).touch()
    yield Local(str(directory / "shared/backup"))


@contextmanager
def swift(directory: Path) -> Iterator[Backend]:
    with program(SWIFT, "127.0.0.1", str(directory)) as endpoint:
        yield make_bucket(endpoint)


def make_bucket(endpoint: str) -> S3:
    """In a Swift that has just been started."""
    config = S3(endpoint, "backup", "test:bench", "benchbench", prefix="main/here")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        region_name=config.region,
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=config.bucket)
    client.close()
    return config


@contextmanager
def sftp(directory: Path) -> Iterator[Backend]:
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host.write_private_key(directory / "host")
    user.write_public_key(directory / "authorized")
    public = " ".join(host.export_public_key().decode().split()[:2])
    (directory / "far").mkdir()
    with program(
        str(Path(__file__).with_name("sftp_server.py")), str(directory / "host"), str(directory / "authorized")
    ) as port:
        private = user.export_private_key().decode()
        yield Sftp("127.0.0.1", "keeper", str(directory / "far/backup"), public, int(port), private)


@contextmanager
def program(*words: str, before: tuple[str, ...] = ()) -> Iterator[str]:
    """The first line that it prints; it ends when its standard input does."""
    process = subprocess.Popen(
        [*before, sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        assert line, f"{words[0]} did not start"
        yield line
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.stdout.close()
