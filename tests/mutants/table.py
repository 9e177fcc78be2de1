"""All mutants."""

from mutants.mutant import Mutant
from mutants.table_copies import COPY_MUTANTS
from mutants.table_manager import MANAGER_MUTANTS
from mutants.table_node import NODE_MUTANTS
from mutants.table_planner import PLANNER_MUTANTS
from mutants.table_restore import RESTORE_MUTANTS

MUTANTS: tuple[Mutant, ...] = (
    *NODE_MUTANTS,
    *MANAGER_MUTANTS,
    *PLANNER_MUTANTS,
    *COPY_MUTANTS,
    *RESTORE_MUTANTS,
)
BY_ID = {mutant.id: mutant for mutant in MUTANTS}
assert len(BY_ID) == len(MUTANTS), "two mutants of one name"
