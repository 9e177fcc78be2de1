"""The exhaustive model of the safety protocol, checked with the numbers that the code computes (PYTHONPATH decides whose).

For each profile: a node whose clock is as slow and a manager whose clock is as fast as ρ allows must never meet P4 while the
node can still run something. Seconds are the ticks, so the profile's own F, G, W, j and T_wait are used; the drift is taken
off T_wait, as the bound says. Exit status 1 and the way to the violation if there is one.
"""

import sys
from math import floor

from spec.models import check
from spec.state import Config

from holdfast.core.timing import PROFILES


def main() -> int:
    for name, t in PROFILES.items():
        seconds = floor(t.T_wait * (1 - t.rho) / (1 + t.rho))
        config = Config(F=int(t.F), G=int(t.G), W=int(t.W), j=int(t.j), late_device=True, beats=False, T=seconds)
        result = check(config)
        if result.violation:
            print(f"profile {name}, T_wait {t.T_wait:.0f} s: {result.violation} after {len(result.trace) - 1} steps")
            return 1
        if not result.complete:
            print(f"profile {name}: not searched completely", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
