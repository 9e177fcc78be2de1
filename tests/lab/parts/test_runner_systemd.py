"""Units as transient services, under a systemd that is process 1: the Runner's contract, and what is systemd's alone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_systemd import OwnSystemd, own_systemd, possible

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSystemd]:
    if not possible():
        pytest.skip("needs root and systemd")
    with own_systemd(tmp_path_factory.mktemp("systemd") / "log") as made:
        yield made


@pytest.mark.parametrize("file", ["contract/test_runner.py", "lab/parts/systemd_only.py"])
def test_under_systemd(systemd: OwnSystemd, file: str) -> None:
    """What the file holds, run inside."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(TESTS / file)]
    done = systemd.run(argv, 200, HOLDFAST_TEST_SYSTEMD="1", PYTHONDONTWRITEBYTECODE="1")
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
