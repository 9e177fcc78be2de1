"""What the count proves, recovery finds: after every set that is said to leave enough, each plan places everything."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import comb
from random import Random

from small_clusters import random_cluster, view_of

from holdfast.core.admission import survives
from holdfast.core.enough import Enough
from holdfast.core.plan import Planner
from holdfast.core.side_by_side import Unit
from holdfast.core.view import View


def cases(count: int) -> Iterator[tuple[int, View, list[Unit]]]:
    """Also with instances that run nowhere yet, and with nodes that fail together."""
    for seed in range(count):
        random = Random(seed)
        view = view_of(random_cluster(seed, (4, 10), (12, 40), slots=seed % 4 == 0, domains=seed % 5 == 0))
        if random.random() < 0.3:
            instances = dict(view.instances)
            for name in random.sample(sorted(instances), 1):
                instances[name] = replace(instances[name], placement=None, placement_revision=0, status=None)
            view = replace(view, instances=instances)
        units: list[Unit] = [(name,) for name in sorted(view.nodes)]
        if random.random() < 0.3:
            random.shuffle(units)
            units[:2] = [(*units[0], *units[1])]
        yield seed, view, units


def test_what_is_said_to_be_enough_is() -> None:
    fine = asked = lacking = 0
    for seed, view, units in cases(160):
        planner = Planner(view)
        enough = Enough(view, planner.fleet, units, frozenset(view.instances))
        for size in (1, 2, 3):
            sets = list(combinations(range(len(units)), size))
            short = {some: planner.shortfall([node for one in some for node in units[one]]) for some in sets}
            asked += len(sets)
            lacking += sum(map(bool, short.values()))
            for some in sets:
                single = enough.every(some, 0, 0)
                assert not (single and short[some]), (seed, some, short[some])
                assert single == enough.beside(some[:-1], some[-1])[0], (seed, some)
                fine += single
            for first in sets if size == 1 else []:
                for more in (1, 2):
                    if first[0] + more < len(units) and enough.every(first, first[0] + 1, more):
                        rest = combinations(range(first[0] + 1, len(units)), more)
                        assert all(enough.every((*first, *others), 0, 0) for others in rest)
            if enough.every((), 0, size):
                assert not any(short.values()), seed
    assert fine > asked / 10 and lacking > asked / 10, (asked, fine, lacking)


def test_every_set_is_answered_once_whoever_answers() -> None:
    for _seed, view, _units in cases(40):
        found = survives(view, 3)
        assert found.complete and found.checked == comb(len(view.nodes), min(3, len(view.nodes)))
        assert found.survivable or found.unplaced
