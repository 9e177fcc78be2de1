"""A few mutants, one for each kind of mistake, are killed by their killers; `scripts/mutants` runs all of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from mutants.kill import Outcome, baseline, try_to_kill
from mutants.table import BY_ID

QUICK = (
    "single-jitter",
    "beat-ignores-fence",
    "pets-on-events",
    "claim-ignores-beat",
    "unknown-is-off",
    "failed-is-stopped",
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: try_to_kill(BY_ID[name], fuzz=False), QUICK)
        return dict(zip(QUICK, found, strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_killed(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert not outcome.error, outcome.error
    assert outcome.killer, f"{name} survived: {outcome.tried}"


def test_the_killers_say_nothing_of_the_code_as_it_is() -> None:
    killers = sorted({killer for name in QUICK for killer in BY_ID[name].killers})
    with ThreadPoolExecutor(2) as pool:
        complaints = [said for part in pool.map(baseline, (killers[::2], killers[1::2])) for said in part.items()]
    assert complaints == []
