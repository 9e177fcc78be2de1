"""Acceptance run of backup gateways: restic backs up 500 MB through their DNS name while gateways die and are cut off.

    .venv/bin/python bench/backup.py [--mib 500] [--cuts 10]                  # as root; about six minutes

At the end every repository is read back whole (`restic check --read-data`), one is restored. Nobody repeats a thing by hand.
Prints what happened in words, and as JSON.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lab"))

from backup_talk import Vault, now
from gateways_talk import Gateways

from holdfast.lab import LabClient, LabOptions

DATA = "/root/data"
LIMIT_KIB_S, CUTS_LIMIT_KIB_S = 16 << 10, 8 << 10
"""Slow enough to be disturbed, and so often."""
CUT_S = 3.0
"""Long enough for what was under way to be repeated elsewhere, and too short for the node to be claimed."""


class Bench:
    def __init__(self, vault: Vault, mib: int) -> None:
        self.vault = vault
        self.mib = mib
        self.found: dict[str, Any] = {"mib": mib, "limit_kib_s": [LIMIT_KIB_S, CUTS_LIMIT_KIB_S]}
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)

    def whole(self) -> None:
        self.vault.cluster.whole()
        self.vault.wait_home()

    def alone(self) -> None:
        """What it costs when nothing happens."""
        repository = self.vault.init("alone")
        began = now()
        backup = self.vault.begin(repository, DATA, LIMIT_KIB_S)
        status = backup.result(self.mib)
        self.found["alone"] = {
            "exit": status,
            "s": round(now() - began, 1),
            "longest_pause_s": round(backup.stall(began), 1),
        }
        self.say(f"undisturbed: {self.found['alone']}")

    def power(self) -> None:
        """The gateway in use loses its power in mid-backup."""
        repository = self.vault.init("power")
        began = now()
        backup = self.vault.begin(repository, DATA, LIMIT_KIB_S)
        self.vault.under_way(backup, self.mib // 3)
        victim = self.vault.gateway_in_use()
        at = self.vault.cluster.lab.fail(victim, "power")
        status = backup.result(self.mib)
        self.found["power"] = {
            "exit": status,
            "s": round(now() - began, 1),
            "stall_s": round(backup.stall(at), 1),
            "held_s": round(backup.held(at), 1),
            "repeated": backup.retries(),
        }
        self.say(f"power loss of {victim}: {self.found['power']}")

    def cuts(self, times: int) -> None:
        """The gateway in use is cut off alive and healed: from its clients only, and from everything, in turns."""
        repository = self.vault.init("cuts")
        began = now()
        backup = self.vault.begin(repository, DATA, CUTS_LIMIT_KIB_S)
        stalls = []
        for number in range(times):
            self.vault.under_way(backup, (number + 1) * self.mib // (times + 3))
            victim = self.vault.gateway_in_use()
            lab = self.vault.cluster.lab
            lab.fail(victim, "bmc", mode="refuses")
            only = {"network": "public"} if number % 2 == 0 else {}
            at = lab.fail(victim, "network", silent=True, **only)
            time.sleep(CUT_S)
            lab.heal(victim)
            stalls.append(at)
            self.say(f"cut {number + 1}: {victim}, {'from its clients' if only else 'from everything'}")
        status = backup.result(self.mib)
        ends = [*stalls[1:], float("inf")]
        self.found["cuts"] = {
            "exit": status,
            "s": round(now() - began, 1),
            "stalls_s": [round(backup.stall(at, end), 1) for at, end in zip(stalls, ends, strict=True)],
            "held_s": [round(backup.held(at, end), 1) for at, end in zip(stalls, ends, strict=True)],
            "repeated": backup.retries(),
        }
        self.say(f"{times} cuts: {self.found['cuts']}")

    def one_left(self) -> None:
        """Two of three are off before it begins."""
        for node in ("n3", "n4"):
            self.vault.cluster.lab.fail(node, "power")
        repository = self.vault.init("one-left")
        began = now()
        status = self.vault.begin(repository, DATA).result(self.mib)
        self.found["one_left"] = {"exit": status, "s": round(now() - began, 1), "homes": self.vault.homes()}
        self.say(f"one of three left: {self.found['one_left']}")

    def read_back(self) -> None:
        repositories = sorted(self.vault.unchecked)
        for repository in repositories:
            self.vault.check(repository)
            self.say(f"{repository}: check --read-data finds no error")
        self.vault.same_after_restore("cuts", DATA)
        self.say("cuts: the restored files are the same")
        self.found["checked"] = repositories


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mib", type=int, default=500)
    parser.add_argument("--cuts", type=int, default=10)
    chosen = parser.parse_args()
    lab = LabClient("benchbackup")
    try:
        lab.up(LabOptions(nodes=4, profile="fast", ha=False))
        cluster = Gateways(lab)
        cluster.serve_zone()
        cluster.make_managed()
        vault = Vault(cluster)
        vault.create()
        bench = Bench(vault, chosen.mib)
        vault.make_data(DATA, chosen.mib)
        cluster.until(lambda: vault.may_log_in("alice"), "the client finds the gateways")
        bench.say("ready")
        bench.alone()
        bench.power()
        bench.whole()
        bench.cuts(chosen.cuts)
        bench.whole()
        bench.one_left()
        bench.read_back()
        print(json.dumps(bench.found))
        cluster.end()
    finally:
        lab.down()


if __name__ == "__main__":
    main()
