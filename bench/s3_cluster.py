"""An S3 cluster in a lab, as bench/s3.py needs it: made through the command line, with a user whose keys the client has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from failover import wait

from holdfast.lab.bringup import holdfast
from holdfast.lab.client import LabClient

NAME, ZONE = "bench", "lab.test"
DOMAIN = f"s3.{ZONE}"
KEYS_FILE = "/root/s3-keys"


@dataclass(frozen=True)
class S3Lab:
    """The cluster and its client host."""

    lab: LabClient

    def create(self, nodes: Sequence[str], servers: int) -> None:
        """With so many name servers, and object servers. Raises LabError."""
        first = self.lab.nodes[0]
        holdfast(self.lab, first, "dns", "zone", "create", ZONE)
        words = ["s3", "create-cluster", NAME, "--nodes", ",".join(nodes), "--domain", DOMAIN]
        holdfast(self.lab, first, *words, "--name-servers", str(servers), "--object-servers", str(servers))
        made = json.loads(holdfast(self.lab, first, "s3", "user", "create", NAME, "bench", "--json"))["data"]
        self.write(KEYS_FILE, f"{made['access_key']}\n{made['secret_key']}\n")
        wait(lambda: self._addresses() == len(nodes), "the gateways' names")

    def _addresses(self) -> int:
        """So many gateways the client finds."""
        said = self.lab.exec("client", ["getent", "ahostsv4", DOMAIN]).stdout
        return len({line.split()[0] for line in said.splitlines()})

    def write(self, path: str, text: str) -> None:
        """A file in the client host."""
        self.lab.exec("client", ["sh", "-c", f"umask 077; cat > {path}"], stdin=text, check=True)
