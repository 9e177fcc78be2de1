"""DNS as a client finds it, while nodes die: asked with dig from the client host."""

import json
from datetime import datetime

import pytest
from gateways_talk import MANAGERS, NODES, ZONE, Gateways
from s3_talk import DOMAIN, S3

from holdfast.lab import kernel

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

OUR_CHECKS = {"authoritative", "serial", "edns", "tcp", "ns", "recursion", "records", "store"}


def dig(cluster: Gateways, *words: str) -> list[str]:
    """What the client gets; nothing while nobody answers."""
    done = cluster.lab.exec("client", ["dig", "+short", "+time=1", "+tries=1", *words])
    return sorted(line for line in done.stdout.split() if not line.startswith(";"))


def told(cluster: Gateways, node: str) -> list[str]:
    """What changed in DNS since the node was suspected last, with seconds by the wall clock of the manager's events. Changes
    are written just before the suspicion is told to people."""
    events = json.loads(cluster.do("incident", "events", "--limit", "300", "--json"))  # newest first
    when = [datetime.fromisoformat(event["wall"]) for event in events]
    suspect = next(at for at, e in zip(when, events, strict=True) if e["kind"] == "node-suspect" and e["node"] == node)
    since = [((at - suspect).total_seconds(), e) for at, e in zip(when, events, strict=True)]
    return [f"{s:+.2f} s {e['text']}" for s, e in reversed(since) if e["kind"] == "dns-changed" and s > -1]


def left(answer: list[str], address: str) -> bool:
    """There is an answer, without this address."""
    return bool(answer) and address not in answer


def servers(cluster: Gateways) -> list[str]:
    return [cluster.lab.host(node).address("public") for node in MANAGERS]


def test_every_name_server_passes_the_checks(s3: S3) -> None:
    done = s3.cluster.ask(s3.cluster.speaker(), "dns", "test", "--json")
    findings = json.loads(done.stdout)[ZONE]
    ours = [one for one in findings if one["where"].startswith("ns-")]
    assert {one["check"] for one in ours} == OUR_CHECKS and len(ours) == len(OUR_CHECKS) * len(MANAGERS)
    assert all(one["ok"] for one in ours), ours


@pytest.mark.parametrize("victim", ["n4", pytest.param("n2", marks=pytest.mark.long)])
def test_a_dead_gateway_leaves_and_returns(s3: S3, victim: str) -> None:
    """n2 is a name server too: the others answer."""
    cluster = s3.cluster
    cluster.until(lambda: len(s3.resolved()) == len(NODES), "all gateways are published")
    everybody = sorted(s3.resolved())
    mine = str(cluster.instance(f"s3/main/gw-{victim}")["address"])
    living = [address for address in servers(cluster) if address != cluster.lab.host(victim).address("public")]
    assert mine in everybody
    began = kernel.boottime()
    cluster.lab.fail(victim, "power")
    for server in living:
        # Not all others in each moment: a gateway may be out for a while, too, when the servers behind it move.
        cluster.until(lambda server=server: left(dig(cluster, f"@{server}", DOMAIN), mine), f"{mine} left {server}")
    took_s = kernel.boottime() - began
    print(f"{victim} lost its power: {mine} gone from every living name server after {took_s:.1f} s")
    print("since the suspicion: " + "; ".join(told(cluster, victim)))
    bucket = f"any-bucket.{DOMAIN}"
    cluster.until(lambda: left(dig(cluster, f"@{living[0]}", bucket), mine), f"the wildcard is without {mine}, too")
    cluster.lab.heal(victim)
    cluster.wait_up(victim)
    for server in servers(cluster):
        cluster.until(
            lambda server=server: dig(cluster, f"@{server}", DOMAIN) == everybody, f"{server} has {mine} again"
        )
