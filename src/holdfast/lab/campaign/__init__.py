"""The fault campaign: random faults against a lab's cluster while clients write, and every acknowledged write read back.

`alphabet` is the table of faults, `plan` draws a sequence of them from a seed, `cast` finds the victims when their turn
comes, `run` does it, `report` tells it.
"""
