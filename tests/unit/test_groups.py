"""Names of units as names of control groups and services (groups.py): every one comes back, no two share one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.groups import Groups, escape, service_name, unescape, unit_of

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_-\\.")


@given(NAMES)
def test_every_name_comes_back(name: str) -> None:
    assert unescape(escape(name)) == name
    service = service_name(name)
    assert unit_of(service) == name
    assert set(service) <= ALLOWED  # systemd.unit(5)


@given(NAMES, NAMES)
def test_no_two_share_one(one: str, other: str) -> None:
    assert (service_name(one) == service_name(other)) == (one == other)
    assert (escape(one) == escape(other)) == (one == other)


@pytest.mark.parametrize("systemd", [False, True])
def test_whoever_looks_or_kills_sees_both_places(systemd: bool) -> None:
    """A node that was changed over still has what the agent had started in groups of its own."""
    groups = Groups(Path("/cg/holdfast"), systemd, Path("/cg/holdfast.slice"))
    for strict in (True, False):
        place = groups.unit("vm/web-1", strict=strict)
        assert place in groups.anywhere("vm/web-1")
        assert place.parent in groups.all(strict=strict)
        assert groups.name_of(place) == "vm/web-1"
    assert Path("/cg/holdfast/strict") in groups.all(strict=True)
    assert Path("/cg/holdfast/strict/vm%2Fweb-1") in groups.anywhere("vm/web-1")
    # Names of machines are part of shell scripts there (services/vm/files.py): they must stand as they are.
    assert "web-1" in groups.unit("vm/web-1", strict=True).name
    assert groups.name_of(Path("/cg/holdfast.slice/holdfast-strict.slice/other.service")) is None
