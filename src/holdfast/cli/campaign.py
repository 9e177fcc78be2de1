"""What `holdfast lab campaign` does: a lab, a campaign in it, and nothing left of it afterwards."""

import signal
import sys
from dataclasses import replace

from holdfast.cli import output
from holdfast.lab.campaign import plan, report
from holdfast.lab.campaign.disks import DISKS
from holdfast.lab.campaign.record import Outcome
from holdfast.lab.campaign.run import Campaign, offsets
from holdfast.lab.client import LabClient
from holdfast.lab.options import LabOptions


def run(
    lab: LabClient, options: LabOptions, faults: int, seed: int, volumes: int, only: list[str], *, as_json: bool
) -> int:
    """The exit status: 0 it passed, 1 it failed, 130 it was ended (by Ctrl-C or SIGTERM) before anything was found. A lab
    that is up is used and left up; else one is made for the campaign and taken down."""
    steps = plan.draw(seed, volumes + DISKS, only)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: everything is taken down
    tell = report.Lines(as_json, faults)
    own = not lab.running()
    try:
        if own:
            lab.up(replace(options, clock_offsets=offsets(seed, options.nodes)), tell.step)
        outcome = Campaign(lab, seed, tell).perform(steps, faults, volumes)
    finally:
        tell.close()
        if own:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing may be left behind
            lab.down()
    return _tell(outcome, as_json=as_json)


def _tell(outcome: Outcome, *, as_json: bool) -> int:
    if as_json:
        output.emit_json(outcome.to_json())
    else:
        report.show(outcome)
    sys.stdout.flush()
    if outcome.interrupted and not outcome.found:
        return 130
    return 0 if outcome.ok else 1
