"""What the fuzzer lets happen: one generator per kind of episode, each of which ends every fault that it begins.

Never generated are `store-fault restore` (but sim/losses.py), `lie-fence lie-state`, `watchdog-off`, `watchdog-slow`
(between two beats) and a `confirm-dead` of a node that has power: they break a premise of the protocol (docs/safety.md,
limits), so that a violation would say nothing.
"""

from collections.abc import Callable, Iterator, Sequence

from holdfast.sim.cast import LONGEST_S, Cast, begin_and_end, step
from holdfast.sim.setup import Step
from holdfast.sim.verbs import STORE_FAULTS

AFTER_S = 0.01
"""Distance of steps of which the second must find the first done."""
STORE_MODES = tuple(mode for mode in (*STORE_FAULTS, "unknown") if mode not in ("restore", "none"))
"""Unknown outcomes twice: they are what goes wrong most."""
POWER = ("power-off", "power-on")
CUT = ("network-off", "network-on")
FROZEN = ("freeze", "thaw")
"""The three ways in which a node can be lost, and their ends."""

Episode = Callable[[Cast, float], Iterator[Step]]
"""Steps of an episode that begins at that time, in any order."""


# --- machines -----------------------------------------------------------------------------------------------------------


def power_loss(cast: Cast, at: float) -> Iterator[Step]:
    """One node, or several within moments of each other."""
    for node in cast.several(1, cast.random.choice((1, 1, 1, 2, 0))):
        yield from begin_and_end(cast, at + cast.moment(), "power-off", "power-on", node=node)


def site_power_loss(cast: Cast, at: float) -> Iterator[Step]:
    back = at + cast.seconds()
    for node in cast.nodes:
        yield step(at + cast.moment(0.5), "power-off", node=node)
        yield step(back + cast.moment(20.0), "power-on", node=node)


def freeze(cast: Cast, at: float) -> Iterator[Step]:
    """Thawed around a number of the protocol; half of the time nobody can switch it off meanwhile."""
    node, length = cast.node, cast.seconds()
    if node in cast.fenced and cast.random.random() < 0.5:
        yield from _broken_fence(cast, at, node, length + 20)
    yield step(at + 1, "freeze", node=node)
    yield step(at + 1 + length, "thaw", node=node)


def freeze_and_cut(cast: Cast, at: float) -> Iterator[Step]:
    """It thaws into a network that does not carry its word."""
    node, length = cast.node, cast.seconds()
    yield step(at, "freeze", node=node)
    yield step(at + length * cast.random.random(), "network-off", node=node)
    yield step(at + length, "thaw", node=node)
    yield step(at + length + cast.seconds(), "network-on", node=node)


def stutter(cast: Cast, at: float) -> Iterator[Step]:
    """A node that stands still again and again."""
    node = cast.node
    for _ in range(cast.random.randint(2, 6)):
        length = cast.random.uniform(0.3, cast.timing.W + 2)
        yield step(at, "freeze", node=node)
        yield step(at + length, "thaw", node=node)
        at += length + cast.random.uniform(0.2, 5.0)


def agent_gone(cast: Cast, at: float) -> Iterator[Step]:
    yield from begin_and_end(cast, at, "agent-stop", "agent-start", node=cast.node)


def agent_gone_and_cut(cast: Cast, at: float) -> Iterator[Step]:
    node, length = cast.node, cast.seconds()
    yield step(at, "agent-stop", node=node)
    yield step(at + cast.moment(), "network-off", node=node)
    yield step(at + length, "agent-start", node=node)
    yield step(at + 3.2 + length + cast.moment(10.0), "network-on", node=node)


def guard_gone(cast: Cast, at: float) -> Iterator[Step]:
    """Mostly systemd starts it again at once; if not, the watchdog counts. Sometimes the agent or the store is away, too."""
    node = cast.node
    length = cast.moment(2.0) if cast.random.random() < 0.5 else cast.seconds()
    yield step(at, "guard-stop", node=node)
    yield step(at + length, "guard-start", node=node)
    if cast.random.random() < 0.5:
        begin, end = cast.random.choice((("agent-stop", "agent-start"), CUT, FROZEN))
        yield from begin_and_end(cast, at + cast.random.uniform(-3.0, 3.0), begin, end, node=node)


def clean_end(cast: Cast, at: float) -> Iterator[Step]:
    node = cast.node
    if cast.random.random() < 0.5:
        yield step(at, "reboot", node=node)
    else:
        yield from begin_and_end(cast, at, "shutdown", "power-on", node=node)
    if cast.random.random() < 0.3:  # and it fails in the middle of it
        begin, end = cast.random.choice((POWER, CUT, FROZEN, ("agent-stop", "agent-start")))
        yield from begin_and_end(cast, at + cast.moment(6.0), begin, end, node=node)


