"""Clients that do something wrong, and a shared storage that is full."""

from pathlib import Path

import pytest
from cluster_talk import PYTHON
from gateways_talk import Gateways
from s3_talk import DOMAIN, KEYS_FILE, NAME, S3

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

ASK = str(Path(__file__).parents[1] / "s3_ask.py")
WRONG_KEYS, UNKNOWN_KEYS = "/root/s3-wrong", "/root/s3-unknown"
FILLER = "/shared/filler"
TOO_LATE_S = 20 * 60


@pytest.fixture
def keys(s3: S3) -> tuple[str, str]:
    access, secret = s3.cluster.lab.exec("client", ["cat", KEYS_FILE], check=True).stdout.split()
    return access, secret


def ask(s3: S3, method: str, path: str, *, keys: str = KEYS_FILE, body: str = "", skew_s: float = 0) -> str:
    argv = [PYTHON, ASK, method, f"http://{DOMAIN}/{path}", keys, str(skew_s)]
    done = s3.cluster.lab.exec("client", argv, stdin=body)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_clients_that_are_not_who_they_say_or_that_live_in_another_time(s3: S3, keys: tuple[str, str]) -> None:
    access, secret = keys
    s3.write_keys(WRONG_KEYS, access, secret[::-1])
    s3.write_keys(UNKNOWN_KEYS, access[::-1], secret)
    assert ask(s3, "PUT", "input").startswith("200")
    assert ask(s3, "PUT", "input/object", body="right").startswith("200")
    assert ask(s3, "PUT", "input/object", keys=WRONG_KEYS, body="wrong") == "403 SignatureDoesNotMatch"
    assert ask(s3, "PUT", "input/object", keys=UNKNOWN_KEYS, body="wrong") == "403 InvalidAccessKeyId"
    for skew_s in (TOO_LATE_S, -TOO_LATE_S):
        assert ask(s3, "PUT", "input/object", body="wrong", skew_s=skew_s) == "403 RequestTimeTooSkewed"
    assert ask(s3, "PUT", "input/object", body="right", skew_s=-60).startswith("200"), "a minute is forgiven"
    assert ask(s3, "GET", "input/object") == "200 right"


def test_a_full_shared_storage_refuses_writes_and_loses_nothing(s3: S3, keys: tuple[str, str]) -> None:
    node = "n1"
    assert ask(s3, "PUT", "full").startswith("200")
    assert ask(s3, "PUT", "full/old", body="before").startswith("200")
    fill = f"fallocate -l $(df --output=avail -B1 /shared | tail -n1) {FILLER}; cat /dev/zero >> {FILLER}"
    s3.cluster.lab.exec(node, ["sh", "-c", fill])
    try:
        for name in ("old", "new"):
            status = ask(s3, "PUT", f"full/{name}", body="after")
            print(f"on a full storage: {status}")
            assert status.split()[0] in ("503", "507"), status
        assert ask(s3, "GET", "full/old") == "200 before"
        assert ask(s3, "GET", "full/new") == "404 NoSuchKey"
    finally:
        s3.cluster.lab.exec(node, ["rm", FILLER], check=True)
    s3.cluster.until(lambda: ask(s3, "PUT", "full/new", body="after").startswith("200"), "it takes writes again")
    s3.wait_all()
    assert ask(s3, "GET", "full/new") == "200 after"


def test_what_clients_and_operators_ask_for_that_cannot_be(s3: S3, gateways: Gateways) -> None:
    assert "S3 cluster `other` does not exist" in gateways.refused("s3", "show", "other")
    assert "exists already" in gateways.refused("s3", "create-cluster", NAME, "--nodes", "n2", "--domain", "other.test")
    assert "domain" in gateways.refused("s3", "create-cluster", "other", "--nodes", "n2", "--domain", "not a name")
    assert s3.resolved("nobody.else.test") == []
    assert ask(s3, "GET", "no-such-bucket/object") == "404 NoSuchBucket"
