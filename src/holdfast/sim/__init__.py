"""The simulator: the real agent, manager and guard under virtual clocks, on simulated hardware, network and store."""
