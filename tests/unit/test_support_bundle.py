"""Support bundles: no secret is in one, wherever it was planted; and one is made even where nothing works."""

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import NodeConfig, dump
from holdfast.errors import HoldfastError
from holdfast.support import archive, collect
from holdfast.support.archive import Item
from holdfast.support.redact import GONE, Redactor

BEAT_KEY = bytes(range(100, 132))
"""32 bytes that are no text, as the real ones."""
PLANTED = {
    "fence password": "Fence-Passw0rd-77",
    "chap": "chap-Secret-88",
    "s3": "wJalrXUtnFEMI-K7MDENG-99",
    "bearer": "tok_5f1c0ffee5f1c0ffee",
    "join": "hfj_0123456789abcdefABCDEF",
    "hash": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g",
    "locked": "gAAAAABk" + "Zm9vYmFyYmF6" * 8,
    "url": "UrlPassw0rd-66",
}
KEY_LINE = "MC4CAQAwBQYDK2VwBCIEIPlantedPlantedPlantedPlantedPlantedPlanted"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY_LINE}\n-----END PRIVATE KEY-----\n"
LINES = [
    f'level=info msg="power off" password={PLANTED["fence password"]} device=bmc',
    f'{{"event": "chap set", "chap_secret": "{PLANTED["chap"]}", "ok": true}}',
    f"AWS secret_key: {PLANTED['s3']}, region x",
    f"Authorization: Bearer {PLANTED['bearer']}",
    f"join with {PLANTED['join']} now",
    f"user admin has {PLANTED['hash']}",
    f"stored {PLANTED['locked']}",
    f"GET https://admin:{PLANTED['url']}@10.79.0.1/redfish",
    f"fence_ipmilan --password {PLANTED['fence password']} --ip 10.79.0.9",
    f"beat key is {BEAT_KEY.hex()} or {base64.b64encode(BEAT_KEY).decode()}",
    PEM,
]


def planted_node(tmp_path: Path) -> NodeConfig:
    """A node whose files are full of secrets."""
    state, logs = tmp_path / "var/lib/holdfast", tmp_path / "var/log/holdfast"
    pki = tmp_path / "etc/holdfast/pki"
    units = tmp_path / "etc/systemd/system"
    for place in (state, logs, pki, units):
        place.mkdir(parents=True)
    config = NodeConfig(
        "n1", "demo", {"management": "127.0.0.1"}, ("https://127.0.0.1:1",), state_dir=str(state), log_dir=str(logs),
        cgroup=str(tmp_path / "cgroup"),
    )  # fmt: skip
    (tmp_path / "etc/holdfast/node.toml").write_text(dump(config))
    (pki / "beat.key").write_bytes(BEAT_KEY)
    (pki / "node.key").write_text(PEM)
    (units / "holdfast-agent.service").write_text(f"[Service]\nEnvironment=PASSWORD={PLANTED['fence password']}\n")
    for name in ("cluster.json", "management.json", "etcd.json", "endpoints.json"):
        (state / name).write_text(json.dumps({"name": "demo", "note": LINES}))
    for name in ("panel.log", "manager.log.1", "vm-web.console"):
        (logs / name).write_text("\n".join(LINES))
    return config


def planted_api(path: str) -> Any:
    if path == "/nodes":
        return [{"id": "n1", "fence_devices": [{"name": "bmc"}]}]
    if path.startswith("POST"):
        return [{"name": "bmc", "text": LINES[0]}]
    if path == "/tasks?limit=100":
        raise HoldfastError("there is nothing there", "")
    config = {"password": PLANTED["fence password"], "nested": [{"secret_key": PLANTED["s3"]}], "size": 5}
    return {"path": path, "config": config, "lines": LINES}


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        files = {info.name.partition("/")[2]: tar.extractfile(info) for info in tar}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_no_planted_secret_is_in_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TOKEN", PLANTED["bearer"])
    config = planted_node(tmp_path)
    said: list[str] = []
    made = archive.write(
        tmp_path / "b.tar.gz",
        collect.everything(config, tmp_path, planted_api, logs=True),
        Redactor(collect.secrets_of(config, tmp_path)),
        said.append,
        {"node": "n1"},
    )
    found = unpacked(made.path)
    everything = "\n".join(found.values())
    for what, secret in PLANTED.items():
        assert secret not in everything, what
    for form in (BEAT_KEY.hex(), base64.b64encode(BEAT_KEY).decode().rstrip("="), KEY_LINE):
        assert form not in everything
    # What helps is still there.
    assert "power off" in found["logs/panel.log"]
    assert "device=bmc" in found["logs/panel.log"]
    assert json.loads(found["cluster/status.json"])["config"] == {
        "password": GONE,
        "nested": [{"secret_key": GONE}],
        "size": 5,
    }
    assert {"logs/manager.log.1", "logs/vm-web.console", "configuration/node.toml", "fencing/devices.json"} <= set(
        found
    )
    assert "cluster/tasks.json" in json.loads(found["contents.json"])["missing"]
    assert "127.0.0.1:1" in found["store/members.json"]  # the store is away: that is said, and nothing else is lost
    assert set(said) == {item["name"] for item in json.loads(found["contents.json"])["items"]} | set(made.missing)
    assert made.path.stat().st_mode & 0o777 == 0o600


def test_a_bundle_is_bounded(tmp_path: Path) -> None:
    items = [Item(f"{k}.txt", lambda k=k: f"{k}" * 5000) for k in range(5)]  # type: ignore[misc]
    made = archive.write(
        tmp_path / "b.tar.gz", items, Redactor(), lambda _name: None, {}, item_bytes=1000, total_bytes=2500
    )
    assert made.items == 2
    assert set(made.missing) == {"2.txt", "3.txt", "4.txt"}
    assert unpacked(made.path)["0.txt"].endswith("0" * 1000)


def test_a_machine_without_a_cluster_still_tells_what_it_is(tmp_path: Path) -> None:
    items = collect.everything(None, tmp_path, None, logs=True)
    made = archive.write(tmp_path / "b.tar.gz", items, Redactor(), lambda _name: None, {})
    assert "versions.json" in unpacked(made.path)


@pytest.mark.parametrize(
    "text",
    ["keys: 5", "passing=1", "size=5 name=vol1", "10.77.0.11:2379", "password-file=/root/x", "tokens left: none"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text or "tokens" in text


def test_the_end_of_a_key_that_was_cut_off_is_no_less_secret() -> None:
    assert KEY_LINE not in Redactor().text(PEM.partition("\n")[2])
