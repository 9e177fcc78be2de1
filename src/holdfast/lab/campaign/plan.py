"""Drawing a campaign's faults from a seed. Pure: the same seed gives the same sequence, and a longer one begins the same."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.errors import InvalidInput
from holdfast.lab.campaign.alphabet import ALPHABET, BY_NAME, LIGHT, Details, Kind, Role

TOGETHER = 0.2
"""So many of the faults get a second one at their side."""
TOGETHER_S = 3.0
"""The second comes within so long after the first."""
PAUSE_S = 1.0
"""Between two faults passes up to so long, so that they meet every phase of beats and elections."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault as it was drawn."""

    kind: Kind
    role: Role
    pick: int
    """Which of those whom the role fits, modulo their number."""
    volume: int
    """Which volume, where the role asks for one."""
    details: Details
    seconds: float
    """How long it is in force, for Until.DRAWN."""


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the campaign: a fault, now and then two."""

    number: int
    pause_s: float
    first: Planned
    second: Planned | None = None
    after_s: float = 0.0
    """The second begins so long after the first."""


def draw(seed: int, volumes: int, only: Sequence[str] = ()) -> Iterator[Step]:
    """An endless campaign. Faults come from decks, each of which holds every kind as often as its weight says, so that none
    is missed by chance. `only`: names of the kinds to draw from, alone. Raises InvalidInput."""
    unknown = [name for name in only if name not in BY_NAME]
    if unknown:
        raise InvalidInput(f"`{unknown[0]}` is no fault of the campaign", "Faults: " + ", ".join(BY_NAME))
    return _steps(seed, volumes, only)


def _steps(seed: int, volumes: int, only: Sequence[str]) -> Iterator[Step]:
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    number = 0
    while True:
        deck = [kind for kind in ALPHABET for _ in range(kind.weight) if not only or kind.name in only]
        chance.shuffle(deck)
        for kind in deck:
            number += 1
            first, pause = _fault(chance, kind, volumes), chance.uniform(0, PAUSE_S)
            second, after = None, 0.0
            if chance.random() < TOGETHER and not kind.outage and not only:
                second, after = _fault(chance, chance.choice(LIGHT), volumes), chance.uniform(0, TOGETHER_S)
                if kind.light and chance.random() < 0.5:
                    first, second = second, first
            yield Step(number, pause, first, second, after)


def _fault(chance: random.Random, kind: Kind, volumes: int) -> Planned:
    return Planned(
        kind=kind,
        role=chance.choice(kind.roles),
        pick=chance.randrange(1 << 16),
        volume=chance.randrange(volumes) + 1,
        details=chance.choice(kind.variants),
        seconds=chance.uniform(*kind.seconds),
    )
