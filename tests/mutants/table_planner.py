"""Mistakes of the planner: start order, room that is made and kept, preemption, the guarantee, evening out."""

from mutants.mutant import mutant

START_ORDER = "core/start_order.py"
INSTANCES = "core/decide_instances.py"
NEIGHBOURHOOD = "core/neighbourhood.py"
BATCH = "core/batch.py"
VIEW = "core/view.py"
PLACEMENT = "core/placement.py"
ADMISSION = "core/admission.py"
ENOUGH = "core/enough.py"
ROOM = "manager/room.py"
MODEL = "planning/room_model.py"
BALANCE = "manager/balance.py"
SPREADING = "core/spreading.py"
POWER = "manager/power.py"

OFF = "await self._device.off(timeout=timeout)\n"

COUNT = ("test property/test_enough_for_all.py::test_what_is_said_to_be_enough_is",)

PLANNER_MUTANTS = (
    # --- start order
    mutant(
        "failed-is-ready",
        "who has failed to start keeps nobody waiting any more",
        "start order",
        (
            START_ORDER,
            "earlier.deleting or ready(batch, earlier):",
            "earlier.deleting or ready(batch, earlier) or restarts_used_up(earlier):",
        ),
        by=("start-order/a-failed-one-is-not-ready",),
    ),
    mutant(
        "impossible-is-not-waited-for",
        "a strict order waits only for who is on its way",
        "start order",
        (START_ORDER, "        if strict or coming:\n", "        if coming:\n"),
        by=("start-order/strict-waits-for-ever",),
    ),
    mutant(
        "all-start-at-once",
        "a node starts as much at a time as there is",
        "start order",
        (START_ORDER, "_starts(batch, node) < STARTS_PER_NODE", "_starts(batch, node) < 1000"),
        by=("capacity/so-many-starts-at-a-time",),
    ),
    # --- who runs where
    mutant(
        "migration-source-forgotten",
        "the source of a live migration does not count as an executor",
        "INV-1",
        (
            VIEW,
            "return frozenset(alive - {placement.node} if self.gone_from_its_node() else alive)",
            "return frozenset(alive - {placement.node} if self.gone_from_its_node() or placement.migrate_to else alive)",
        ),
        by=("migration/live",),
    ),
    mutant(
        "no-ha-is-recovered",
        "what its owner took out of high availability is started on another node",
        "owner's wish",
        (
            VIEW,
            "return self.nodes if on_its_way or self.recovers(instance.spec) else {former.id: former}",
            "return self.nodes",
        ),
        by=("guests/no-ha-waits",),
    ),
    mutant(
        "powered-off-is-restarted",
        "a guest that powered itself off is not left off",
        "owner's wish",
        (
            INSTANCES,
            "        yield KeepOff(instance.id, instance.spec_revision, instance.status_revision)\n        return\n",
            "        pass\n",
        ),
        by=("guests/power-off",),
    ),
    mutant(
        "written-down-afterwards",
        "the store is told of a power-off after the command",
        "LIVE-1",
        (
            POWER,
            f"            await self._tell()\n            self._told = True\n        {OFF}",
            f"            self._told = True\n            {OFF}            await self._tell()\n",
        ),
        by=("fence-failures/leader-is-cut-off-before-the-power-off",),
    ),
    mutant(
        "room-for-one-of-a-group",
        "a group of strict affinity goes where its first member fits",
        "INV-4",
        (
            PLACEMENT,
            "            self._party += [mate for mate in known if mate.desired is Desired.STARTED]\n",
            "            self._party += [mate for mate in known if mate.desired is Desired.STARTED][:0]\n",
        ),
        by=("affinity/room-for-both", "affinity/strict-group-waits-for-room"),
    ),
    # --- room
    mutant(
        "preempts-its-equals",
        "what is preemptible is stopped for one of the same priority, too",
        "owner's wish",
        (
            NEIGHBOURHOOD,
            "spec.preemptible and spec.priority < highest",
            "spec.preemptible and spec.priority <= highest",
        ),
        (
            MODEL,
            "if other.priority > item.priority and other.node",
            "if other.priority >= item.priority and other.node",
        ),
        by=("make-room/equals-do-not-give-way",),
    ),
    mutant(
        "preempts-anybody",
        "what its owner has not marked is stopped for one of higher priority",
        "owner's wish",
        (NEIGHBOURHOOD, "spec.preemptible and spec.priority < highest", "spec.priority < highest"),
        (ROOM, " and instance.spec.preemptible\n", "\n"),
        by=("make-room/nobody-gives-way",),
    ),
    mutant(
        "yielding-forgotten",
        "who was stopped to make room takes it back at once",
        "LIVE-1",
        (
            INSTANCES,
            'waits = yielding(batch, instance) or ("" if held.soon else held.why)',
            'waits = "" if held.soon else held.why',
        ),
        (INSTANCES, "            keep_what_is_freed(batch, instance)\n", ""),
        by=("make-room/two-give-way-for-one",),
    ),
    mutant(
        "freed-room-for-anybody",
        "room that a move has freed goes to whoever fits first",
        "LIVE-1",
        (INSTANCES, "            keep_what_is_freed(batch, instance)\n", ""),
        by=("make-room/what-a-move-frees-is-kept",),
    ),
    mutant(
        "mover-in-its-own-turn",
        "who moves out of the way comes after whoever is more important than itself",
        "LIVE-1",
        (BATCH, "        if not self.freed:\n            return ordered\n", "        return ordered\n"),
        by=(
            "test unit/test_core_yielding.py::test_who_moves_out_of_the_way_takes_its_new_place_before_the_less_important",
        ),
    ),
    mutant(
        "room-in-a-hold",
        "room is made, and requests are withdrawn, while the decision holds",
        "hold",
        (ROOM, "        if decision.hold:  #", "        if False:  #"),
        by=("test unit/test_manager_room.py::test_in_a_hold_nothing_is_written_and_afterwards_everything_ripens_anew",),
    ),
    # --- the guarantee
    mutant(
        "waiting-blames-a-failure",
        "admission control blames failures for what has no room already",
        "guarantee",
        (ADMISSION, "    if waiting:\n        counted", "    if False:\n        counted"),
        by=("test unit/test_core_admission.py::test_what_does_not_count",),
    ),
    mutant(
        "count-keeps-the-dead",
        "the count of what is enough leaves the failed nodes' own room in the sum",
        "guarantee",
        (ENOUGH, "loads.append(self._lost + np.bincount(number, room, count + 1)[:count])", "loads.append(self._lost)"),
        by=COUNT,
    ),
    mutant(
        "count-without-gaps",
        "the count takes what is free for what can be filled, as if instances were as small as one likes",
        "guarantee",
        (ENOUGH, "np.maximum(self._gap(kind) - size, 0.0)", "np.maximum(self._gap(kind), 0.0)"),
        by=COUNT,
    ),
    mutant(
        "count-forgets-apart",
        "the count does not mind that others keep an instance off nodes",
        "guarantee",
        (ENOUGH, "limit = room.sum() - widest + size", "limit = room.sum() + size"),
        by=("test unit/test_core_admission.py::test_others_that_keep_an_instance_off_are_counted",),
    ),
    mutant(
        "evens-out-blindly",
        "the load is evened out whatever becomes of the guarantee",
        "guarantee",
        (BALANCE, " or not self._stays(view, move, now):", ":"),
        by=("rebalance/not-at-the-price-of-the-guarantee",),
    ),
    # --- what is counted
    mutant(
        "spread-over-strangers",
        "what is counted goes where fewest of any kind are, whatever the node carries of its own group",
        "spreading",
        (PLACEMENT, "        yield self._fewest(spread_set, counts.of_set)\n", ""),
        by=(
            "test property/test_spreading_properties.py::test_the_choice_goes_by_the_set_then_by_the_kind_then_by_all",
        ),
    ),
    mutant(
        "spread-to-and-fro",
        "what is counted moves to a node that carries one less, and back",
        "spreading",
        (SPREADING, "carried[source] - carried[name] >= 2", "carried[source] - carried[name] >= 1"),
        (SPREADING, "default=0) - fewest >= 2", "default=0) - fewest >= 1"),
        by=("test property/test_spreading_properties.py::test_each_move_lowers_the_unevenness_and_stays_and_it_ends",),
    ),
    mutant(
        "spread-at-once",
        "a node gets back what is counted as soon as it is there",
        "spreading",
        (SPREADING, " if now - view.nodes[name].up_since >= QUIET_S}", "}"),
        by=("rebalance/volumes-return-one-by-one",),
    ),
    mutant(
        "spread-where-starts-fail",
        "what is counted is moved to a node where another one of its group has just failed to start",
        "spreading",
        (SPREADING, "targets - _distrusted(batch, members)", "targets"),
        by=("rebalance/not-where-starts-fail",),
    ),
    mutant(
        "spread-in-an-incident",
        "what is counted is evened out before all that a failure hit is back",
        "spreading",
        (BALANCE, " or decision.intents or incident:", " or decision.intents:"),
        by=("test unit/test_core_spreading.py::test_the_manager_waits_for_the_end_of_incidents_and_holds",),
    ),
)
