"""Schemathesis: every operation of the API with made-up requests, as each role and as nobody.

No answer is a fault of ours, each looks as the description says, and whoever lacks the permission is refused before
anything changes. `make test-long` does the same with many more requests (tests/unit/fuzz_roles.py).
"""

from collections import Counter
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args

import pytest
from fuzz_roles import WHO, fuzz

from holdfast.api.contract import TABLE


def test_no_two_shapes_share_a_name() -> None:
    """msgspec tells classes of one name apart by the names of their modules; where these are the same too, one of them is
    described by the other."""
    shapes = {
        shape
        for found in TABLE.values()
        for shape in get_args(found[1]) or (found[1],)
        if isinstance(shape, type) and is_dataclass(shape)
    }
    named = Counter((shape.__module__.rpartition(".")[2], shape.__name__) for shape in shapes)
    assert [name for name, count in named.items() if count > 1] == []


EXAMPLES = 3
"""Requests per operation and role."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", WHO)
def test_no_fault_no_surprise_no_escape(who: str, tmp_path: Path) -> None:
    asked = fuzz(who, tmp_path, examples=EXAMPLES, seed=1)
    assert asked > 100, "the operations were not found"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", (2, 3))
@pytest.mark.parametrize("who", WHO)
def test_the_same_at_length(who: str, seed: int, tmp_path: Path) -> None:
    assert fuzz(who, tmp_path, examples=15, seed=seed) > 100
