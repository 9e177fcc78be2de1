"""Backup gateways while nodes fail, as restic sees them, which finds the gateways by DNS and is never started again by hand.

After the last test every repository is read back whole (`check --read-data`). Stalls are printed, not judged.
"""

import json
import time

import pytest
from backup_talk import DOMAIN, USER, Backup, Vault, now
from gateways_talk import NODES, ZONE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

LIMIT_KIB_S = 6000
OTHER_ADDRESSES = "10.78.0.181-10.78.0.183"
RESOLVE = "import socket, sys; print(*{a[4][0] for a in socket.getaddrinfo(sys.argv[1], 0, type=socket.SOCK_STREAM)})"


def published(vault: Vault) -> set[str]:
    """The gateways that a client finds."""
    return set(vault.client("python3", "-c", RESOLVE, DOMAIN).split())


def told(backup: Backup, since: float, until: float) -> str:
    """What a fault meant to restic."""
    stuck = f"its worst connection was stuck for {backup.held(since, until):.1f} s"
    return f"nothing got through for {backup.stall(since, until):.1f} s, {stuck}"


def test_backup_check_and_restore_and_who_may_what(vault: Vault) -> None:
    repository = vault.init("plain")
    assert vault.begin(repository, "/root/data").result() == 0
    vault.same_after_restore(repository, "/root/data")
    pids = {node: vault.cluster.pids(node, "backup_gateway.gateway") for node in NODES}
    assert all(len(found) == 1 for found in pids.values()), pids
    vault.add_user("bob", "--append-only")
    vault.client("mkdir", "-p", "/root/small")
    vault.client("cp", "/etc/hosts", "/root/small/")
    vault.cluster.until(lambda: vault.may_log_in("bob"), "bob reaches the gateways")
    vault.restic("own", "init", user="bob")
    vault.restic("own", "backup", "/root/small", user="bob")
    snapshot = json.loads(vault.restic("own", "snapshots", "--json", user="bob"))[0]["id"]
    assert vault.status_of("DELETE", f"bob/own/snapshots/{snapshot}", "bob") == "403"
    assert vault.status_of("GET", f"{USER}/{repository}/config", "bob") == "403"
    vault.cluster.do("backup", "user", "rotate", vault.name, "bob")
    vault.cluster.until(lambda: not vault.may_log_in("bob"), "bob's old password is refused")
    assert pids == {node: vault.cluster.pids(node, "backup_gateway.gateway") for node in NODES}, (
        "no gateway was restarted"
    )


@pytest.mark.long
def test_two_of_three_gateways_lose_power_in_one_backup(vault: Vault) -> None:
    """The first in use, then another one: what is left finishes the backup, and serves what is read back. Two of the store's
    three members stay."""
    repository = vault.init("power")
    backup = vault.begin(repository, "/root/data", LIMIT_KIB_S)
    vault.under_way(backup, 6)
    first = vault.gateway_in_use()
    at = vault.cluster.lab.fail(first, "power")
    vault.under_way(backup, 26)
    second = "n3" if first == "n4" else "n4"
    again = vault.cluster.lab.fail(second, "power")
    status = backup.result()
    for node, since, until in ((first, at, again), (second, again, now())):
        print(f"power loss of {node}: {told(backup, since, until)}")
    print(f"{backup.retries()} requests were repeated by restic")
    assert status == 0
    vault.check(repository)
    left = {node: where for node, where in vault.homes().items() if where}
    print(f"gateways are on {left}")
    vault.same_after_restore(repository, "/root/data")


def test_a_gateway_is_cut_off_alive_and_healed(vault: Vault) -> None:
    """Twice in one backup, each time the one in use: the former owner of an upload must not take away what another one has
    published for its client. (Ten times: bench/backup.py.)"""
    repository = vault.init("cut")
    backup = vault.begin(repository, "/root/data", LIMIT_KIB_S)
    cuts: list[tuple[str, float]] = []
    for mib in (4, 22):
        vault.under_way(backup, mib)
        victim = vault.gateway_in_use()
        at = vault.cluster.lab.fail(victim, "network", network="public", silent=True)
        time.sleep(3.0)  # long enough for its requests to be repeated elsewhere
        vault.cluster.lab.heal(victim)
        cuts.append((victim, at))
    assert backup.result() == 0
    for (victim, at), until in zip(cuts, (cuts[1][1], now()), strict=True):
        print(f"{victim} was cut off for 3 s: {told(backup, at, until)}")
    vault.check(repository)


def test_a_gateway_without_its_back_end_leaves_dns(vault: Vault) -> None:
    address = next(i["address"] for i in vault.instances() if i["id"].endswith("gw-n4"))
    vault.cluster.until(lambda: len(published(vault)) == len(NODES), "every gateway is published")
    at = vault.cluster.lab.fail("n4", "storage")
    vault.cluster.until(lambda: address not in published(vault), "the gateway of n4 has left DNS")
    print(f"a gateway without its back-end left DNS after {now() - at:.1f} s")
    vault.cluster.until(
        lambda: "back-end does not work" in vault.cluster.do("backup", "show", vault.name), "it is said"
    )
    assert len(published(vault)) == len(NODES) - 1
    vault.cluster.lab.heal("n4")
    vault.cluster.until(lambda: len(published(vault)) == len(NODES), "every gateway is published again")


@pytest.mark.long
def test_our_own_s3_is_a_back_end(vault: Vault) -> None:
    """A second cluster on the same nodes, whose packs are objects. One that refuses is found out before anything is made."""
    own = Vault(vault.cluster, "objects", f"objects.{ZONE}")
    own.create_on_s3("backups", OTHER_ADDRESSES)
    own.cluster.until(lambda: own.may_log_in(USER), "the client finds it")
    repository = own.init("packs")
    assert own.begin(repository, "/root/data").result() == 0
    own.check(repository)
    own.same_after_restore(repository, "/root/data")
    own.cluster.do("backup", "delete", own.name, "--yes")
