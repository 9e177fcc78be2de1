"""Lines of logs: one per event, names that stay, no secrets, nothing that draws lines of its own."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from api_world import build, memory_store

from holdfast import config, logs
from holdfast.api.app import create_app
from holdfast.api.context import make_context
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError

PROGRAM = """
import logging, structlog
from holdfast import logs
logs.configure(form={form!r}, daemon="agent", host="n1")
log = structlog.get_logger("holdfast.agent")
log.info("placed", node="n2", number=3, password="hunter2", beat_key="hunter2", token="hunter2")
log.warning("evil", text="a\\nlevel=error event=forged \\x1b[31m")
logging.getLogger("library").warning("it said %s\\nand more", "this")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("bad")
"""


def lines(form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(form=form)], capture_output=True, text=True, timeout=60, check=True
    )
    assert not done.stdout and "hunter2" not in done.stderr and "\x1b" not in done.stderr
    return done.stderr.splitlines()


def test_each_event_is_one_json_line_with_names_that_stay() -> None:
    found = [json.loads(line) for line in lines("json")]
    assert [line["event"] for line in found] == ["placed", "evil", "it said this\\nand more", "bad"]
    for line in found:
        assert list(line)[:5] == logs.ORDER
        assert (line["daemon"], line["host"]) == ("agent", "n1")
    assert (found[0]["node"], found[0]["number"], found[0]["password"]) == ("n2", 3, logs.HIDDEN)
    assert "ZeroDivisionError" in found[3]["exception"]
    assert [line["level"] for line in found] == ["info", "warning", "warning", "error"]


def test_key_and_value_is_one_line_per_event_too() -> None:
    found = lines("logfmt")
    assert len(found) == 4
    assert all(line.startswith("timestamp=") for line in found)
    assert found[0].endswith("level=info event=placed daemon=agent host=n1 node=n2 number=3 "
                             "password=(hidden) beat_key=(hidden) token=(hidden)")  # fmt: skip


def test_the_guard_speaks_json_too(tmp_path: Path) -> None:
    program = (
        "from holdfast.fencing.guard.process import say, speak_json; say('one'); speak_json('n1'); say('t\\n\\'wo\\'')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    plain, line = done.stderr.splitlines()
    assert plain == "holdfast-guard: one"
    found = json.loads(line)
    assert list(found) == logs.ORDER and found["event"] == "t\n'wo'" and found["daemon"] == "guard"


def test_the_format_is_a_setting_of_the_node(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    node = config.NodeConfig("n1", "c", {"management": "10.0.0.1"}, ("https://10.0.0.1:2379",))
    file.write_text(config.dump(node))
    assert "log_format" not in file.read_text(), "an older version must be able to read it"
    file.write_text("log_format = 'json'\n" + file.read_text())
    read = config.load(file)
    assert read.log_format == "json"
    file.write_text(config.dump(read))
    assert config.load(file) == read
    file.write_text(file.read_text().replace('"json"', '"xml"'))
    with pytest.raises(ConfigError, match="no log_format 'xml'"):
        config.load(file)


@pytest.fixture
def said() -> Iterator[list[dict[str, Any]]]:
    """What is logged in this process meanwhile."""
    before, found = structlog.get_config(), list[dict[str, Any]]()

    def keep(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        found.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    yield found
    structlog.configure(**before)


async def test_a_request_has_a_name_in_its_answer_and_in_the_log(said: list[dict[str, Any]]) -> None:
    store = memory_store()
    await build(store)
    app = create_app(make_context("n1", store, SystemClock(), session="s"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://panel") as client:
        first = await client.post("/api/v1/login", json={"name": "x", "password": "y"})
        name = first.headers["x-request-id"]
        lines = [line for line in said if line["event"] == "request"]
        assert [(line["request"], line["path"], line["status"]) for line in lines] == [(name, "/api/v1/login", 403)]
        given = await client.get("/api/v1/status", headers={"x-request-id": "proxy-0815-4711"})
        assert given.headers["x-request-id"] == "proxy-0815-4711"
        for bad in ("short", "x" * 65, "with space in it", "a\tb-------"):
            answer = await client.get("/api/v1/status", headers={"x-request-id": bad})
            assert answer.headers["x-request-id"] != bad
        assert (await client.get("/healthz")).headers["x-request-id"] != name
