"""From whom and what the fuzzer's episodes choose, and how they write their steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from holdfast.core.timing import Timing
from holdfast.sim.setup import Step
from holdfast.sim.verbs import VERBS

LONGEST_S = 130.0
"""An episode is over after so long; the operators' mending follows (sim.fuzz)."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who and what an episode may choose from. Everything it chooses comes from `random`."""

    random: Random
    timing: Timing
    nodes: tuple[str, ...]
    fenced: tuple[str, ...]
    """Nodes with a fence device."""
    instances: tuple[str, ...]
    """Those that are there all the time."""
    virtual: tuple[str, ...]
    """Those of them that can migrate live; all if none can."""

    @property
    def node(self) -> str:
        return self.random.choice(self.nodes)

    @property
    def instance(self) -> str:
        return self.random.choice(self.instances)

    def several(self, least: int = 1, most: int = 0) -> tuple[str, ...]:
        """Different nodes, in the order of the file; `most` 0: all but one."""
        most = min(most or len(self.nodes) - 1, len(self.nodes))
        chosen = set(self.random.sample(self.nodes, self.random.randint(min(least, most), most)))
        return tuple(node for node in self.nodes if node in chosen)

    def seconds(self) -> float:
        """How long something lasts: often close to a number of the protocol, where mistakes would show."""
        t = self.timing
        if self.random.random() < 0.5:
            numbers = (t.H, t.Q, t.E, t.F, t.F + t.G, t.F + t.G + t.W, t.W, t.W + t.j, t.B, t.T_wait)
            return min(LONGEST_S, max(0.2, self.random.choice(numbers) + self.random.uniform(-1.5, 1.5)))
        return min(LONGEST_S, 10 ** self.random.uniform(-0.5, 2.1))

    def moment(self, seconds: float = 3.0) -> float:
        return self.random.uniform(0.0, seconds)


def step(at: float, verb: str, **given: Any) -> Step:
    """A step with the defaults of its verb. `one_way`, `from_` and `for_` stand for the names Python cannot spell."""
    spelled = {{"one_way": "one-way", "from_": "from", "for_": "for"}.get(name, name): v for name, v in given.items()}
    fields = {field.name: field.default for field in VERBS[verb].fields}
    assert not spelled.keys() - fields.keys(), f"{verb} has no field {spelled.keys() - fields.keys()}"
    return Step(round(at, 2), verb, {name: spelled.get(name, default) for name, default in fields.items()})


def begin_and_end(cast: Cast, at: float, begin: str, end: str, **fields: Any) -> Iterator[Step]:
    """A fault and, some time later, its end."""
    yield step(at, begin, **fields)
    yield step(at + cast.seconds(), end, **{name: v for name, v in fields.items() if name != "mode"})
