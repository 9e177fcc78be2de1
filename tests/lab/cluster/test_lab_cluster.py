"""A cluster brought up in the lab: what `lab up` promises, and that the lab's faults reach the real daemons."""

import ssl
import urllib.request

import pytest
from lab_talk import PYTHON, until

from holdfast.lab import LabClient, LabOptions
from holdfast.lab.bringup import cluster_status, holdfast

pytestmark = pytest.mark.lab
LOOK_AT_PANEL = """
import ssl, sys, urllib.request
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
print(urllib.request.urlopen(sys.argv[1], timeout=5, context=context).status)
"""


def panel_answers(lab: LabClient) -> bool:
    return lab.exec("client", [PYTHON, "-c", LOOK_AT_PANEL, lab.panel_url]).stdout.strip() == "200"


def test_everything_is_up_fenceable_and_reachable_from_outside(cluster_lab: LabClient) -> None:
    status = cluster_status(cluster_lab)
    assert status is not None
    assert [(n["id"], n["state"]) for n in status["nodes"]] == [(n, "up") for n in ("n1", "n2", "n3", "n4")]
    assert all(node["watchdog"] for node in status["nodes"])
    assert status["management"]["virtual_ip"] == "10.77.0.100"
    for node in cluster_lab.nodes:
        holdfast(cluster_lab, "n1", "node", "fence", "test", node)
    until(lambda: panel_answers(cluster_lab), "the panel answers the client at its virtual IP")


def test_bare_options_bring_up_a_single_node_with_its_panel_on_the_loopback(make_lab) -> None:  # type: ignore[no-untyped-def]
    lab: LabClient = make_lab("o")
    port = 20443
    lab.up(LabOptions(nodes=1, power_fencing=False, watchdog=False, ha=False, profile="fast", panel_port=port))
    status = cluster_status(lab)
    assert status is not None
    assert status["cluster"]["profile"] == "fast"
    assert [(bool(n["watchdog"]), n["fence_devices"]) for n in status["nodes"]] == [(False, [])]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def page_comes() -> bool:
        try:
            return urllib.request.urlopen(f"https://127.0.0.1:{port}/", timeout=5, context=context).status == 200
        except OSError:
            return False

    until(page_comes, "the panel's page comes over the loopback")
    lab.down()
