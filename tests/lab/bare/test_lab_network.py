"""Cuts and losses at the lab's switch."""

import pytest
from lab_talk import COLLECT, PYTHON, SEND, hear, reaches, talk

from holdfast.lab import LabClient

pytestmark = pytest.mark.lab
KEEP_NEIGHBOUR = """
set -- "$@" $(ip -4 neigh show to "$1")
ip neigh replace "$1" dev "$5" lladdr "$7" nud "$2"
"""


def send(lab: LabClient, source: str, address: str, *words: str) -> None:
    lab.exec(source, [PYTHON, "-c", SEND, address, *words], check=True)


@pytest.mark.parametrize("addresses", [("10.77.0.11", "10.77.0.12"), ("fd77::11", "fd77::12")])
def test_a_one_way_cut_is_one_way(bare_lab: LabClient, addresses: tuple[str, str]) -> None:
    first, second = addresses
    for source, target in (("n1", second), ("n2", first), ("n3", second), ("n3", first)):
        assert reaches(bare_lab, source, target)  # everybody knows everybody's hardware address
    bare_lab.fail("n1", "network", to="n2", network="management")
    with talk(bare_lab, "n2", PYTHON, "-c", COLLECT, second) as collect:
        assert hear(collect) == "ready"
        send(bare_lab, "n1", second, "cut", "cut")
        send(bare_lab, "n3", second, "other", "end")
        assert hear(collect) == "other,end"
    with talk(bare_lab, "n1", PYTHON, "-c", COLLECT, first) as collect:
        assert hear(collect) == "ready"
        send(bare_lab, "n2", first, "back", "end")
        assert hear(collect) == "back,end"
    assert reaches(bare_lab, "n1", "10.78.0.12")
    bare_lab.heal("n2")  # either end may be healed
    assert reaches(bare_lab, "n1", second)


@pytest.mark.parametrize("silent", [False, True])
def test_one_network_is_cut_and_the_others_are_not(bare_lab: LabClient, silent: bool) -> None:
    bare_lab.fail("n1", "network", network="management", silent=silent)
    assert not reaches(bare_lab, "n1", "10.77.0.12", timeout_s=1)
    assert not reaches(bare_lab, "client", "fd77::11", timeout_s=1)
    assert reaches(bare_lab, "n1", "10.78.0.12")
    carrier = bare_lab.exec("n1", ["cat", "/sys/class/net/eth0/carrier"]).stdout.strip()
    assert carrier == ("1" if silent else "0")


def test_a_cut_of_all_networks_ends_only_by_healing(bare_lab: LabClient) -> None:
    bare_lab.fail("n1", "network")
    assert not reaches(bare_lab, "n2", "10.78.0.11", timeout_s=1)
    bare_lab.fail("n1", "shutdown")
    bare_lab.wait_power("n1", "off")
    bare_lab.heal("n1")
    assert reaches(bare_lab, "n2", "10.78.0.11")
    assert bare_lab.state("n1")["faults"] == []


def test_loss_drops_a_share_of_the_frames(bare_lab: LabClient) -> None:
    assert reaches(bare_lab, "n2", "10.77.0.11")
    # An entry that has to be resolved anew, with half of the questions lost, would hold the datagrams back.
    bare_lab.exec("n2", ["sh", "-c", KEEP_NEIGHBOUR, "sh", "10.77.0.11", "permanent"], check=True)
    bare_lab.fail("n1", "network", network="management", loss=50)
    with talk(bare_lab, "n1", PYTHON, "-c", COLLECT, "10.77.0.11") as collect:
        assert hear(collect) == "ready"
        words = [str(number) for number in range(300)]
        send(bare_lab, "n2", "10.77.0.11", *words, *["end"] * 60)
        arrived = hear(collect).split(",")
    bare_lab.exec("n2", ["sh", "-c", KEEP_NEIGHBOUR, "sh", "10.77.0.11", "stale"], check=True)
    assert 50 < len(arrived) < 250
