"""Mistakes in what keeps things from running twice after the store was restored from a backup."""

from mutants.mutant import mutant

RESTORE = "bootstrap/restore.py"
RESTORED = "core/restored.py"
VIEW = "core/view.py"
FENCING = "core/fencing.py"
INSTANCES = "core/decide_instances.py"
BATCH = "core/batch.py"
KNOWN = "agent/known_nodes.py"
SESSION = "agent/session.py"
SYSTEM = "agent/system.py"

GATE = "if batch.unheard and not executors and not moves_without_claim(instance.spec):"

RESTORE_MUTANTS = (
    # --- the gate
    mutant(
        "restored-store-is-believed",
        "after a restore what is strict is placed before all nodes have joined",
        "INV-1",
        (INSTANCES, GATE, "if False:"),
        by=("restore/frozen-node-holds-everything",),
    ),
    mutant(
        "unheard-node-is-up",
        "a node whose last beat comes from the backup counts as one that has joined",
        "INV-1",
        (VIEW, "return self.member and self.beat is not None and not self.beat.session", "return False"),
        by=("restore/frozen-node-holds-everything",),
    ),
    mutant(
        "first-to-join-opens",
        "one node that has joined since the restore opens the gate for all",
        "INV-1",
        (
            VIEW,
            "return [node.id for node in self.nodes.values() if node.unheard]",
            "late = [node.id for node in self.nodes.values() if node.unheard]\n"
            "        return late if len(late) == len(self.nodes) else []",
        ),
        by=("restore/frozen-node-holds-everything",),
    ),
    mutant(
        "gate-only-for-the-missing-nodes-own",
        "after a restore only those wait that the backup had on a node which has not joined",
        "INV-1",
        (
            INSTANCES,
            GATE,
            "home = instance.placement.node if instance.placement else ''\n"
            "    if home in batch.view.unheard and not executors and not moves_without_claim(instance.spec):",
        ),
        by=("restore/frozen-node-holds-everything",),
    ),
    mutant(
        "gate-for-everything",
        "after a restore what is not strict waits for every node, too",
        "LIVE-1",
        (INSTANCES, GATE, "if batch.unheard and not executors:"),
        by=("restore/frozen-node-holds-everything",),
    ),
    mutant(
        "restored-watchdog-is-relied-on",
        "the restored store takes over what the last beat of the backup attested, so that time proves nodes dead",
        "INV-1, INV-2",
        (
            RESTORED,
            'return Beat("", "", machine, 0, epoch, BeatPhase.ACTIVE, cpu=cpu, memory_mib=memory)',
            "watchdog = known.watchdog if known else None\n"
            '    return Beat("", "", machine, 0, epoch, BeatPhase.ACTIVE, watchdog, cpu=cpu, memory_mib=memory)',
        ),
        by=("restore/paused-node-runs-on",),
    ),
    mutant(
        "restored-session-goes-on",
        "the restored store keeps the last beats of the backup, so that agents adopt what they ran for the lost one",
        "INV-1",
        (
            RESTORED,
            'return Beat("", "", machine, 0, epoch, BeatPhase.ACTIVE, cpu=cpu, memory_mib=memory)',
            'session, boot = (known.session, known.boot_id) if known else ("", "")\n'
            "    return Beat(session, boot, machine, 0, epoch, BeatPhase.ACTIVE, cpu=cpu, memory_mib=memory)",
        ),
        by=("restore/frozen-node-holds-everything", "restore/moved-since-the-backup"),
    ),
    mutant(
        "restored-placements-count",
        "placements of the backup are valid for the restored store's fence epochs",
        "INV-1",
        (
            RESTORE,
            'Placement(placement.node, floor, 0, placement.goal, "as the backup had it")',
            'Placement(placement.node, floor, floor, placement.goal, "as the backup had it")',
        ),
        by=("restore/moved-since-the-backup", "restore/frozen-node-holds-everything"),
    ),
    mutant(
        "restored-fence-epochs-go-on",
        "the restored store goes on with the epochs that the backup had",
        "INV-3",
        (
            RESTORE,
            "return max(max([*used, floor_of(former)]) + EPOCH_STEP, wall_ms * EPOCHS_PER_MS)",
            "return max([*used, floor_of(former)])",
        ),
        by=("test unit/test_bootstrap_backup.py::test_of_a_restored_store_nothing_is_believed_that_may_have_changed",),
    ),
    mutant(
        "new-epochs-forget-the-floor",
        "after a restore new epochs begin at the revision of the restored store",
        "INV-3",
        (BATCH, "floor = self.view.revision + self.view.epoch_floor", "floor = self.view.revision"),
        by=("test unit/test_core_restored.py::test_once_all_have_joined_it_starts_with_an_epoch_that_was_never_used",),
    ),
    mutant(
        "unheard-node-is-fenced-at-once",
        "a node that has not joined since the restore is switched off without the time to do so",
        "quiet",
        (FENCING, "if node.unheard and now - node.beat_seen_at < PATIENCE_S:", "if False:"),
        by=("test unit/test_core_restored.py::test_it_has_time_to_join_before_it_is_switched_off",),
    ),
    mutant(
        "unheard-node-is-never-fenced",
        "a node that has not joined since the restore is never switched off",
        "LIVE-1",
        (FENCING, "if node.unheard and now - node.beat_seen_at < PATIENCE_S:", "if node.unheard:"),
        by=("restore/frozen-node-is-switched-off",),
    ),
    # --- nodes that the backup does not know
    mutant(
        "nobody-tells",
        "a node that joins a restored store keeps to itself which other nodes it knew",
        "INV-1",
        (KNOWN, "for known in memory.unknown_to(life):", "for known in ():"),
        by=("restore/added-since-the-backup",),
    ),
    mutant(
        "told-after-joining",
        "a node tells a restored store of the others only once it has joined",
        "INV-1",
        (SESSION, "await self._former.tell()", "pass"),
        (
            SESSION,
            "            self._event(SessionEvent.ADMITTED)\n",
            "            self._event(SessionEvent.ADMITTED)\n"
            "            if self._former is not None:\n"
            "                await self._former.tell()\n",
        ),
        by=("restore/told-before-the-last-joins",),
    ),
    mutant(
        "told-node-is-believed",
        "a node that a restored store is told of counts as claimed: nobody waits for it",
        "INV-1",
        (RESTORE, "keys.beat(name): codec.encode(unheard_beat(known.beat, floor)),\n    }", "}"),
        by=("restore/added-since-the-backup",),
    ),
    mutant(
        "memory-follows-at-once",
        "a node replaces what it knew by what the restored store knows, before it has told",
        "INV-1",
        (KNOWN, "if former is not None and former.life < life and not self._told:", "if False:"),
        by=("restore/added-since-the-backup",),
    ),
    mutant(
        "told-what-was-removed",
        "a restored store is told of nodes that were removed before its backup was made",
        "LIVE-1",
        (RESTORED, "if self.life != restored.former_floor or node.created > restored.backup_revision:", "if True:"),
        by=("test unit/test_agent_known_nodes.py::test_what_is_not_told",),
    ),
    mutant(
        "restorer-forgets",
        "the node on which the store is restored does not put in the nodes that it knows itself",
        "INV-1",
        (RESTORE, "    new |= known_here(known.read_bytes() if known.exists() else None, new)\n", ""),
        by=("test unit/test_bootstrap_backup.py::test_a_restore_puts_in_what_the_machine_knows",),
    ),
    mutant(
        "fresh-store-starts-at-once",
        "a restored store does not wait for the deadlines of nodes that nobody knows",
        "INV-1",
        (RESTORED, "if not unheard and fresh:", "if False:"),
        by=("restore/added-and-nobody-knows",),
    ),
    mutant(
        "fresh-until-anything-is-placed",
        "the wait for unknown nodes' deadlines ends when the panel is placed",
        "INV-1",
        (VIEW, "if one.spec.exclusivity is Exclusivity.STRICT)", "if one.spec)"),
        by=(
            "test unit/test_core_restored.py::test_once_something_strict_was_placed_a_new_manager_does_not_wait_again",
        ),
    ),
    mutant(
        "turned-away-and-running",
        "a node that may not join goes on with what it ran for the lost store",
        "INV-1",
        (
            SESSION,
            "        self._refuse(problem)\n        await self._workload.stop_strict(0.0)\n",
            "        self._refuse(problem)\n",
        ),
        by=("restore/turned-away",),
    ),
    mutant(
        "any-machine-is-the-node",
        "where the restored store knows no machine of a node, the first one of its name is it",
        "INV-1",
        (
            SESSION,
            "return previous.machine_id == mine or (not previous.machine_id and known)",
            'return previous.machine_id in (mine, "")',
        ),
        by=(
            "test unit/test_agent_session.py::test_where_a_restored_store_knows_no_machine_the_nodes_own_memory_counts",
        ),
    ),
    # --- the lost store does not come back
    mutant(
        "lives-are-counted",
        "of two restores of the same backup the later one is not told from the first",
        "INV-1",
        (SYSTEM, "if floor_of(said) > known)", "if said is not None and said.times > known)"),
        (
            SYSTEM,
            "return floor_of(decode(path.read_bytes(), Restored, str(path)))",
            "return decode(path.read_bytes(), Restored, str(path)).times",
        ),
        by=(
            "test unit/test_agent_system_restored.py::test_a_member_of_an_earlier_restore_of_the_same_backup_is_removed",
        ),
    ),
    mutant(
        "old-member-comes-back",
        "a member of the lost store that was away starts again beside the restored one",
        "INV-1",
        (SYSTEM, "if newer is None:\n            return False", "if True:\n            return False"),
        by=("test unit/test_agent_system_restored.py::test_a_member_of_a_former_life_is_removed_before_it_starts",),
    ),
)
