"""In which order moves can be carried out, each with room on its target while its source still holds what moves."""

from collections.abc import Collection, Mapping

from holdfast.core.make_room import RoomItem, RoomProblem

SEARCHED = 20_000
"""States looked at before the search gives up."""


def executable_order(
    problem: RoomProblem, targets: Mapping[str, str], stopped: Collection[str]
) -> tuple[RoomItem, ...] | None:
    """An order of the moves `targets` (item → node) once the items in `stopped` are gone; None if none was found, which
    means that there is none unless there are some fifteen moves or more."""
    return _Search(problem, targets, stopped).order()


class _Search:
    """Depth first over sets of finished moves: the state after some moves does not depend on their order."""

    def __init__(self, problem: RoomProblem, targets: Mapping[str, str], stopped: Collection[str]) -> None:
        self._moving = [item for item in problem.items if item.id in targets]
        self._targets = targets
        self._apart = list(problem.separations())
        self._there = {
            node.id: {item.id for item in problem.items if item.node == node.id and item.id not in stopped}
            for node in problem.nodes
        }
        demands = {item.id: item.demand for item in problem.items}
        self._free = {
            node.id: [
                room - sum(demands[name][number] for name in self._there[node.id])
                for number, room in enumerate(node.room)
            ]
            for node in problem.nodes
        }
        self._dead: set[frozenset[str]] = set()
        """Sets of finished moves after which the rest cannot be finished."""

    def order(self) -> tuple[RoomItem, ...] | None:
        done: list[RoomItem] = []
        return tuple(done) if self._finish(done) else None

    def _finish(self, done: list[RoomItem]) -> bool:
        if len(done) == len(self._moving):
            return True
        state = frozenset(item.id for item in done)
        if state in self._dead or len(self._dead) > SEARCHED:
            return False
        for item in self._moving:
            if item.id not in state and self._may_go(item):
                self._carry(item, item.node, self._targets[item.id])
                done.append(item)
                if self._finish(done):
                    return True
                done.pop()
                self._carry(item, self._targets[item.id], item.node)
        self._dead.add(state)
        return False

    def _may_go(self, item: RoomItem) -> bool:
        target = self._targets[item.id]
        if any(need > free for need, free in zip(item.demand, self._free[target], strict=True) if need):
            return False
        return not any(
            item.id in names and target in nodes and any(self._there[node] & set(names) - {item.id} for node in nodes)
            for names, nodes in self._apart
        )

    def _carry(self, item: RoomItem, source: str, target: str) -> None:
        self._there[source].discard(item.id)
        self._there[target].add(item.id)
        for number, need in enumerate(item.demand):
            self._free[source][number] += need
            self._free[target][number] -= need
