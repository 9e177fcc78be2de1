"""DNS as a client finds it, while nodes die: asked with dig from the client host."""

import json
from datetime import datetime

import pytest
from gateways_talk import MANAGERS, ZONE, Gateways
from s3_talk import DOMAIN, S3

from holdfast.lab import kernel

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

OUR_CHECKS = {"authoritative", "serial", "edns", "tcp", "ns", "recursion", "records", "store"}


def dig(cluster: Gateways, *words: str) -> list[str]:
    """What the client gets; nothing while nobody answers."""
    done = cluster.lab.exec("client", ["dig", "+short", "+time=1", "+tries=1", *words])
    return sorted(line for line in done.stdout.split() if not line.startswith(";"))


def suspect_to_out_s(cluster: Gateways, node: str, address: str) -> float:
    """By the wall clock of the manager's own events. Negative: it was out before people were told of the suspicion."""
    events = json.loads(cluster.do("incident", "events", "--limit", "200", "--json"))  # newest first
    suspect = next(e for e in events if e["kind"] == "node-suspect" and e["node"] == node)
    out = next(e for e in events if e["kind"] == "dns-changed" and f"{address} out" in e["text"])
    return (datetime.fromisoformat(out["wall"]) - datetime.fromisoformat(suspect["wall"])).total_seconds()


def servers(cluster: Gateways) -> list[str]:
    return [cluster.lab.host(node).address("public") for node in MANAGERS]


def test_every_name_server_passes_the_checks(s3: S3) -> None:
    done = s3.cluster.ask(s3.cluster.speaker(), "dns", "test", "--json")
    findings = json.loads(done.stdout)[ZONE]
    ours = [one for one in findings if one["where"].startswith("ns-")]
    assert {one["check"] for one in ours} == OUR_CHECKS and len(ours) == len(OUR_CHECKS) * len(MANAGERS)
    assert all(one["ok"] for one in ours), ours


@pytest.mark.parametrize("victim", ["n4", "n2"])
def test_a_dead_gateway_leaves_and_returns(s3: S3, victim: str) -> None:
    """n2 is a name server too: the others answer."""
    cluster = s3.cluster
    everybody = sorted(s3.resolved())
    mine = str(cluster.instance(f"s3/main/gw-{victim}")["address"])
    others = sorted(set(everybody) - {mine})
    living = [address for address in servers(cluster) if address != cluster.lab.host(victim).address("public")]
    assert mine in everybody and len(others) == 2
    began = kernel.boottime()
    cluster.lab.fail(victim, "power")
    for server in living:
        cluster.until(
            lambda server=server: dig(cluster, f"@{server}", DOMAIN) == others, f"{server} has dropped {mine}"
        )
    took_s = kernel.boottime() - began
    print(f"{victim} lost its power: {mine} gone from every living name server after {took_s:.1f} s")
    print(f"the manager took it out {suspect_to_out_s(cluster, victim, mine):.2f} s after the suspicion")
    assert dig(cluster, f"@{living[0]}", f"any-bucket.{DOMAIN}") == others, "the wildcard too"
    cluster.lab.heal(victim)
    cluster.wait_up(victim)
    for server in servers(cluster):
        cluster.until(
            lambda server=server: dig(cluster, f"@{server}", DOMAIN) == everybody, f"{server} has {mine} again"
        )
