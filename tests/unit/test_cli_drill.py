"""`holdfast drill` as people see it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_world import Cluster, served

from holdfast.api.operations import tasks
from holdfast.api.operations.draft import Actor
from holdfast.core.drill import Drill, DrillCheck, DrillState, DrillStep, Grade
from holdfast.store import keys

ID = "20261123t150000-abcd"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys) as made:
        yield made


def drill(**changes: object) -> dict[str, object]:
    checks = (
        DrillCheck("fencing", "n2", Grade.FAILED, "bmc (redfish): it does not answer", "Check its cable."),
        DrillCheck("nodes", "n1", Grade.OK, "is up"),
    )
    steps = (DrillStep("begin", 0.0, "vm/a is on n1"), DrillStep("answers", 2.5, "it answers on n2"))
    made = Drill(ID, "2026-11-23T15:00:00Z", "root", "n1", DrillState.DONE, checks=checks, steps=steps, elapsed_s=9.0)
    return {keys.drill(ID): replace(made, **changes)}  # type: ignore[arg-type]


def test_a_drill_is_shown_with_the_worst_first_and_what_to_do(cluster: Cluster) -> None:
    cluster.put(drill())
    shown = cluster.run("drill", "show")
    assert shown.status == 0, shown.err
    assert shown.out.index("it does not answer") < shown.out.index("is up")
    assert "fencing n2: Check its cable." in shown.out
    assert "1 ok, 0 warning, 1 failed" in shown.out
    assert "2.50 s" in shown.out
    assert "failed" in cluster.run("drill", "list").out
    assert cluster.run("drill", "show", "--json").json["grade"] == "failed"


def test_one_whose_process_died_is_interrupted_and_one_that_is_over_is_not_cancelled(cluster: Cluster) -> None:
    cluster.put(drill(state=DrillState.RUNNING))
    assert cluster.run("drill", "list", "--json").json[0]["drill"]["state"] == "interrupted"
    assert "has ended" in cluster.run("drill", "show").out
    assert cluster.run("drill", "show", "no-such").status == 1


def test_a_drill_is_begun_and_what_cannot_be_is_refused(cluster: Cluster) -> None:
    begun = cluster.run("drill", "--node", "n1", "--no-wait", "--json").json["task"]
    shown = cluster.run("drill", "show", begun, "--json").json
    assert (shown["drill"]["nodes"], shown["drill"]["state"], shown["task"]["id"]) == (["n1"], "running", begun)
    again = cluster.run("drill")
    assert (again.status, "another drill" in again.err, begun in again.err) == (1, True, True)
    assert cluster.run("task", "cancel", "last").status == 0
    assert cluster.run("task", "show", begun, "--json").json["state"] == "cancelled"
    refused = cluster.run("task", "cancel", begun)
    assert (refused.status, "is over" in refused.err) == (1, True)
    refused = cluster.run("drill", "--kill")
    assert (refused.status, "--instance" in refused.err) == (1, True)
    unknown = cluster.run("drill", "--instance", "vm/none")
    assert (unknown.status, "does not exist" in unknown.err) == (1, True)


def test_what_was_found_until_it_was_cancelled_is_shown(cluster: Cluster) -> None:
    async def cancel_it() -> None:
        source, version = cluster.context.cache.source, -1
        while not (begun := tasks.ids(source, running=True)):
            version = await cluster.context.cache.wait_newer(version)
        await tasks.cancel(cluster.context.store, Actor("alice"), begun[0])

    cancelled = asyncio.run_coroutine_threadsafe(cancel_it(), cluster.loop)
    shown = cluster.run("drill", "--node", "n1")
    cancelled.result(60)
    assert (shown.status, "cancelled: alice: the drill ends" in shown.err) == (1, True)
    assert "Drill 0" in shown.out
