"""An S3 cluster in a lab, as its operator and its clients see it.

The journal (services.s3.journal) runs in the client host all the time. Its lanes are made from the rings: the objects of one
lane have the same name server (by their bucket) and the same object server, so "all keys are written again" can be seen.
"""

import hashlib
import itertools
import json
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster_talk import PYTHON, Background
from gateways_talk import NODES, S3_ADDRESSES, S3_SERVER_ADDRESSES, ZONE, Gateways
from swift.common.ring.ring import RingData

from holdfast.lab import kernel
from holdfast.lab.demo.story import steps_of, wall_offset
from holdfast.services.s3.journal import FINDINGS

NAME, USER = "main", "alice"
DOMAIN = f"s3.{ZONE}"
ACCOUNT = "AUTH_s3"
"""Swift's, which has all buckets."""
PREFIX = f"s3/{NAME}"
SERVERS = 3
"""Name servers, and object servers: one on each node, and after a node's death nowhere more than two."""
INTERVAL_S, LANE_KEYS = 1.0, 4
KEYS_FILE, LANES_FILE = "/root/s3-keys", "/root/s3-lanes"
STALL_S = 0.8
"""A request that took so long was held up."""


@dataclass(frozen=True, slots=True)
class Acked:
    """One acknowledged request. Times in CLOCK_BOOTTIME seconds."""

    lane: str
    sent: float
    tried: float
    """When the attempt began that was acknowledged."""
    acked: float


class S3Journal:
    """What the journal client has seen so far."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.acked: list[Acked] = []
        self.wrong: list[dict[str, Any]] = []
        self.repeated: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self._read = 0

    def look(self) -> None:
        said = self.background.said
        while self._read < len(said) and said[self._read].endswith("\n"):
            self._take(json.loads(said[self._read]))
            self._read += 1

    def _take(self, line: dict[str, Any]) -> None:
        if "wrong" in line:
            self.wrong.append(line)
        elif "repeats" in line:
            self.repeated.append(line)
        elif "lane" in line:
            self.acked.append(Acked(line["lane"], line["sent"], line["tried"], line["acked"]))
        else:
            self.summary = line

    def lanes_since(self, moment: float) -> set[str]:
        """Lanes with an acknowledged request that was sent, for the last time, after `moment`."""
        self.look()
        return {one.lane for one in self.acked if one.tried > moment}

    def worst(self, since: float) -> dict[str, Acked]:
        """Lane → its longest request of those acknowledged after `since`."""
        self.look()
        found: dict[str, Acked] = {}
        for one in self.acked:
            before = found.get(one.lane)
            if one.acked > since and (before is None or one.acked - one.sent > before.acked - before.sent):
                found[one.lane] = one
        return found

    def stalls(self, since: float) -> str:
        """For the reader of the tests' output: who was held up, and when the last of them was served again."""
        worst = self.worst(since)
        held = {lane: one for lane, one in worst.items() if one.acked - one.sent > STALL_S}
        if not held:
            return "nothing was held up"
        seconds = sorted(one.acked - one.sent for one in held.values())
        last = max(one.acked for one in held.values()) - since
        many = f"{len(held)} of {len(worst)} lanes held up"
        return f"{many}, {seconds[0]:.1f} to {seconds[-1]:.1f} s, the last until {last:.1f} s"

    def finish(self) -> dict[str, Any]:
        """End it: it reads everything back."""
        self.background.stop()
        self.look()
        return self.summary


