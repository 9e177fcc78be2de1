"""A backup cluster in a lab, as its operator sees it, and restic in the client host, which uses it."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cluster_talk import HANG_S, PYTHON, Background
from gateways_talk import BACKUP_ADDRESSES, NODES, ZONE, Gateways

from holdfast.lab import kernel
from holdfast.services.nfs import tcp

CLUSTER, USER, DOMAIN = "vault", "alice", f"backup.{ZONE}"
BACKEND = "local:/shared/backup"
PORT = 8000
CA, PASSWORD = "/root/backup-ca.crt", "/root/backup-pw"
RUN = str(Path(__file__).with_name("restic_client.py"))
S3_KEYS = "/root/s3-keys"
ASK = str(Path(__file__).with_name("s3_ask.py"))
ASK_STATUS = """
import base64, ssl, sys, urllib.error, urllib.request
method, url, user, file, ca = sys.argv[1:]
request = urllib.request.Request(url, method=method)
request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{open(file).read()}".encode()).decode())
try:
    print(urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cafile=ca)).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(error)
"""
"""Prints the status of a request."""
RESTIC = ("restic", "--cacert", CA)
FILE_MIB = 4


class Backup:
    """A `restic backup` under way."""

    def __init__(self, background: Background) -> None:
        self.background = background

    @property
    def ended(self) -> bool:
        return any("exit" in line for line in self.background.lines())

    def done_bytes(self) -> int:
        return max((line["bytes"] for line in self.background.lines() if "bytes" in line), default=0)

    def result(self, mib: int = 0) -> int:
        """Its exit status; what it said is printed where it is not 0. `mib`: how much it has to do, where that is much."""
        self.background.process.wait(HANG_S + mib)
        self.background.join()
        last = self.background.lines()[-1]
        if last.get("exit"):
            print(*last["said"], sep="\n")
        return int(last.get("exit", -1))

    def retries(self) -> int:
        """How often it said that it tries a request again."""
        return sum("returned error, retrying" in line for line in self.background.lines()[-1].get("said", ()))

    def stall(self, since: float, until: float = float("inf")) -> float:
        """Seconds in which no gateway got anything of it, the longest that ended between the two (CLOCK_BOOTTIME)."""
        times = [line["at"] for line in self.background.lines() if "at" in line and "held" not in line]
        return max((b - a for a, b in pairwise(times) if since < b < until), default=0.0)

    def held(self, since: float, until: float = float("inf")) -> float:
        """Seconds that the worst of its connections was stuck, of those that ended or went on between the two."""
        lines = [line for line in self.background.lines() if "held" in line]
        return max((line["held"] for line in lines if since < line["at"] < until), default=0.0)


@dataclass
class Vault:
    """The backup cluster."""

    cluster: Gateways
    name: str = CLUSTER
    domain: str = DOMAIN
    unchecked: set[str] = field(default_factory=set)
    """Repositories that were not read back whole yet."""

    # --- as an operator

    def create(self, *more: str, backend: str = BACKEND, addresses: str = BACKUP_ADDRESSES) -> None:
        words = ("--domain", self.domain, "--backend", backend, "--addresses", addresses, *more)
        self.cluster.do("backup", "create-cluster", self.name, "--nodes", ",".join(NODES), *words)
        self.add_user(USER)

    def create_on_s3(self, bucket: str, addresses: str) -> None:
        """In a bucket of the S3 cluster that the same nodes carry."""
        self.client(PYTHON, ASK, "PUT", f"http://s3.{ZONE}/{bucket}", S3_KEYS)
        access, secret = self.client("cat", S3_KEYS).split()
        gateway = next(i["address"] for i in self.cluster.status()["instances"] if i["id"] == "s3/main/gw-n2")
        new = ("backup", "create-cluster", self.name, "--nodes", ",".join(NODES), "--domain", self.domain)
        where = (
            "--addresses",
            addresses,
            "--backend",
            f"s3:http://{gateway}/{bucket}",
            "--credentials-file",
            "/dev/stdin",
        )
        for key, fits in (("wrong", False), (secret, True)):
            told = f"access_key={access}\nsecret_key={key}\n"
            done = self.cluster.ask(self.cluster.speaker(), *new, *where, stdin=told)
            assert (done.returncode == 0) is fits, done.stdout + done.stderr
            assert fits or "cannot be used from" in done.stderr, done.stderr
        self.add_user(USER)

    def add_user(self, user: str, *more: str) -> None:
        """And give the client what it is told."""
        made = json.loads(self.cluster.do("backup", "user", "create", self.name, user, "--json", *more))
        told = json.loads(self.cluster.do("backup", "client-config", self.name, user, "--json"))
        for file, text in ((self._file(user), made["data"]["password"]), (CA, told["ca"]), (PASSWORD, "of the data\n")):
            self.client("sh", "-c", 'umask 077; cat >"$0"', file, stdin=text)

    def _file(self, user: str) -> str:
        return f"/root/backup-{self.name}-{user}"

    def homes(self) -> dict[str, str]:
        """Node → where its gateway is; "" while it is not healthy there."""
        places = self.cluster.places(f"backup/{self.name}/")
        return {instance.rpartition("gw-")[2]: node for instance, node in places.items()}

    def at_home(self, nodes: Sequence[str] = NODES) -> bool:
        homes = self.homes()
        return all(homes[node] == node for node in nodes)

    def wait_home(self) -> None:
        self.cluster.until(self.at_home, f"the gateways of {self.name} at home")

    # --- as a client

    def client(self, *argv: str, stdin: str = "", timeout: float = HANG_S) -> str:
        done = self.cluster.lab.exec("client", argv, timeout, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout} {done.stderr}"
        return done.stdout

    def make_data(self, directory: str, mib: int) -> str:
        """Random files; the directory."""
        script = 'mkdir -p "$0" && for i in $(seq "$1"); do head -c "$2" /dev/urandom >"$0/$i"; done'
        self.client("sh", "-c", script, directory, str(mib // FILE_MIB), str(FILE_MIB << 20))
        return directory

    def environment(self, repository: str, user: str = USER) -> list[str]:
        """A command that runs its arguments with the repository's settings."""
        url = f"https://{user}:$(cat {self._file(user)})@{self.domain}:{PORT}/{user}/{repository}/"
        settings = (
            f"export RESTIC_PASSWORD_FILE={PASSWORD} RESTIC_PROGRESS_FPS=20 XDG_CACHE_HOME=/root/cache\n"
            f'export RESTIC_REPOSITORY="rest:{url}"\nexec "$@"'
        )
        return ["sh", "-c", settings, "sh"]

    def restic(self, repository: str, *words: str, user: str = USER, timeout: float = HANG_S) -> str:
        """A command that must succeed."""
        return self.client(*self.environment(repository, user), *RESTIC, *words, timeout=timeout)

    def may_log_in(self, user: str) -> bool:
        """Whether the gateways that the client finds know the user with the password that it has."""
        return self.status_of("GET", f"{user}/none/config", user) == "404"

    def status_of(self, method: str, path: str, user: str) -> str:
        """What a gateway answers."""
        url = f"https://{self.domain}:{PORT}/{path}"
        return self.client("python3", "-c", ASK_STATUS, method, url, user, self._file(user), CA).strip()

    def init(self, repository: str) -> str:
        self.restic(repository, "init")
        self.unchecked.add(repository)
        return repository

    def begin(self, repository: str, directory: str, limit_kib_s: int = 0) -> Backup:
        """A backup that goes on while the test does something."""
        limit = ["--limit-upload", str(limit_kib_s)] if limit_kib_s else []
        argv = [*self.environment(repository), PYTHON, RUN, *RESTIC[1:], *limit, directory]
        client = Background(self.cluster.lab.popen("client", argv, stdout=subprocess.PIPE, text=True))
        self.cluster.running.append(client)
        return Backup(client)

    def under_way(self, backup: Backup, mib: int) -> None:
        """So much is behind it."""
        self.cluster.until(lambda: backup.ended or backup.done_bytes() > mib << 20, f"{mib} MiB are backed up")
        assert not backup.ended, "it was over before it could be disturbed"

    def gateway_in_use(self) -> str:
        """The node at whose address the client has most connections."""
        entries = tcp.parse(self.client("cat", "/proc/net/tcp"))
        addresses = {i["address"]: str(i["node"]) for i in self.instances() if i["address"]}
        used = [e.remote.ip for e in entries if e.state == tcp.ESTABLISHED and e.remote.port == PORT]
        known = [ip for ip in used if ip in addresses]
        assert known, (used, addresses)
        return addresses[max(known, key=known.count)]

    def instances(self) -> list[dict[str, str]]:
        return [i for i in self.cluster.status()["instances"] if i["id"].startswith(f"backup/{self.name}/")]

    def same_after_restore(self, repository: str, directory: str) -> None:
        target = f"/root/restored-{self.name}-{repository}"
        self.restic(repository, "restore", "latest", "--target", target)
        self.client("diff", "-r", directory, f"{target}{directory}")
        self.client("rm", "-rf", target)

    def check(self, repository: str) -> None:
        """Every pack is there, and is what it should be."""
        self.unchecked.discard(repository)
        assert "no errors were found" in self.restic(repository, "check", "--read-data", timeout=4 * HANG_S)


def now() -> float:
    return kernel.boottime()
