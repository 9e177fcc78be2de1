"""Schemathesis: every operation of the API with made-up requests, as each role and as nobody.

No answer is a fault of ours, each looks as the description says, and whoever lacks the permission is refused before
anything changes. `make test-long` does the same with many more requests (tests/unit/fuzz_roles.py).
"""

from pathlib import Path

import pytest
from fuzz_roles import WHO, fuzz

EXAMPLES = 3
"""Requests per operation and role."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", WHO)
def test_no_fault_no_surprise_no_escape(who: str, tmp_path: Path) -> None:
    asked = fuzz(who, tmp_path, examples=EXAMPLES, seed=1)
    assert asked > 100, "the operations were not found"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 5))
@pytest.mark.parametrize("who", WHO)
def test_the_same_at_length(who: str, seed: int, tmp_path: Path) -> None:
    assert fuzz(who, tmp_path, examples=40, seed=seed) > 100