def flapping(cast: Cast, at: float) -> Iterator[Step]:
    node = cast.node
    begin, end = cast.random.choice((POWER, CUT))
    for turn in range(3):
        yield step(at + turn * 42, begin, node=node)
        yield step(at + turn * 42 + cast.random.uniform(2, 25), end, node=node)


def clocks(cast: Cast, at: float) -> Iterator[Step]:
    """NTP steps, and rates at the edge of what is allowed."""
    rho = cast.timing.rho
    for node in cast.several():
        if cast.random.random() < 0.5:
            yield step(at + cast.moment(), "clock-step", node=node, seconds=round(cast.random.uniform(-1e6, 1e6), 1))
        rate = cast.random.choice((1 - rho, 1 + rho, 1.0, round(cast.random.uniform(1 - rho, 1 + rho), 4)))
        yield step(at + cast.moment(), "clock-rate", node=node, rate=rate)


# --- network ------------------------------------------------------------------------------------------------------------


def cut(cast: Cast, at: float) -> Iterator[Step]:
    network = cast.random.choice(("all", "all", "management", "public"))
    for node in cast.several(1, cast.random.choice((1, 1, 2, 0))):
        yield from begin_and_end(cast, at + cast.moment(1.0), "network-off", "network-on", node=node, network=network)


def partition(cast: Cast, at: float) -> Iterator[Step]:
    """The nodes fall into two groups, of which one may still hear the other."""
    side = cast.several()
    one_way = cast.random.random() < 0.3
    end = at + cast.seconds()
    for node in side:
        for other in cast.nodes:
            if other not in side:
                yield step(at, "link-off", from_=node, to=other, one_way=one_way)
                yield step(end, "link-on", from_=node, to=other, one_way=one_way)


def one_way_links(cast: Cast, at: float) -> Iterator[Step]:
    """Some links carry in one direction only."""
    for _ in range(cast.random.randint(1, len(cast.nodes))):
        sender, receiver = cast.random.sample(cast.nodes, 2)
        yield from begin_and_end(
            cast, at + cast.moment(), "link-off", "link-on", from_=sender, to=receiver, one_way=True
        )


def bad_network(cast: Cast, at: float) -> Iterator[Step]:
    nodes = cast.several()
    end = at + cast.seconds()
    kinds = cast.random.choice(("loss", "delay", "loss and delay"))
    if "loss" in kinds:
        yield step(at, "loss", percent=round(cast.random.uniform(5, 100)), nodes=nodes)
        yield step(end, "loss", percent=0, nodes=nodes)
    if "delay" in kinds:
        yield step(at, "delay", seconds=round(10 ** cast.random.uniform(-2.5, 0.5), 3), nodes=nodes)
        yield step(end, "delay", seconds=0.0, nodes=nodes)


# --- store --------------------------------------------------------------------------------------------------------------


def store_away(cast: Cast, at: float) -> Iterator[Step]:
    """Members stop: few of them, or all."""
    nodes = cast.several() if cast.random.random() < 0.5 else cast.nodes
    yield from begin_and_end(cast, at, "store-off", "store-on", nodes=nodes)


def store_anomalies(cast: Cast, at: float) -> Iterator[Step]:
    """Some of the ways in which a store does not say what is true, at once."""
    length = cast.seconds()
    for mode in cast.random.sample(STORE_MODES, cast.random.randint(1, 3)):
        nodes = cast.several() if cast.random.random() < 0.6 else cast.nodes
        begin = at + cast.moment()
        yield step(begin, "store-fault", mode=mode, nodes=nodes, for_=round(length, 2))
        if mode == "unknown" and cast.random.random() < 0.6:
            yield step(begin + length * cast.random.random(), "store-fault", mode="leader-change")


def elections(cast: Cast, at: float) -> Iterator[Step]:
    """The store loses its leader again and again, while a node fails."""
    for _ in range(cast.random.randint(2, 6)):
        yield step(at, "store-fault", mode="leader-change")
        at += cast.random.uniform(0.5, 8.0)
    if cast.random.random() < 0.5:
        yield from power_loss(cast, at - 4)


