"""What packaging/monitoring brings: alert rules, their tests, the dashboard. Checked by Prometheus' own tool."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_world import memory_store
from prometheus_client.metrics_core import Metric

from holdfast.agent.metrics import AgentMetrics
from holdfast.agent.tally import Tally
from holdfast.api.metrics import families
from holdfast.api.records import Records
from holdfast.api.status import ClusterStatus
from holdfast.clock import SystemClock
from holdfast.core.alarm_model import AlarmKind
from holdfast.manager.metrics import families as manager_families
from holdfast.sim.run import simulation
from holdfast.sim.scenario import loads
from holdfast.store.measured import MeasuredStore

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "packaging" / "monitoring"
RULES, TESTS = MONITORING / "holdfast.rules.yml", MONITORING / "holdfast.test.yml"
DASHBOARD = MONITORING / "holdfast-dashboard.json"
PAGE = ROOT / "docs" / "monitoring.md"
NAME = re.compile(r"\b((?:holdfast|process)_[a-z0-9_]+|up)\b")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def all_families() -> Iterator[Metric]:
    """Of the panel, an agent and a manager; most of them without samples."""
    store = MeasuredStore(memory_store(), SystemClock())
    yield from families(ClusterStatus(), Records(), store)
    with simulation(loads("{nodes: {node1: {}, node2: {}, node3: {}}}"), seed=1) as sim:
        sim.advance(10)
        machine = sim.world.machines["node1"]
        agent = machine.agent
        assert agent is not None
        tell = AgentMetrics(machine.clock, agent.session, agent.guard_link, agent.executor, Tally(machine.clock), store)
        yield from tell.families()
        assert machine.manager is not None
        yield from manager_families(machine.manager)


@pytest.fixture(scope="module")
def known() -> dict[str, Metric]:
    return {family.name: family for family in all_families()}


@pytest.fixture(scope="module")
def names(known: dict[str, Metric]) -> set[str]:
    """Every name that can stand in a query."""
    return {"up", *PROCESS} | {
        f"{family.name}{suffix}" for family in known.values() for suffix in SUFFIXES.get(family.type, ("",))
    }


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_the_rules_are_good_and_do_what_their_tests_say() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", TESTS)


def test_each_rule_is_seen_quiet_and_seen_firing() -> None:
    firing: dict[str, set[bool]] = {}
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            firing.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert firing == {rule["alert"]: {True, False} for rule in rules()}


def test_the_rules_ask_for_figures_that_there_are(names: set[str]) -> None:
    asked = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert len(asked) > 20 and not asked - names


def test_the_rules_name_kinds_of_alarms_that_there_are() -> None:
    text = RULES.read_text()
    kinds = {kind for found in re.findall(r'kind=~"([^"]+)"', text) for kind in found.split("|")}
    assert kinds and kinds <= {kind.value for kind in AlarmKind}


def test_every_query_of_the_dashboard_can_be_read_and_finds_something(names: set[str], tmp_path: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    asked = list(queries(dashboard["panels"]))
    asked += [one["expr"] for one in dashboard["annotations"]["list"]]
    assert len(asked) > 30
    assert not {name for query in asked for name in NAME.findall(query)} - names
    filled = [query.replace("$__rate_interval", "1m").replace("$node", ".*").replace("$kind", ".*") for query in asked]
    assert not [query for query in filled if "$" in query], "a variable that nobody fills in"
    as_rules = [{"record": f"q:q{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": as_rules}]}))
    promtool("check", "rules", file)
    variables = {one["name"]: one.get("definition", "") for one in dashboard["templating"]["list"]}
    assert set(variables) == {"datasource", "node", "kind"}
    assert {name for text in variables.values() for name in NAME.findall(text)} <= names
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def queries(panels: Iterable[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            yield target["expr"]


def test_every_figure_rule_and_alarm_is_explained(known: dict[str, Metric]) -> None:
    page = PAGE.read_text()
    told = {f"{name}_total" if family.type == "counter" else name for name, family in known.items()}
    assert not {name for name in told if f"`{name}`" not in page}
    assert not {rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page}
    assert not {kind.value for kind in AlarmKind if f"`{kind}`" not in page}
    assert not set(re.findall(r"`(holdfast_[a-z_]+)`", page)) - told, "explained and not told any more"


def test_the_example_is_a_configuration_of_prometheus(tmp_path: Path) -> None:
    text = (MONITORING / "prometheus.yml").read_text()
    for name in ("holdfast.token", "holdfast-ca.crt"):
        (tmp_path / name).write_text("x")
        text = text.replace(f"/etc/prometheus/{name}", str(tmp_path / name))
    (tmp_path / "holdfast.rules.yml").write_text(RULES.read_text())
    (tmp_path / "prometheus.yml").write_text(text)
    promtool("check", "config", tmp_path / "prometheus.yml")
