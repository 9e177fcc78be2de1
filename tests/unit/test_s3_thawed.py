"""A gateway that stood still does not do what waited for it."""

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.services.s3.inside.thawed import LOOK_S, PAUSE_S, REFUSE_S, Thawed


class World:
    """A clock, and an application that counts what it did."""

    def __init__(self) -> None:
        self.now = 100.0
        self.done = 0
        self.filter = Thawed(self._app, lambda: self.now, watch=False)

    def _app(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.done += 1
        start_response("200 OK", [])
        return [b""]

    def request(self) -> str:
        said: list[str] = []
        env = {
            "REQUEST_METHOD": "PUT",
            "PATH_INFO": "/",
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }
        list(self.filter(env, lambda status, *_: said.append(status)))
        return said[0][:3]

    def run_for(self, seconds: float) -> None:
        """Its thread looks at the clock meanwhile."""
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK_S
            self.filter.look()


def test_a_gateway_that_runs_answers() -> None:
    world = World()
    world.run_for(10)
    assert world.request() == "200"
    world.now += PAUSE_S / 2
    assert world.request() == "200"


def test_after_a_pause_nothing_is_done_for_a_while_whoever_notices_it_first() -> None:
    for thread_first in (True, False):
        world = World()
        world.now += PAUSE_S + 0.1
        if thread_first:
            world.filter.look()
        assert world.request() == "503"
        world.run_for(REFUSE_S / 2)
        assert (world.request(), world.done) == ("503", 0)
        world.run_for(REFUSE_S)
        assert (world.request(), world.done) == ("200", 1)
