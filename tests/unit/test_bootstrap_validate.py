"""What an operator may type wrongly about nodes and networks, each with an error that says what to write instead."""

import pytest

from holdfast.bootstrap import validate
from holdfast.core.model import NetworkSpec
from holdfast.errors import InvalidInput

MANAGEMENT = NetworkSpec("management", ("10.77.0.0/24", "fd77::/64"))
PUBLIC = NetworkSpec("public", ("10.78.0.0/24",))


@pytest.mark.parametrize("node", ["n1", "a", "0", "rack1-node-07", "a" * 32])
def test_good_node_ids(node: str) -> None:
    validate.check_node_id(node)


@pytest.mark.parametrize("node", ["", "N1", "-n1", "n1-", "n_1", "n.1", "n/1", "n1\n", "ä", "a" * 33, "../x", "n 1"])
def test_bad_node_ids(node: str) -> None:
    with pytest.raises(InvalidInput, match="small letters"):
        validate.check_node_id(node)


def test_good_networks() -> None:
    validate.check_networks([MANAGEMENT, PUBLIC])


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ([PUBLIC], "no network is called `management`"),
        ([], "no network is called `management`"),
        ([MANAGEMENT, NetworkSpec("public", ("10.77.0.128/25",))], "overlaps 10.77.0.0/24 of network 'management'"),
        ([MANAGEMENT, NetworkSpec("management", ("10.79.0.0/24",))], "declared twice"),
        ([NetworkSpec("management", ())], "has no prefix"),
        ([NetworkSpec("management", ("10.77.0.11/24",))], r"Did you mean 10\.77\.0\.0/24\?"),
        ([NetworkSpec("management", ("10.77.0/24",))], "is not a prefix"),
        ([NetworkSpec("management", ("10.77.0.0/24", "10.78.0.0/24"))], "two IPv4 prefixes"),
        ([NetworkSpec("management", ("127.0.0.0/24",))], "not for hosts"),
        ([NetworkSpec("management", ("fe80::/64",))], "not for hosts"),
        ([NetworkSpec("Management", ("10.77.0.0/24",))], "is not a network name"),
    ],
)
def test_bad_networks(networks: list[NetworkSpec], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        validate.check_networks(networks)


def test_good_addresses() -> None:
    validate.check_addresses("n1", {"management": "10.77.0.11", "public": "10.78.0.11"}, [MANAGEMENT, PUBLIC])
    validate.check_addresses("n1", {"management": "fd77::11"}, [MANAGEMENT, PUBLIC])


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ({}, "no address on the management network"),
        ({"public": "10.78.0.11"}, "no address on the management network"),
        ({"management": "10.77.0.11", "storage": "10.80.0.1"}, "network 'storage', which the cluster does not have"),
        ({"management": "10.78.0.11"}, "not inside network 'management'"),
        ({"management": "10.77.0.11", "public": "fd78::11"}, "is IPv6, but network 'public' has only 10.78.0.0/24"),
        ({"management": "10.77.0.11/24"}, "is not an IP address"),
        ({"management": "n1.example"}, "is not an IP address"),
        ({"management": "fd77::11%eth0"}, "has a zone"),
        ({"management": "10.77.0.0"}, "network or broadcast"),
        ({"management": "10.77.0.255"}, "network or broadcast"),
    ],
)
def test_bad_addresses(addresses: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        validate.check_addresses("n1", addresses, [MANAGEMENT, PUBLIC])
