"""What units inherit from the agent's service where the agent starts them, they have of their own where systemd does."""

from pathlib import Path

from holdfast.agent.runner_systemd import AS_THE_AGENT

AGENT = Path(__file__).parents[2] / "packaging/systemd/holdfast-agent.service"
INHERITED = (
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "LockPersonality",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallErrorNumber",
)


def settings(lines: list[str]) -> dict[str, set[str]]:
    """Name → all words; of several lines of one name those of all."""
    found: dict[str, set[str]] = {}
    for name, _, value in (line.partition("=") for line in lines):
        if name in INHERITED:
            found.setdefault(name, set()).update(value.removeprefix("~").split())
    return found


def test_services_of_systemd_may_do_no_more_than_children_of_the_agent() -> None:
    wanted = settings(AGENT.read_text().splitlines())
    assert set(wanted) == set(INHERITED)
    assert settings(list(AS_THE_AGENT)) == wanted