def unknown_and_frozen(cast: Cast, at: float) -> Iterator[Step]:
    """A beat that was sent, stood still under way and took effect late."""
    node, length = cast.node, cast.seconds()
    yield step(at, "store-fault", mode="unknown", nodes=(node,), for_=round(length + 5, 2))
    yield step(at + cast.moment(), "freeze", node=node)
    yield step(at + 3 + length, "thaw", node=node)


# --- fencing ------------------------------------------------------------------------------------------------------------


def _broken_fence(cast: Cast, at: float, node: str, length: float) -> Iterator[Step]:
    mode = cast.random.choice(("dead", "slow", "unknown", "lie"))
    yield step(at, "lie-fence", node=node, mode=mode)
    yield step(at + min(length, LONGEST_S), "lie-fence", node=node, mode="honest")


def fence_fails(cast: Cast, at: float) -> Iterator[Step]:
    """A node is lost while its fence device is no help."""
    node, length = cast.random.choice(cast.fenced or cast.nodes), cast.seconds()
    if node in cast.fenced:
        yield from _broken_fence(cast, at, node, length + cast.moment(30.0))
    begin, end = cast.random.choice((POWER, CUT, FROZEN))
    yield step(at + 1, begin, node=node)
    yield step(at + 1 + length, end, node=node)


def confirmed(cast: Cast, at: float) -> Iterator[Step]:
    """An operator has looked: the node has no power."""
    node = cast.node
    length = max(8.0, cast.seconds())
    yield from _broken_fence(cast, at, node, length) if node in cast.fenced else ()
    yield step(at + 1, "power-off", node=node)
    yield step(at + 1 + cast.random.uniform(2.0, length - 3), "confirm-dead", node=node)
    yield step(at + 1 + length, "power-on", node=node)


# --- operators ----------------------------------------------------------------------------------------------------------


def maintenance(cast: Cast, at: float) -> Iterator[Step]:
    """Sometimes another node fails meanwhile, or the same one."""
    node, length = cast.node, cast.random.uniform(5, LONGEST_S)
    yield step(at, "maintenance-on", node=node)
    yield step(at + length, "maintenance-off", node=node)
    if cast.random.random() < 0.4:
        yield from begin_and_end(cast, at + cast.moment(20.0), "power-off", "power-on", node=cast.node)


def paused(cast: Cast, at: float) -> Iterator[Step]:
    """High availability is paused, and things fail all the same."""
    mode, length = cast.random.choice(("freeze", "ignore")), cast.random.uniform(5, LONGEST_S - 20)
    yield step(at, "ha-pause", mode=mode)
    yield step(at + length, "ha-resume")
    if cast.random.random() < 0.6:
        episode = cast.random.choice((power_loss, freeze, cut, crashes, agent_gone))
        yield from episode(cast, at + cast.random.random() * length)


def moves(cast: Cast, at: float) -> Iterator[Step]:
    """Planned moves; with some of them a node fails before they are over."""
    for _ in range(cast.random.randint(1, 4)):
        at += cast.moment(8.0)
        to = cast.random.choice((*cast.nodes, ""))
        verb = cast.random.choice(("migrate", "relocate"))
        instance = cast.random.choice(cast.virtual) if verb == "migrate" else cast.instance
        if cast.random.random() < 0.2:
            yield step(at, "fail-migrate", instance=instance)
            yield step(at + 60, "fail-migrate", instance=instance, times=0)
        yield step(at, verb, instance=instance, to=to)
    if cast.random.random() < 0.5:
        begin, end = cast.random.choice((POWER, CUT, FROZEN))
        yield from begin_and_end(cast, at + cast.moment(), begin, end, node=to or cast.node)


def states(cast: Cast, at: float) -> Iterator[Step]:
    """Instances are stopped, disabled or ignored for a time; half of the time a node fails meanwhile."""
    for instance in cast.random.sample(cast.instances, cast.random.randint(1, min(3, len(cast.instances)))):
        state = cast.random.choice(("stopped", "disabled", "ignored"))
        yield step(at + cast.moment(), "set-state", instance=instance, state=state)
        yield step(at + 5 + cast.seconds(), "set-state", instance=instance, state="started")
    if cast.random.random() < 0.5:
        yield from power_loss(cast, at + 4)


def visitors(cast: Cast, at: float) -> Iterator[Step]:
    """Instances come and go."""
    for _ in range(cast.random.randint(1, 3)):
        name = f"{cast.random.choice(('vm', 'nfs', 'iscsi'))}/guest-{cast.random.getrandbits(24):06x}"
        yield step(at, "add", instance=name, cpu=0.5, memory=256)
        yield step(at + max(1.0, cast.seconds()), "remove", instance=name)
        at += cast.moment(10.0)
    if cast.random.random() < 0.4:
        yield from begin_and_end(cast, at, "network-off", "network-on", node=cast.node)


