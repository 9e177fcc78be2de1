"""The demonstration: a real cluster in the lab, clients that never stop asking, and a node that dies.

`play` runs it; `clients`, `stage` and `story` are used by bench/failover.py as well.
"""
