"""The manager's word on the tolerated failures, and its automatic evening out."""

import asyncio
from dataclasses import replace

from decide_world import NOW, T, node, vm

from holdfast.core.admission import Guarantee
from holdfast.core.history import GuaranteeWord
from holdfast.core.horizon import next_look
from holdfast.core.intents import AskMove, Decision, Intent
from holdfast.core.policy import ComputeSpec, NodeFailure, NodeHealth
from holdfast.core.rebalance import QUIET_S, automatic
from holdfast.core.view import NodeView, View
from holdfast.manager.balance import REFUSALS, Balancer
from holdfast.manager.guarantee import PAUSE_S, GuaranteeKeeper, assess, news


def crowded(*nodes: NodeView, compute: ComputeSpec | None = None, count: int = 6) -> View:
    """Everything on n1, which has 8 GiB as the others."""
    nodes = nodes or (node("n1"), node("n2"), node("n3"))
    machines = [vm(f"vm/{number}", spec={"memory_mib": 1200}) for number in range(count)]
    spec = compute or ComputeSpec(("n1", "n2", "n3"), reserve_memory_mib=0, rebalance="auto")
    return View(T, 500, {n.id: n for n in nodes}, {m.id: m for m in machines}, compute=spec)


# --- the guarantee -----------------------------------------------------------------------------------------------------


async def test_it_is_computed_when_something_changed_and_only_then() -> None:
    asked: list[int] = []
    done = asyncio.Event()

    async def compute(view: View, tolerate: int, now: float) -> Guarantee:
        asked.append(tolerate)
        return assess(view, tolerate, now)

    keeper = GuaranteeKeeper(compute, done.set)
    keeper.observe(crowded(), NOW)
    assert keeper.word is None
    await asyncio.wait_for(done.wait(), 10)
    assert keeper.word is not None and keeper.word.holds and keeper.word.tolerate == 1
    later = NOW + PAUSE_S
    keeper.observe(crowded(), later)
    await asyncio.sleep(0)
    assert asked == [1], "nothing has changed"
    done.clear()
    keeper.observe(crowded(node("n1"), node("n2", missed_for=3.0)), later)
    await asyncio.wait_for(done.wait(), 10)
    assert asked == [1, 1]
    keeper.observe(replace(crowded(), compute=None), later)
    assert keeper.word is None, "no compute cluster, nothing to guarantee"


async def test_a_mistake_in_the_prognosis_does_not_end_the_manager() -> None:
    done = asyncio.Event()

    async def broken(view: View, tolerate: int, now: float) -> Guarantee:
        raise ZeroDivisionError

    keeper = GuaranteeKeeper(broken, done.set)
    keeper.observe(crowded(), NOW)
    await asyncio.wait_for(done.wait(), 10)
    assert keeper.word is None


def test_people_are_told_when_it_is_lost_and_when_it_is_back() -> None:
    holds, lost = GuaranteeWord(1, True, text="fine"), GuaranteeWord(1, False, text="n1 would be too much")
    assert news(None, holds) is None
    assert news(None, lost) == ("guarantee-lost", "n1 would be too much")
    assert news(lost, replace(lost, worst=("n2",))) is None
    assert news(lost, holds) == ("guarantee-holds", "fine")
    assert news(holds, None) is None


# --- automatic evening out ---------------------------------------------------------------------------------------------


def test_one_live_move_at_a_time_while_all_is_calm() -> None:
    balancing, move = automatic(crowded(), NOW, balancing=False)
    assert balancing and move is not None and move.live and move.source == "n1"
    for disturbed in (
        replace(crowded(), settled=False),
        crowded(node("n1"), node("n2"), node("n3", missed_for=3.0)),
        crowded(compute=ComputeSpec(("n1",), rebalance="off")),
    ):
        assert automatic(disturbed, NOW, balancing=False) == (False, None)
    view = crowded()
    placement = view.instances["vm/5"].placement
    assert placement is not None
    placement = replace(placement, migrate_to="n2", migrate_fence_epoch=1)
    moving = replace(view.instances["vm/5"], placement=placement)
    under_way = replace(view, instances={**view.instances, "vm/5": moving})
    assert automatic(under_way, NOW, balancing=True) == (True, None), "it waits for the last one"


def test_a_threshold_to_begin_and_a_lower_one_to_end() -> None:
    nodes = (node("n1"), node("n2"), node("n3"))
    some = crowded(*nodes, count=2)  # 29 % on one node, 0 % on the others: 20 % above the mean
    assert automatic(some, NOW, balancing=False) == (False, None)
    assert automatic(some, NOW, balancing=True)[0]


def test_after_a_failure_it_keeps_quiet_and_the_horizon_knows_for_how_long() -> None:
    came = node("n2", up_since=NOW - 10)
    view = crowded(node("n1"), came, node("n3"))
    assert automatic(view, NOW, balancing=True) == (True, None)
    assert next_look(view, NOW - 11 + QUIET_S) == NOW - 10 + QUIET_S
    failed = node("n2", health=NodeHealth((NodeFailure(4, NOW - 100),)))
    view = replace(crowded(node("n1"), failed, node("n3")), term=4, term_since=NOW - 900)
    assert automatic(view, NOW, balancing=False) == (False, None)
    assert automatic(replace(view, term=5), NOW, balancing=False)[1] is not None, (
        "an earlier term's is as old as this one"
    )


def tight(small: int) -> View:
    """Some small ones on n1; the big one on n2 needs 7 of the 8 GiB of n3, should n2 fail."""
    nodes = (node("n1"), node("n2"), node("n3"))
    machines = [vm(f"vm/{number}") for number in range(small)]
    machines.append(vm("vm/big", "n2", spec={"memory_mib": 7168}))
    compute = ComputeSpec(("n1", "n2", "n3"), reserve_memory_mib=0, rebalance="auto")
    return View(T, 500, {n.id: n for n in nodes}, {m.id: m for m in machines}, compute=compute)


async def balanced(view: View, turns: int, *, decision: Decision | None = None) -> list[Intent]:
    """What the balancer wants in so many turns in which nothing changes."""

    async def compute(view: View, tolerate: int, now: float) -> Guarantee:
        return assess(view, tolerate, now)

    balancer, wanted = Balancer(compute, lambda: None), []
    for _ in range(turns):
        wanted += balancer.steps(view, decision or Decision(), NOW)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return wanted


async def test_a_move_is_made_only_when_it_is_known_that_the_guarantee_stays() -> None:
    assert await balanced(tight(6), 1) == [], "it is not known yet"
    [move] = await balanced(tight(6), 2)
    assert isinstance(move, AskMove) and (move.instance, move.request.node) == ("vm/0", "n3")
    assert await balanced(tight(6), 2, decision=Decision(hold="more than half are suspect")) == []


async def test_no_move_that_breaks_the_guarantee_is_made() -> None:
    view = tight(6)
    grown = replace(view.instances["vm/big"], spec=replace(view.instances["vm/big"].spec, memory_mib=8192))
    view = replace(view, instances={**view.instances, "vm/big": grown})
    assert assess(view, 1, NOW).holds
    assert automatic(view, NOW, balancing=False)[1] is not None, "but for the guarantee it would be worth it"
    assert await balanced(view, 3 * REFUSALS) == []
    broken = replace(view, compute=ComputeSpec(("n1", "n2", "n3"), tolerate=2, reserve_memory_mib=0, rebalance="auto"))
    assert not assess(broken, 2, NOW).holds
    assert len(await balanced(broken, 2)) == 1, "what is broken already is broken no more by it"
