"""Names on the shared storage that both the agent and Swift's processes know; see `devices.py`."""

DEVICES = "dev"
MARKER = ".holdfast-part"
WORK = "work"
MOVING = "moving"
PROBE_PATH = "/holdfast-probe"
"""Asked of a name or object server: is its storage there and writable?"""
