"""What a node says it has: read from the machine itself."""

import pytest

from holdfast.agent.identity import capacity, memory_mib, online_cores
from holdfast.errors import InvalidInput
from holdfast.lab.options import parse_size


def test_cores_are_counted_in_the_kernel_s_list() -> None:
    assert [online_cores(text) for text in ("0", "0-3", "0-3,6", "1,3,5-7")] == [1, 4, 5, 5]
    assert online_cores("") >= 1, "without the list it asks Python"


def test_memory_is_what_the_kernel_has_in_all() -> None:
    assert memory_mib("MemTotal:       16318384 kB\nMemFree:         1000 kB\n") == 15935
    assert memory_mib("") > 0
    assert capacity()[0] >= 1
    assert capacity()[1] > 0


def test_a_lab_node_is_given_a_size() -> None:
    assert parse_size("n1=4:4096") == ("n1", (4, 4096))
    for text in ("n1", "n1=4", "n1=4:", "n1=0:4096", "=4:4096", "n1=4:-1", "n1=four:1"):
        with pytest.raises(InvalidInput, match="NODE=CORES:MIB"):
            parse_size(text)
