"""An exhaustive answer to small problems of room, in plain Python: the judge of solvers. Shares no code with them."""

from itertools import permutations
from random import Random

from holdfast.core.make_room import RoomItem, RoomNode, RoomProblem, RoomSolution

Score = tuple[int, int, int]
"""Weight that runs, minus weight stopped, minus instances moved: the greater, the better."""


def random_problem(seed: int) -> RoomProblem:
    """Tight, so that something must give way; with bans, groups and sets of items kept apart. The third resource is
    slots, of which an instance needs one or none."""
    random = Random(seed)
    nodes = [f"n{number}" for number in range(random.randint(2, 4))]
    few = random.random() < 0.3
    room = {node: [random.randint(4, 12), random.randint(4, 10), random.randint(1, 3) if few else 20] for node in nodes}
    free = {node: list(amounts) for node, amounts in room.items()}
    items = []
    for number in range(random.randint(3, 7)):
        demand = (random.choice((1, 1, 2, 3, 4, 6)), random.choice((0, 1, 2, 3)), random.choice((1, 1, 1, 0)))
        priority = random.choice((0, 100, 500, 500, 900))
        allowed = frozenset(node for node in nodes if random.random() < 0.8) or frozenset(nodes[:1])
        fitting = [node for node in sorted(allowed) if all(f >= d for f, d in zip(free[node], demand, strict=True))]
        on = random.choice(fitting) if fitting and random.random() < 0.7 else ""
        movable, stoppable = random.random() < 0.8, random.random() < 0.3
        if on:
            free[on] = [f - d for f, d in zip(free[on], demand, strict=True)]
            if not movable and not stoppable:
                room[on] = [r - d for r, d in zip(room[on], demand, strict=True)]
                continue
        members = (f"i{number}", f"i{number}b") if random.random() < 0.15 else (f"i{number}",)
        weight = (priority + 1) * len(members)
        give = bool(on)
        items.append(RoomItem(members, demand, allowed, priority, weight, on, give and movable, give and stoppable))
    apart = []
    if len(items) > 1 and random.random() < 0.4:
        one, other = random.sample(items, 2)
        if not one.node or one.node != other.node:
            apart.append(frozenset((one.id, other.id)))
    domains = dict.fromkeys(nodes, "")
    far = []
    if len(items) > 1 and random.random() < 0.3:
        domains = {node: random.choice(("a", "a", "b", "")) for node in nodes}
        one, other = random.sample(items, 2)
        places = [domains.get(item.node) or item.node for item in (one, other)]
        if not one.node or places[0] != places[1]:
            far.append(frozenset((one.id, other.id)))
    rooms = tuple(RoomNode(node, tuple(room[node]), domains[node]) for node in nodes)
    return RoomProblem(rooms, tuple(items), tuple(apart), tuple(far))


def score_of(problem: RoomProblem, final: dict[str, str]) -> Score:
    """`final`: item → node, "" for nowhere."""
    gone = [item for item in problem.items if item.node and not final[item.id]]
    moved = [item for item in problem.items if item.node and final[item.id] not in ("", item.node)]
    return (
        sum(item.weight for item in problem.items if final[item.id]),
        -sum(item.weight for item in gone),
        -sum(len(item.members) for item in moved),
    )


def fits(problem: RoomProblem, there: dict[str, set[str]]) -> bool:
    """Room and distance on every node. `there`: node → items."""
    demand = {item.id: item.demand for item in problem.items}
    for node in problem.nodes:
        for number, room in enumerate(node.room):
            if sum(demand[name][number] for name in there[node.id]) > room:
                return False
        if any(len(names & there[node.id]) > 1 for names in problem.apart):
            return False
        near = [other.id for other in problem.nodes if other is node or other.domain == node.domain != ""]
        here = set().union(*(there[name] for name in near))
        if any(len(names & here) > 1 for names in problem.apart_by_domain):
            return False
    return True


def broken(problem: RoomProblem, final: dict[str, str], order: list[str] | None = None) -> str:
    """Why this end, reached by single moves in this order (or in any, if None is given), is not allowed; "" if it is."""
    items = {item.id: item for item in problem.items}
    there = {node.id: {item.id for item in problem.items if final[item.id] == node.id} for node in problem.nodes}
    if not fits(problem, there):
        return "does not fit"
    for item in problem.items:
        to = final[item.id]
        if to and to not in item.nodes:
            return f"{item.id} may not be on {to}"
        if item.node and to not in ("", item.node) and not item.movable:
            return f"{item.id} may not move"
        if item.node and not to:
            arrived = [other for other in problem.items if final[other.id] == item.node != other.node]
            if not item.stoppable or not any(other.priority > item.priority for other in arrived):
                return f"{item.id} may not be stopped"
    moving = [item.id for item in problem.items if item.node and final[item.id] not in ("", item.node)]
    if order is not None:
        return "" if sorted(order) == sorted(moving) and runs(problem, final, order) else "cannot be carried out"
    if any(runs(problem, final, list(some)) for some in permutations(moving)):
        return ""
    return f"no order for {[items[name].id for name in moving]}"


def runs(problem: RoomProblem, final: dict[str, str], order: list[str]) -> bool:
    items = {item.id: item for item in problem.items}
    there = {
        node.id: {item.id for item in problem.items if item.node == node.id and final[item.id]}
        for node in problem.nodes
    }
    for name in order:
        there[final[name]].add(name)
        if not fits(problem, there):
            return False
        there[items[name].node].discard(name)
    return True


def best(problem: RoomProblem) -> Score:
    """Of every end that can be reached."""
    items = sorted(problem.items, key=lambda item: -item.weight)
    found = score_of(problem, {item.id: item.node for item in items})
    final: dict[str, str] = {}
    there: dict[str, set[str]] = {node.id: set() for node in problem.nodes}

    def search(depth: int, weight: int) -> None:
        nonlocal found
        if weight + sum(item.weight for item in items[depth:]) < found[0]:
            return
        if depth == len(items):
            score = score_of(problem, final)
            if score > found and not broken(problem, final):
                found = score
            return
        item = items[depth]
        choices = sorted(item.nodes) if item.movable or not item.node else [item.node]
        for node in [*choices, ""] if item.stoppable or not item.node else choices:
            final[item.id] = node
            if node:
                there[node].add(item.id)
            if not node or fits(problem, there):
                search(depth + 1, weight + (item.weight if node else 0))
            if node:
                there[node].discard(item.id)

    search(0, 0)
    return found


def end_of(problem: RoomProblem, solution: RoomSolution) -> tuple[dict[str, str], list[str]]:
    """(item → node, order of moved items) that a solution speaks of."""
    moved = {move.instance: move.target for move in solution.moves}
    final = {
        item.id: ""
        if item.id in solution.stopped
        else moved.get(item.id, item.node or solution.placed.get(item.id, ""))
        for item in problem.items
    }
    items = {item.id for item in problem.items}
    return final, [move.instance for move in solution.moves if move.instance in items]
