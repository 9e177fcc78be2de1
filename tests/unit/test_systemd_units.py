"""What the units promise to the safety protocol."""

import configparser
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "packaging" / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / f"holdfast-{name}.service").read_text())
    return parser


def test_the_agent_leaves_before_the_host_is_suspended() -> None:
    """A unit that conflicts with a target is stopped before the target is reached (systemd.unit(5))."""
    assert "sleep.target" in unit("agent")["Unit"]["Conflicts"].split()
    assert "sleep.target" in unit("agent")["Unit"]["Before"].split()


def test_the_guard_outlives_the_agent() -> None:
    """At a shutdown the agent declares itself idle before the guard is asked to end. What runs is no part of the agent."""
    assert "holdfast-agent.service" in unit("guard")["Unit"]["Before"].split()
    assert unit("agent")["Service"]["KillMode"] == "process"
    assert unit("guard")["Service"]["Restart"] == unit("agent")["Service"]["Restart"] == "always"
