"""What a part of an S3 cluster may still do after it has given up what makes root special. Needs root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SCRIPT = """
import os, pathlib, sys
from holdfast.services.s3.inside import privileges
uid, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
privileges.drop(uid, uid)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["Uid"].split()[1], int(status["CapEff"], 16), int(status["CapPrm"], 16), status["NoNewPrivs"].strip())
try:
    (directory / "device").mkdir()
    print("made")
except PermissionError:
    print("refused")
"""


@pytest.mark.parametrize("uid", [0, 64123])
def test_a_server_can_make_nothing_where_devices_are(uid: int, tmp_path: Path) -> None:
    """Else a request that is under way would make an empty directory where a device has just been taken away."""
    directory = tmp_path / "dev"
    directory.mkdir()
    directory.chmod(0o555)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(uid), directory], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.splitlines() == [f"{uid} 0 0 1", "refused"]