def locks(cast: Cast, at: float) -> Iterator[Step]:
    """What is locked is not moved on purpose, and recovered all the same."""
    instance = cast.instance
    yield from begin_and_end(cast, at, "lock", "unlock", instance=instance)
    yield step(at + AFTER_S, "relocate", instance=instance)
    if cast.random.random() < 0.5:
        yield from power_loss(cast, at + 1)


def resources(cast: Cast, at: float) -> Iterator[Step]:
    """A node shrinks for a time (a broken memory module)."""
    node = cast.node
    yield step(at, "set-resources", node=node, memory=1024)
    yield step(at + cast.seconds(), "set-resources", node=node, memory=8192)


# --- instances ----------------------------------------------------------------------------------------------------------


def crashes(cast: Cast, at: float) -> Iterator[Step]:
    for _ in range(cast.random.randint(1, 5)):
        yield step(at, "crash", instance=cast.instance)
        at += cast.moment(15.0)


def powers_off(cast: Cast, at: float) -> Iterator[Step]:
    """A guest is shut down from inside, and somebody starts it again; often just when something else happens."""
    instance = cast.instance
    yield step(at, "guest-power-off", instance=instance)
    beside = cast.random.choice((power_loss, freeze, moves, maintenance, crashes))
    yield from beside(cast, at + cast.random.uniform(0.0, 3.0))
    yield step(at + cast.seconds(), "set-state", instance=instance, state="started")


def failing_starts(cast: Cast, at: float) -> Iterator[Step]:
    """An instance that ends and does not start again at once, here or elsewhere."""
    instance = cast.instance
    if cast.random.random() < 0.3:
        yield step(at, "hang-start", instance=instance, for_=round(cast.seconds(), 2))
    else:
        yield step(at, "fail-start", instance=instance, times=cast.random.randint(1, 5))
        yield step(at + LONGEST_S, "fail-start", instance=instance, times=0)
    yield from cast.random.choice((crashes, power_loss))(cast, at + 1)
    yield step(at + 1, "crash", instance=instance)


def failing_stops(cast: Cast, at: float) -> Iterator[Step]:
    """A stop that fails or hangs while the instance has to leave, or its node has lost the store."""
    instance = cast.instance
    length = cast.seconds()
    if cast.random.random() < 0.5:
        yield step(at, "hang-stop", instance=instance, for_=round(length, 2))
        if cast.random.random() < 0.3:  # only the watchdog is left
            yield step(at, "hang-kill", instance=instance, for_=round(length, 2))
    else:
        yield step(at, "fail-stop", instance=instance, times=cast.random.randint(1, 4))
        yield step(at + LONGEST_S, "fail-stop", instance=instance, times=0)
    node = cast.node
    chosen = cast.random.randrange(4)
    if chosen == 0:
        yield step(at + 1, "relocate", instance=instance)
    elif chosen == 1:
        yield from begin_and_end(cast, at + 1, "store-off", "store-on", nodes=cast.nodes)
    elif chosen == 2:
        yield from begin_and_end(cast, at + 1, "network-off", "network-on", node=node)
    else:
        yield from begin_and_end(cast, at + 1, "maintenance-on", "maintenance-off", node=node)


EPISODES: Sequence[tuple[int, Episode]] = (
    (10, power_loss),
    (2, site_power_loss),
    (10, freeze),
    (6, freeze_and_cut),
    (4, stutter),
    (6, agent_gone),
    (4, agent_gone_and_cut),
    (5, guard_gone),
    (6, clean_end),
    (3, flapping),
    (3, clocks),
    (8, cut),
    (6, partition),
    (6, one_way_links),
    (5, bad_network),
    (5, store_away),
    (8, store_anomalies),
    (4, elections),
    (4, unknown_and_frozen),
    (7, fence_fails),
    (3, confirmed),
    (5, maintenance),
    (5, paused),
    (8, moves),
    (4, states),
    (3, visitors),
    (2, locks),
    (2, resources),
    (4, crashes),
    (4, powers_off),
    (4, failing_starts),
    (6, failing_stops),
)
"""(weight, episode)"""


def play(cast: Cast, at: float) -> list[Step]:
    """The steps of one episode chosen by weight. None is later than LONGEST_S and a half after its begin."""
    (episode,) = cast.random.choices([e for _, e in EPISODES], [weight for weight, _ in EPISODES])
    return list(episode(cast, at))
