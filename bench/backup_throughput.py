"""What a backup gateway costs: restic backing up and restoring incompressible data through it, `rclone serve restic`,
and straight to a directory. Needs restic and rclone.

    .venv/bin/python bench/backup_throughput.py [--mib 256] [--rounds 3] [--out FILE]

Client, server and storage share this machine's processors and its loopback device: the ratios are the worst that a user sees
of the server, and say nothing of a network. In each round every way gets its turn, one right after the other.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "contract"))
from backup_gateways import PASSWORDS, Site, free_port, site

from holdfast.services.backup_gateway.config import Local
from holdfast.services.storage import MARKER

HANG_S = 1800


@dataclass
class Way:
    """How restic reaches its repository, and what it took (s)."""

    name: str
    backup: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)


def restic(made: Site, repository: str, *words: str) -> float:
    """Seconds."""
    environment = {**os.environ, "RESTIC_PASSWORD": "secret", "RESTIC_REPOSITORY": repository}
    began = time.monotonic()
    command = ["restic", "--no-cache", "--cacert", str(made.cert), *words]
    subprocess.run(command, env=environment, check=True, timeout=HANG_S, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def measure(way: Way, made: Site, repository: str, source: Path) -> None:
    restic(made, repository, "init")
    way.backup.append(restic(made, repository, "backup", str(source)))
    target = made.directory / "restored"
    way.restore.append(restic(made, repository, "restore", "latest", "--target", str(target)))
    shutil.rmtree(target)


@contextmanager
def gateway(made: Site, root: Path) -> Iterator[str]:
    (root / MARKER).touch()
    server = made.gateway(Local(str(root / "backup")))
    server.start()
    try:
        with made.client(None) as client:
            server.wait_healthy(client)
        yield f"rest:https://alice:{PASSWORDS['alice']}@127.0.0.1:{server.port}/alice/"
    finally:
        server.stop()


@contextmanager
def rclone(made: Site, root: Path) -> Iterator[str]:
    port = free_port()
    words = ["--addr", f"127.0.0.1:{port}", "--cert", str(made.cert), "--key", str(made.key)]
    secret = ["--user", "alice", "--pass", PASSWORDS["alice"]]
    process = subprocess.Popen(["rclone", "serve", "restic", *words, *secret, str(root)], stderr=subprocess.DEVNULL)
    url = f"https://127.0.0.1:{port}/alice/"
    try:
        with made.client() as client:
            end = time.monotonic() + 30
            while not _answers(client, f"{url}config"):
                assert time.monotonic() < end, "rclone does not answer"
                time.sleep(0.1)
        yield f"rest:https://alice:{PASSWORDS['alice']}@127.0.0.1:{port}/alice/"
    finally:
        process.terminate()
        process.wait(30)


def _answers(client: httpx.Client, url: str) -> bool:
    with suppress(httpx.TransportError):
        return client.head(url).status_code < 500
    return False


def table(ways: list[Way], mib: int) -> str:
    """Markdown; the ratio is to the plain directory."""
    plain = ways[-1]
    lines = ["| restic to | backup s | MiB/s | ratio | restore s | MiB/s | ratio |", "|---|--:|--:|--:|--:|--:|--:|"]
    for way in ways:
        cells = [way.name]
        for took, least in ((way.backup, plain.backup), (way.restore, plain.restore)):
            cells += [f"{median(took):.2f}", f"{mib / median(took):.0f}", f"{median(took) / median(least):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ways = [Way("the gateway"), Way("`rclone serve restic`"), Way("a directory, without a server")]
    with tempfile.TemporaryDirectory(prefix="h-backup-bench-") as scratch, site(Path(scratch)) as made:
        source = Path(scratch) / "source"
        source.mkdir()
        for number in range(options.mib // 16):
            (source / str(number)).write_bytes(os.urandom(16 << 20))
        for number in range(options.rounds):
            for way, serve in zip(ways, (gateway, rclone, None), strict=True):
                root = Path(scratch) / f"root-{number}"
                root.mkdir()
                if serve is None:
                    measure(way, made, str(root), source)
                else:
                    with serve(made, root) as repository:
                        measure(way, made, repository, source)
                shutil.rmtree(root)
            print(f"round {number + 1}: load {os.getloadavg()[0]:.0f}", flush=True)
    text = table(ways, options.mib)
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
