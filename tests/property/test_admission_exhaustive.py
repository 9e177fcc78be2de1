"""Admission control against an exhaustive search in plain Python: the same answer, and as bad a worst set."""

from itertools import combinations

import pytest
from room_judge import best
from small_clusters import Cluster, problem_after, random_cluster, view_of

from holdfast.core.admission import survives
from holdfast.planning.cpsat import CpSatSolver


def lost_work(cluster: Cluster, failed: tuple[str, ...]) -> int:
    """What runs nowhere after the best that can be done without stopping anything."""
    problem = problem_after(cluster, failed, stopping=False)
    return sum(item.weight for item in problem.items) - best(problem)[0]


@pytest.mark.parametrize(
    ("block", "slots"), [*((block, False) for block in range(10)), (10, True), (11, True), (12, True)]
)
def test_the_same_as_trying_everything(block: int, slots: bool) -> None:
    for seed in range(block * 50, block * 50 + 50):
        cluster = random_cluster(seed, (3, 4), (3, 7), slots=slots and seed % 3 > 0, domains=slots and seed % 3 < 2)
        view = view_of(cluster)
        for tolerate in (1, 2):
            losses = {failed: lost_work(cluster, failed) for failed in combinations(sorted(cluster.nodes), tolerate)}
            worst = max(losses.values())
            found = survives(view, tolerate, CpSatSolver())
            assert found.complete and found.exact and not found.waiting
            assert found.survivable == (worst == 0), (seed, tolerate, losses, found)
            if worst:
                named = sum(cluster.guests[name].priority + 1 for name in found.unplaced)
                assert named == worst == losses[found.worst], (seed, tolerate, losses, found)
                assert found.worst == min(failed for failed, loss in losses.items() if loss == worst)
            quick = survives(view, tolerate)
            assert found.survivable or not quick.survivable, "without a solver it is never more confident"
