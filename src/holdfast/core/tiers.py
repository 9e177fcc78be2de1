"""Start order as a graph: who is waited for by whom, and the order in which to place so that nobody waits in vain."""

from collections.abc import Iterable, Mapping

from holdfast.core.policy import RuleKind, RuleSpec

Before = Mapping[str, Mapping[str, bool]]
"""Instance → each of those to be ready before it → whether that is strict."""
Key = tuple[str, ...]


def before(rules: Iterable[RuleSpec]) -> dict[str, dict[str, bool]]:
    """Who waits for whom; of several rules about the same two a strict one counts."""
    found: dict[str, dict[str, bool]] = {}
    for rule in rules:
        if rule.kind is RuleKind.START_ORDER:
            for name in rule.instances:
                tiers = found.setdefault(name, {})
                for earlier in sorted(rule.after):
                    tiers[earlier] = rule.strict or tiers.get(earlier, False)
    return found


def cycle(order: Before, *, strict: bool) -> tuple[str, ...]:
    """Instances that would wait for each other in a circle, the first one repeated at the end; () if there is none.
    `strict`: only by strict rules, so that none of them would ever start."""
    done: set[str] = set()
    for start in sorted(order):
        path: list[str] = []
        ways = [iter([start])]
        while ways:
            name = next(ways[-1], None)
            if name is None:
                ways.pop()
                if path:
                    done.add(path.pop())
            elif name in path:
                return (*path[path.index(name) :], name)
            elif name not in done:
                path.append(name)
                ways.append(iter(sorted(n for n, hard in order.get(name, {}).items() if hard or not strict)))
    return ()


def ranks(order: Before, groups: Mapping[str, Key], priority: Mapping[Key, int]) -> dict[Key, tuple[int, int]]:
    """Group → (priority, tier): whoever is waited for is placed as if it had at least the priority of those who wait, and of
    the same priority the earlier tier first. A circle is no reason not to answer."""
    edges = {
        (groups[earlier], groups[name])
        for name, tiers in order.items()
        for earlier in tiers
        if earlier in groups and groups[earlier] != groups[name]
    }
    found = {group: (own, 0) for group, own in priority.items()}
    for _ in range(len(found)):
        changed = False
        for first, then in sorted(edges):
            high = max(found[first][0], found[then][0])
            late = max(found[then][1], found[first][1] + 1)
            if (high, late) != (found[first][0], found[then][1]):
                found[first], found[then] = (high, found[first][1]), (found[then][0], late)
                changed = True
        if not changed:
            break
    return found
