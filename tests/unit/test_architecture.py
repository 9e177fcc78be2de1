"""The rules of the house that a machine can check: direction of imports, one clock, files a reader can hold."""

import ast
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "holdfast"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.stem.endswith("_pb2"))

MAX_LINES = 400
LONG_FILES: dict[str, str] = {}
"""File → why it may be longer."""

CLOCK_READERS = {
    "time",
    "monotonic",
    "perf_counter",
    "clock_gettime",
    "process_time",
    "gmtime",
    "localtime",
    "strftime",
}
CLOCK_READERS |= {f"{name}_ns" for name in tuple(CLOCK_READERS)}
MAY_READ_CLOCKS = {
    "clock.py": "is the clock",
    "fencing/guard/process.py": "a process of its own without an event loop; its logic takes the time as an argument",
    "sim/": "plays the world: the virtual loop's time is the true time of what it simulates",
    "lab/": "plays the hardware and the world outside, which have clocks of their own; it decides nothing for the cluster",
}
"""Path or directory below src/holdfast → why it may read time without the Clock port."""


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def clock_reads(tree: ast.AST) -> Iterator[str]:
    """`line: expression` of everything that reads a clock by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner, attribute = node.value.id, node.attr
            if owner == "time" and attribute in CLOCK_READERS:
                yield f"{node.lineno}: time.{attribute}"
            if owner in ("datetime", "date", "dt") and attribute in ("now", "utcnow", "today"):
                yield f"{node.lineno}: {owner}.{attribute}"
        elif isinstance(node, ast.Attribute) and node.attr in ("utcnow", "today"):
            yield f"{node.lineno}: ….{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"{node.lineno}: time.{alias.name}" for alias in node.names if alias.name in CLOCK_READERS)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "time"
            and isinstance(node.func.value, ast.Call | ast.Name)
            and "loop" in ast.unparse(node.func.value)
        ):
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_imports_point_one_way() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout[result.stdout.find("Contracts") :] + result.stderr


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=name)
def test_core_is_pure(path: Path) -> None:
    """Standard library, NumPy, core and errors only; and of the standard library nothing that does I/O or keeps time."""
    impure = {
        "asyncio",
        "io",
        "os",
        "pathlib",
        "random",
        "secrets",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
    for imported in imports(ast.parse(path.read_text())):
        top = imported.partition(".")[0]
        if top == "holdfast":
            assert imported.startswith(("holdfast.core.", "holdfast.errors.")), f"{name(path)} imports {imported}"
        else:
            allowed = (sys.stdlib_module_names - impure) | {"numpy"}
            assert top in allowed, f"{name(path)} imports {imported}"
            assert not imported.startswith("numpy.random"), f"{name(path)} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_time_comes_from_the_clock_port(path: Path) -> None:
    if any(name(path) == allowed or name(path).startswith(allowed) for allowed in MAY_READ_CLOCKS):
        return
    assert not list(clock_reads(ast.parse(path.read_text()))), "take a Clock (holdfast.ports) instead"


def test_the_scan_for_clocks_sees_them() -> None:
    for line in (
        "time.monotonic()",
        "time.time_ns()",
        "from time import monotonic",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "asyncio.get_running_loop().time()",
        "loop.time()",
    ):
        assert list(clock_reads(ast.parse(line))), line
    assert not list(clock_reads(ast.parse("time.sleep(1); self.time(); clock.now()")))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_are_short_enough_to_read(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    if name(path) in LONG_FILES:
        assert lines > MAX_LINES, "take it off the list of exceptions"
    else:
        assert lines <= MAX_LINES, f"{lines} lines: split it by idea"


def test_the_lab_is_loaded_only_when_it_is_used() -> None:
    code = (
        "import sys, holdfast.cli; sys.exit(any(m.startswith(('holdfast.lab', 'holdfast.sim')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_solver_is_loaded_only_when_it_is_asked() -> None:
    """It takes two seconds and a hundred megabytes."""
    code = "import sys, holdfast.cli, holdfast.manager.__main__, holdfast.planning.cpsat; sys.exit('ortools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_exceptions_still_exist() -> None:
    for allowed in [*LONG_FILES, *MAY_READ_CLOCKS]:
        assert (PACKAGE / allowed).exists(), f"{allowed} is gone: take it off the list"


def test_every_test_belongs_to_a_stage() -> None:
    """A test file that no stage of scripts/test collects would never run."""
    stages = runpy.run_path(str(ROOT / "scripts" / "test"))["STAGES"]
    places = [ROOT / path for stage in stages for path in stage.paths]
    tests = list((ROOT / "tests").rglob("test_*.py"))
    assert not [str(test) for test in tests if not any(test.is_relative_to(place) for place in places)]
    assert len({test.name for test in tests}) == len(tests), "pytest wants unique base names"
