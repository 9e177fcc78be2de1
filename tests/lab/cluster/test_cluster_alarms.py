"""An alarm of a real cluster: raised, told to a receiver, acknowledged, over, and told so; each once."""

import json

import pytest
from alarm_talk import Webhook
from cluster_talk import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def test_a_node_that_nobody_hears_is_told_of_once_and_its_return_too(cluster: Cluster) -> None:
    """Two of its three observers do not hear it and its BMC refuses; its beats still reach the store, so nothing proves it
    dead, and nothing happens to it."""
    managing = cluster.status()["management"]["nodes"]
    victim = next(node for node in cluster.lab.nodes if node not in managing)
    boots, alarm = cluster.boots(victim), f"node-suspect:{victim}"
    hook = Webhook(cluster)
    words = ("alarm", "receiver", "add", "hook", "--webhook", hook.url, "--ca-file", "/dev/stdin")
    done = cluster.ask(managing[0], *words, stdin=hook.ca)
    assert done.returncode == 0, done.stderr
    cluster.lab.fail(victim, "bmc", mode="refuses")
    for observer in managing[1:]:
        cluster.lab.fail(victim, "network", network="management", to=observer)
    took = cluster.until(lambda: hook.told(alarm), "the receiver is told")
    cluster.do("alarm", "acknowledge", alarm, "--note", "cable", node=managing[0])
    cluster.lab.heal(victim)
    cluster.until(lambda: len(hook.told(alarm)) > 1, "it is told that it is over")
    shown = json.loads(cluster.do("alarm", "show", alarm, "--json", node=managing[0]))
    told = [(one["state"], one["delivery"]) for one in hook.told(alarm)]
    number, at = shown["number"], shown["raised_at"]
    assert told == [("raised", f"{alarm}#{number}.1@{at}"), ("cleared", f"{alarm}#{number}.2@{at}")]
    assert (shown["state"], shown["note"]) == ("cleared", "cable") and shown["acknowledged_by"]
    [receiver] = json.loads(cluster.do("alarm", "receiver", "list", "--json", node=managing[0]))
    assert receiver["name"] == "hook" and not receiver["error"]
    cluster.do("alarm", "receiver", "remove", "hook", node=managing[0])
    assert len(hook.told(alarm)) == 2
    assert cluster.boots(victim) == boots
    print(f"{alarm} told {took:.1f} s after the cut")