@dataclass
class S3:
    """The S3 cluster of a lab."""

    cluster: Gateways
    lanes: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    journal: S3Journal = field(init=False, repr=False)

    # --- as an operator

    def do(self, *words: str) -> str:
        return self.cluster.do("s3", *words)

    def create(self) -> None:
        self.do(
            *("create-cluster", NAME, "--nodes", ",".join(NODES), "--domain", DOMAIN),
            *("--gateway-addresses", S3_ADDRESSES, "--server-addresses", S3_SERVER_ADDRESSES),
            *("--name-servers", str(SERVERS), "--object-servers", str(SERVERS)),
        )
        made = json.loads(self.do("user", "create", NAME, USER, "--json"))["data"]
        self.write_keys(KEYS_FILE, made["access_key"], made["secret_key"])

    def write_keys(self, path: str, access: str, secret: str) -> None:
        """A user's keys in the client host."""
        self.cluster.lab.exec("client", ["sh", "-c", f"cat > {path}"], stdin=f"{access}\n{secret}\n", check=True)

    def show(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("show", NAME, "--json"))
        return found

    def places(self) -> dict[str, str]:
        """Name server, object server, gateway or background → its node; "" while it is not healthy there."""
        return {name.rpartition("/")[2]: node for name, node in self.cluster.places(f"{PREFIX}/").items()}

    def servers_on(self, node: str) -> list[str]:
        return [part for part, place in self.places().items() if place == node and not part.startswith("gw-")]

    def wait_spread(self, nodes: Sequence[str]) -> float:
        """Until every part runs on one of these nodes, and each kind of server is evenly on them."""
        return self.cluster.until(lambda: spread(self.places(), nodes), f"S3 is spread evenly over {', '.join(nodes)}")

    def wait_home(self) -> None:
        """Until each gateway is on its own node, and the servers are spread over all. By an operator, where they do not go
        by themselves within a moment."""

        def even() -> bool:
            places = self.places()
            if not spread(places, NODES):
                self.cluster.ask("n1", "rebalance")
            return spread(places, NODES) and all(places[f"gw-{node}"] == node for node in NODES)

        self.cluster.until(even, "gateways are at home and servers are spread")

    # --- as a client

    def resolved(self, name: str = DOMAIN) -> list[str]:
        """Addresses that the client host's resolver has for a name."""
        done = self.cluster.lab.exec("client", ["getent", "ahostsv4", name])
        return sorted({line.split()[0] for line in done.stdout.splitlines()})

    def make_lanes(self) -> None:
        """One for each pair of name and object server."""
        places = Rings(self)
        for name_server in places.parts("container"):
            bucket = next(b for b in (f"journal-{i}" for i in itertools.count()) if places.of(b) == name_server)
            keys: dict[str, list[str]] = {part: [] for part in places.parts("object")}
            for key in (f"object-{i}" for i in itertools.count()):
                if all(len(found) == LANE_KEYS for found in keys.values()):
                    break
                found = keys[places.of(bucket, key)]
                found.extend([key] * (len(found) < LANE_KEYS))
            for object_server, found in keys.items():
                self.lanes[f"{name_server} {object_server}"] = (bucket, found)
        text = json.dumps(self.lanes)
        self.cluster.lab.exec("client", ["sh", "-c", f"cat > {LANES_FILE}"], stdin=text, check=True)

    def begin_journal(self) -> None:
        argv = [PYTHON, "-m", "holdfast.services.s3.journal", "--endpoint", f"http://{DOMAIN}", "--keys", KEYS_FILE]
        argv += ["--lanes", LANES_FILE, "--interval", str(INTERVAL_S), "--patience", "600", "--out", "/dev/stdout"]
        self.journal = S3Journal(self.cluster._background(argv))
        self.wait_all()

    def wait_all(self, lanes: Iterable[str] = ()) -> None:
        """Until each lane has an acknowledged request that was sent after now."""
        since, wanted = kernel.boottime(), set(lanes or self.lanes)
        self.cluster.until(lambda: wanted <= self.journal.lanes_since(since), "all keys can be written")

    def read_back(self) -> dict[str, Any]:
        """What the journal finds that reads back now all that it wrote. Another one takes over."""
        summary = self.journal.finish()
        self.begin_journal()
        return summary

    def check(self) -> None:
        """The journal runs, and has never seen anything wrong."""
        self.journal.look()
        assert self.journal.background.process.poll() is None, self.journal.background.said[-2:]
        assert self.journal.wrong == []

    def told(self, node: str, at: float) -> str:
        """What a fault of a node meant to clients; `at`: when it was done."""
        offset = wall_offset(time.time(), kernel.boottime())
        seen = [
            step for i in self.cluster.incidents(node)[-1:] for step in steps_of(i, offset) if step.name == "suspect"
        ]
        after = f"suspect after {seen[0].at - at:.1f} s; " if seen and seen[0].at > at - 1 else ""
        return f"{after}{self.journal.stalls(at)}"


class Rings:
    """Which part of the cluster keeps a bucket and an object, by what Swift itself reads."""

    def __init__(self, s3: S3) -> None:
        cluster, node = s3.show()["cluster"], NODES[0]
        servers = {**cluster["name_servers"], **cluster["object_servers"]}
        self._part_of = {address: part for part, address in servers.items()}
        directory = f"/run/holdfast/{PREFIX}/gw-{node}"
        self._rings: dict[str, RingData] = {}
        for kind in ("container", "object"):
            copied = s3.cluster.lab.layout.shared_dir / f"{kind}.ring.gz"
            s3.cluster.lab.exec(node, ["cp", f"{directory}/{kind}.ring.gz", "/shared/"], check=True)
            self._rings[kind] = RingData.load(str(copied))
            copied.unlink()
        text = s3.cluster.lab.exec(node, ["cat", f"{directory}/swift.conf"], check=True).stdout
        conf = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
        self._prefix, self._suffix = conf["swift_hash_path_prefix"], conf["swift_hash_path_suffix"]

    def parts(self, kind: str) -> list[str]:
        return sorted({self._part_of[device["ip"]] for device in self._rings[kind].devs if device})

    def of(self, bucket: str, key: str = "") -> str:
        path = "/".join(("", ACCOUNT, bucket, *([key] if key else [])))
        digest = hashlib.md5(f"{self._prefix}{path}{self._suffix}".encode(), usedforsecurity=False).digest()
        ring = self._rings["object" if key else "container"]
        partition = struct.unpack_from(">I", digest)[0] >> ring._part_shift
        return str(self._part_of[ring.devs[ring._replica2part2dev_id[0][partition]]["ip"]])


def spread(places: dict[str, str], nodes: Sequence[str]) -> bool:
    """Everything is healthy on one of these nodes, and of each kind of server no node has two more than another."""
    if not places or not all(place in nodes for place in places.values()):
        return False
    for kind in ("ns-", "os-"):
        count = Counter(place for part, place in places.items() if part.startswith(kind))
        if max(count[node] for node in nodes) - min(count[node] for node in nodes) > 1:
            return False
    return True


def nothing_lost(summary: dict[str, Any]) -> None:
    assert summary.get("acked"), summary
    assert {kind: summary[kind] for kind in FINDINGS} == dict.fromkeys(FINDINGS, 0), summary
