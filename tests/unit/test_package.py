"""The Debian package, built and unpacked (not installed: `make test-install` does that on machines of its own)."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
LIB = "usr/lib/holdfast"
SITE = f"{LIB}/lib/python3.11/site-packages"
UNITS = "lib/systemd/system"
EXPOSURE = {"holdfast-guard.service": 2.0, "holdfast-agent.service": 7.9}
"""The most that `systemd-analyze security` may say. Why the agent's cannot be less stands in its unit."""
DEBIAN_12 = Path("/usr/bin/python3.11").exists()

pytestmark = pytest.mark.timeout(600)  # the fixture builds it


def run(*argv: str | Path, **options: Any) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=500, **options)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DEBIAN_12:
        pytest.skip("the package is for Debian 12, whose Python this machine does not have")
    out = tmp_path_factory.mktemp("package")
    return Path(run(PACKAGING / "build-deb", "--out", out).strip())


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    run("dpkg-deb", "--raw-extract", package, root)
    (root / "usr/bin/python3.11").symlink_to("/usr/bin/python3.11")  # Debian's own, which it depends on
    return root


def test_files_belong_to_root_and_only_root_changes_them(package: Path) -> None:
    for line in run("dpkg-deb", "--contents", package).splitlines():
        mode, owner, *_, name = line.split(maxsplit=5)
        assert owner == "root/root", line
        assert mode.startswith("l") or (mode[5] == mode[8] == "-" and "s" not in mode and "t" not in mode), line
        assert not re.search(r"/(tests|__pycache__/test_[^/]*)/|\.(c|h|pyx)$", name), f"nobody needs {name}"


def test_what_it_says_of_itself(package: Path, tree: Path) -> None:
    fields = run("dpkg-deb", "--field", package)
    assert re.search(r"(?m)^Version: 0\.\d+\.\d+\+\d+\.g[0-9a-f]{8}", fields)
    assert {"etcd-server", "python3"} <= {
        word.strip().split()[0] for word in re.split(r"[,\n:]", fields) if word.strip()
    }
    assert (tree / "DEBIAN/conffiles").read_text().split() == ["/etc/logrotate.d/holdfast"]
    assert package.stat().st_size < 130 << 20, "something large has come in"
    for name in ("copyright", "install.md", "operating.md", "safety.md"):
        assert (tree / "usr/share/doc/holdfast" / name).exists(), name
    for completion in ("bash-completion/completions/holdfast", "zsh/vendor-completions/_holdfast"):
        assert "_HOLDFAST_COMPLETE" in (tree / "usr/share" / completion).read_text(), completion
    assert list((tree / "usr/share/man/man1").iterdir())
    assert list((tree / "usr/share/holdfast/monitoring").iterdir())


def test_it_was_built_nowhere(tree: Path) -> None:
    """No file names the directory of the checkout: with RECORD and the like it would differ on each machine."""
    for file in [*(tree / LIB / "bin").iterdir(), *(tree / SITE).glob("*.dist-info/*")]:
        if file.is_file() and not file.is_symlink():
            assert str(ROOT).encode() not in file.read_bytes(), file


def test_its_programs_run_with_debians_python_and_what_it_brings(package: Path, tree: Path) -> None:
    python = tree / LIB / "bin/python3"
    python.unlink()
    python.symlink_to("/usr/bin/python3.11")
    version = run("dpkg-deb", "--field", package, "Version").strip()
    assert run(python, "-I", tree / LIB / "bin/holdfast", "--version") == f"holdfast {version}\n"
    for program in ("agent", "guard", "manager", "panel"):
        assert "usage" in run(python, "-I", tree / LIB / f"bin/holdfast-{program}", "--help")
    heavy = "holdfast.api.server, holdfast.manager.__main__, holdfast.agent.__main__, holdfast.nameserver.__main__"
    code = (
        f"import sys, {heavy}, holdfast.services.s3.inside.program, holdfast.services.backup_gateway.gateway\n"
        "from holdfast.planning.cpsat import CpSatSolver\n"
        "import ortools.sat.python.cp_model, boto3\n"
        "boto3.client('s3', 'eu-north-1', aws_access_key_id='a', aws_secret_access_key='b')\n"
        "print(holdfast.__file__)"
    )
    said = run(python, "-I", "-c", code).strip()
    assert said == str(tree / SITE / "holdfast/__init__.py")


def test_installing_and_upgrading_start_and_stop_nothing(tree: Path) -> None:
    for script in ("postinst", "prerm", "postrm"):
        path = tree / "DEBIAN" / script
        run("sh", "-n", path)
        assert path.read_text().startswith("#!/bin/sh\n"), script
        invoked = re.findall(r"deb-systemd-invoke (\S+)", path.read_text())
        assert invoked == (["stop"] if script == "prerm" else []), f"{script}: {invoked}"
    prerm = (tree / "DEBIAN/prerm").read_text()
    assert re.search(r'if \[ "\$1" = remove \] .*; then\n\s+deb-systemd-invoke stop', prerm), "only a removal stops"


@pytest.mark.parametrize("unit", sorted(EXPOSURE))
def test_units_are_sound_and_no_more_exposed_than_they_must_be(tree: Path, unit: str) -> None:
    assert (tree / UNITS / unit).exists()
    (tree / "usr/lib/systemd/system").mkdir(parents=True, exist_ok=True)
    text = (tree / UNITS / unit).read_text().replace("/usr/lib/holdfast", str(tree / LIB))
    copy = tree / unit
    copy.write_text(text)
    run("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", copy)
    said = run("systemd-analyze", "security", "--offline=true", "--json=short", copy)
    assert json.loads(said)
    exposure = re.search(
        r"exposure level for \S+: ([\d.]+)", run("systemd-analyze", "security", "--offline=true", copy)
    )
    assert exposure and float(exposure[1]) <= EXPOSURE[unit]


def test_debians_own_daemons_stay_off(tree: Path) -> None:
    for unit in ("etcd", "nfs-ganesha", "nfs-ganesha-lock", "tgt"):
        text = (tree / UNITS / f"{unit}.service.d/holdfast.conf").read_text()
        assert f"ConditionPathExists=!/{LIB}/bin/holdfast-agent" in text


def test_the_runtime_lock_is_closed_and_without_developers_tools() -> None:
    lock = run(sys.executable, PACKAGING / "runtime_lock.py", ROOT / "requirements.lock")
    names = set(re.findall(r"(?m)^([a-z0-9-]+)==", lock))
    assert {"fastapi", "starlette", "numpy", "swift", "grpcio"} <= names
    assert not names & {"pytest", "mypy", "playwright", "hypothesis", "ruff"}
    assert lock.count("--hash=") > len(names)
