"""Mistakes about copies of what runs everywhere, and about what is spread by number."""

from mutants.mutant import mutant

REASONS = "core/reasons.py"
INSTANCES = "core/decide_instances.py"
COUNTS = "core/counts.py"
MOVES = "core/moves.py"
PLACEMENT = "core/placement.py"
PLAN = "core/plan.py"
SPREADING = "core/spreading.py"
VIEW = "core/view.py"

COPY_MUTANTS = (
    mutant(
        "copy-waits-for-a-claim",
        "a gateway is not taken over before its node is proven dead",
        "LIVE-1",
        (
            INSTANCES,
            "return moves_without_claim(instance.spec) and batch.view.recovers(instance.spec)",
            "return moves_without_claim(instance.spec) and batch.view.recovers(instance.spec) and not instance.spec.home",
        ),
        by=("gateways/power-loss",),
    ),
    mutant(
        "advisory-without-ha-is-taken-over",
        "what may be taken over on suspicion is, also without high availability",
        "owner's wish",
        (
            INSTANCES,
            "return moves_without_claim(instance.spec) and batch.view.recovers(instance.spec)",
            "return moves_without_claim(instance.spec)",
        ),
        by=(
            "test unit/test_core_copies.py::test_an_advisory_instance_without_high_availability_waits_as_well",
            "gateways/ha-off-waits",
        ),
    ),
    mutant(
        "copy-without-ha-begins-anywhere",
        "a gateway without high availability begins elsewhere while its home is down",
        "owner's wish",
        (VIEW, "if home is not None and instance.move is None and not", "if False and not"),
        by=("gateways/created-while-home-is-away",),
    ),
    mutant(
        "copy-stays-away",
        "a gateway stays where it was taken over",
        "HOME",
        (REASONS, '    if instance.spec.home not in ("", node.id):\n', "    if False:\n"),
        by=("gateways/returns-home",),
    ),
    mutant(
        "copy-rushes-home",
        "a gateway returns to a node that is only just heard again",
        "quiet",
        (REASONS, "not home.well(batch.view.timing, batch.now)", "not home.up(batch.view.timing, batch.now)"),
        by=("gateways/freeze-and-thaw",),
    ),
    mutant(
        "copy-fails-for-ever",
        "a gateway returns to the node where it has just failed to start",
        "quiet",
        (REASONS, "if home.id not in _unforgiven(batch, instance) and batch.choose(", "if batch.choose("),
        by=("gateways/start-fails-at-home",),
    ),
    mutant(
        "copy-knows-no-home",
        "a gateway goes where most is free, and its home is any node",
        "HOME",
        (PLACEMENT, "        if home is not None and possible[home]:\n", "        if False:\n"),
        by=("test unit/test_core_copies.py::test_what_runs_nowhere_goes_home_though_that_is_up_for_a_short_time_only",),
    ),
    mutant(
        "copy-flees-from-itself",
        "a gateway that does not answer goes from node to node",
        "quiet",
        (
            REASONS,
            " and moves_without_claim(instance.spec) and not instance.spec.home:",
            " and moves_without_claim(instance.spec):",
        ),
        by=("test unit/test_core_copies.py::test_a_silent_gateway_stays_where_it_is",),
    ),
    mutant(
        "copy-is-owed-room",
        "a gateway that finds no second node counts as work that a failure would lose",
        "guarantee",
        (PLAN, "            elif instance.spec.exclusivity is Exclusivity.EVERYWHERE:\n", "            elif False:\n"),
        by=("test unit/test_core_copies.py::test_a_plan_says_who_stands_in_and_counts_nobody_who_cannot",),
    ),
    mutant(
        "copy-is-evened-out",
        "gateways are moved for the sake of evenness",
        "HOME",
        (SPREADING, "counted(instance.spec) and not instance.spec.home", "counted(instance.spec)"),
        (MOVES, "alone = not spec.home and spec.id", "alone = spec.id"),
        by=("test unit/test_core_copies.py::test_servers_are_evened_out_from_the_fullest_node_and_gateways_are_not",),
    ),
    mutant(
        "thawed-manager-believes",
        "a manager that stood still believes the first report it reads, before anybody else's",
        "quiet",
        ("manager/reports.py", "            self._since = self._clock.now()\n", "            pass\n"),
        by=(
            "test unit/test_manager_reports.py"
            "::test_a_manager_that_was_deaf_believes_nobody_before_it_has_listened_again",
        ),
    ),
    mutant(
        "parts-are-one-set",
        "name servers, object servers and gateways are counted as one",
        "spreading",
        (COUNTS, 'f"{spec.service} {spec.spread}" if spec.spread else ""', '""'),
        by=("gateways/s3-servers-are-spread", "gateways/s3-servers-even-out"),
    ),
    mutant(
        "weight-before-number",
        "what is to be spread by number goes by its memory",
        "spreading",
        (PLACEMENT, "        if self._spec.spread:\n", "        if False:\n"),
        by=("test unit/test_core_copies.py::test_number_goes_before_weight",),
    ),
)
