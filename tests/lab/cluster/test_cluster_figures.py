"""Figures of real daemons, asked for as docs/monitoring.md says: panels, agents, and managers of which one leads."""

import json

import pytest
from cluster_talk import PYTHON, Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

SCRAPE = """
import json, ssl, sys, urllib.request
context, found = ssl.create_default_context(cadata=sys.argv[2]), {}
for target in sys.argv[3:]:
    request = urllib.request.Request(f"https://{target}/metrics", headers={"authorization": f"Bearer {sys.argv[1]}"})
    lines = urllib.request.urlopen(request, timeout=20, context=context).read().decode().splitlines()
    found[target] = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
print(json.dumps(found))
"""


def test_every_daemon_tells_its_figures_and_one_manager_leads(cluster: Cluster) -> None:
    node, managing = cluster.speaker(), cluster.status()["management"]["nodes"]
    cluster.ask(node, "user", "create", "prometheus", "--password-file", "/dev/stdin", stdin="one long sentence 7\n")
    words = ("token", "create", "prometheus", "--owner", "prometheus", "--scope", "metrics", "--forever", "--json")
    token = json.loads(cluster.do(*words, node=node))["data"]["token"]
    authority = cluster.lab.exec(node, ["cat", "/etc/holdfast/pki/ca.crt"], check=True).stdout
    addresses = {name: cluster.lab.host(name).address("management") for name in cluster.lab.nodes}
    targets = [f"{addresses[name]}:{port}" for name in managing for port in (8443, 7414)]
    targets += [f"{address}:7413" for address in addresses.values()]

    def asked() -> dict[str, dict[str, str]]:
        done = cluster.lab.exec("client", [PYTHON, "-c", SCRAPE, token, authority, *targets])
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    cluster.until(asked, "every daemon knows the token")
    leader, found = cluster.status()["manager"]["node"], asked()
    managers = {name: found[f"{addresses[name]}:7414"] for name in managing}
    assert {name: float(told["holdfast_manager_leading"]) for name, told in managers.items()} == {
        name: float(name == leader) for name in managing
    }
    assert len({told["holdfast_manager_known_term"] for told in managers.values()}) == 1
    assert float(managers[leader]['holdfast_manager_step_seconds_count{step="decide"}']) > 0
    assert all(float(found[f"{address}:7413"]["holdfast_agent_guard_connected"]) == 1 for address in addresses.values())
    assert all(float(found[f"{addresses[name]}:8443"]["holdfast_picture_current"]) == 1 for name in managing)
