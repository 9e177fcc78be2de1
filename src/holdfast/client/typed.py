"""The API with typed methods and answers. The methods stand in calls_*.py, named as the operations in docs/api.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.api.answers import LoggedIn
from holdfast.api.history import EventLine
from holdfast.api.status import ClusterStatus
from holdfast.api.task_model import TaskState, TaskView
from holdfast.client.calls_accounts import AccountsCalls
from holdfast.client.calls_cluster import ClusterCalls
from holdfast.client.calls_gateways import GatewaysCalls
from holdfast.client.calls_running import RunningCalls
from holdfast.client.calls_volumes import VolumesCalls
from holdfast.client.transport import PATIENCE_S, Api
from holdfast.errors import HoldfastError


class TaskEnded(HoldfastError):
    """A task that was waited for has ended otherwise than done."""


class Client(AccountsCalls, ClusterCalls, RunningCalls, VolumesCalls, GatewaysCalls):
    """A cluster. Calls are repeated over a fail-over of its management for `patience_s`; changes are done once all the
    same (`Api`)."""

    def __init__(
        self,
        url: str | Sequence[str] = "",
        *,
        ca: str = "",
        token: str = "",
        socket_path: Path | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`url`: one or several addresses like https://10.77.0.100:8443; or `socket_path` on a node. `ca`: file of the
        cluster's authority. `token`: an API token. Raises ConfigError."""
        super().__init__(Api(url=url, ca=ca, token=token, socket_path=socket_path, patience_s=patience_s))
        self._where = (url, ca, socket_path, patience_s)

    def login(self, name: str, password: str) -> None:
        """As a person, instead of with an API token."""
        answer = self.ask(LoggedIn, "POST", "/login", body={"name": name, "password": password})
        url, ca, socket_path, patience_s = self._where
        self.api = Api(url=url, ca=ca, token=answer.token, socket_path=socket_path, patience_s=patience_s)

    def updates(self, since: str = "") -> Iterator[ClusterStatus | EventLine]:
        """The picture at once and after each change, and each line of history as it is written. For ever: over a fail-over
        it goes on where it stopped, so no line is left out."""
        for event in self.api.events(since):
            if event.name == "status":
                yield msgspec.json.decode(event.data, type=ClusterStatus)
            elif event.name == "event":
                yield msgspec.json.decode(event.data, type=EventLine)

    def wait(self, task: str, *, timeout_s: float = 300.0) -> TaskView:
        """Until the task of an Outcome is done; at once where there is none. Raises TaskEnded when it ends otherwise, or
        goes on after `timeout_s`."""
        found = TaskView(task, "", "", "", "", TaskState.DONE, 1.0)
        for pause in self.api.pauses(timeout_s if task else 0.0):
            if not task:
                break
            found = self.get_task(task)
            if found.state.over:
                break
            pause()
        if found.state is not TaskState.DONE:
            raise TaskEnded(f"the task {task} is {found.state}: {found.text}", found.detail)
        return found
