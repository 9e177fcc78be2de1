"""Everything that somebody opened with what is not right any more is shut, or named."""

from collections.abc import AsyncIterator, Sequence

import pytest
from people_world import PASSWORD, Panel, panel

from holdfast.api.auth import Authenticator, NotLoggedIn
from holdfast.api.operations.users import MOST


@pytest.fixture
async def world() -> AsyncIterator[Panel]:
    async with panel() as made:
        yield made


async def refused(auth: Authenticator, sessions: Sequence[str]) -> None:
    for number, token in enumerate(sessions):
        with pytest.raises(NotLoggedIn):
            await auth.whose_session(token, address=f"198.51.100.{number}")


async def test_all_sessions_end_however_many_a_thief_has_made(world: Panel) -> None:
    """More than one transaction may remove."""
    auth = world.context.auth
    made = [await auth.renewed_session("vera", address="192.0.2.9", agent="") for _ in range(2 * MOST)]
    own = await world.token("vera")
    await world.call("", "DELETE", "/me/sessions", token=own)
    await refused(auth, made)
    assert (await world.call("", "GET", "/me", token=own)).status_code == 200
    more = [await auth.renewed_session("vera", address="192.0.2.9", agent="") for _ in range(2 * MOST)]
    await world.caught_up()
    ended = await world.call("ada", "DELETE", "/users/vera/sessions")
    assert ended.status_code == 200
    await refused(auth, [*more, own])
    await world.caught_up()
    assert not auth.people.sessions_of("vera"), "nor does the list show any"


async def test_who_changes_a_password_is_told_of_the_tokens_that_go_on(world: Panel) -> None:
    own = await world.token("vera")
    made = await world.call("", "POST", "/tokens", {"name": "ci", "scopes": ["read"]}, token=own)
    changed = await world.call(
        "", "PUT", "/users/vera/password", {"password": "quite another word", "old": PASSWORD}, token=own
    )
    [warning] = changed.json()["warnings"]
    assert "ci" in warning
    assert (await world.call("", "GET", "/me", token=made.json()["data"]["token"])).status_code == 200
