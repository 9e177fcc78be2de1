"""Bringing a cluster up in a fresh lab, with the commands an operator would type."""

from holdfast.lab.client import LabClient, Progress
from holdfast.lab.options import LabOptions


def bring_up(lab: LabClient, options: LabOptions, tell: Progress) -> None:
    raise NotImplementedError
