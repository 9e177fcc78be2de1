"""The planner's second step, solved: adapters from `core.make_room.Solver` to a real solver."""
