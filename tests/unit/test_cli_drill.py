"""`holdfast drill` as people see it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_world import Cluster, served

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
    cluster.put(drill())
    refused = cluster.run("drill", "cancel")
    assert (refused.status, "over already" in refused.err) == (1, True)
    assert cluster.run("drill", "show", "no-such").status == 1


def test_a_drill_is_begun_and_what_cannot_be_is_refused(cluster: Cluster) -> None:
    begun = cluster.run("drill", "--node", "n1", "--no-wait", "--json")
    assert begun.json["drill"]["nodes"] == ["n1"]
    assert begun.json["drill"]["state"] == "running"
    again = cluster.run("drill")
    assert (again.status, "another drill" in again.err) == (1, True)
    assert cluster.run("drill", "cancel").status == 0
    refused = cluster.run("drill", "--kill")
    assert (refused.status, "--instance" in refused.err) == (1, True)
    unknown = cluster.run("drill", "--instance", "vm/none")
    assert (unknown.status, "does not exist" in unknown.err) == (1, True)
