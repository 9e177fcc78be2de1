"""The node's configuration file: every typo gets an error that names the file, the key and the right spelling."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config import NodeConfig, Tls, dump, load
from holdfast.errors import ConfigError

GOOD = """
id = "n1"
cluster = "demo"
addresses = {management = "10.77.0.11", public = "10.78.0.11"}
endpoints = ["https://10.77.0.11:2379", "https://[fd77::12]:2379"]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert config.management_address == "10.77.0.11"
    assert config.endpoints == ("https://10.77.0.11:2379", "https://[fd77::12]:2379")
    assert config.tls == Tls() and config.watchdog == "/dev/watchdog"
    assert str(config.guard_socket) == "/run/holdfast/guard.sock" and str(config.api_socket) == "/run/holdfast/api.sock"


def test_tables_and_comments(tmp_path: Path) -> None:
    text = GOOD.replace("addresses", "# by hand\nwatchdog = ''\naddresses") + '[tls]\nca = "/ca"\n'
    config = load(written(tmp_path, text))
    assert config.tls == Tls(ca="/ca") and config.watchdog == ""


@pytest.mark.parametrize(
    ("before", "after", "message", "advice"),
    [
        ("cluster", "clutser", "unknown key `clutser`", "Did you mean `cluster`?"),
        ("cluster", "zzzz", "unknown key `zzzz`", "Known keys: id, cluster"),
        ('id = "n1"', "id = 1", "`id` must be text, not 1", "in quotes"),
        ('cluster = "demo"', "", "missing cluster", "Add"),
        ('endpoints = ["', 'endpoints = [7, "', "`endpoints` must be a list of texts", '["…", "…"]'),
        ('addresses = {management = "10.77.0.11",', "addresses = {management = 7,", "a table of texts", '{key = "…"}'),
        ("management =", "managment =", "addresses has no entry `management`", "management address"),
        ('"10.78.0.11"', '"10.78.0.1l"', "addresses.public = '10.78.0.1l' is not an IP address", "alone"),
        ('"10.78.0.11"', '"10.78.0.11/24"', "is not an IP address", "without prefix length"),
        ("https://10.77", "http://10.77", "is not of the form https://ADDRESS:PORT", "https://10.77.0.11:2379"),
        ("0.11:2379", "0.11", "is not of the form https://ADDRESS:PORT", "https://10.77.0.11:2379"),
        ("[fd77::12]", "fd77::12", "is not of the form https://ADDRESS:PORT", "[fd77::11]"),
        ('["https://10.77.0.11:2379", "https://[fd77::12]:2379"]', "[]", "endpoints is empty", "at least one"),
        ('cluster = "demo"', 'cluster = "demo"\nrun_dir = "run"', "`run_dir` is not an absolute path", "slash"),
        ('cluster = "demo"', 'cluster = "demo', "is not valid TOML", "Mend the line"),
        ('id = "n1"', 'id = "n1"\nid = "n2"', "is not valid TOML", "Mend the line"),
        ('cluster = "demo"', 'cluster = "demo"\ntls = 5', "[tls]: a table was expected", "docs/operating.md"),
        (
            'cluster = "demo"',
            'cluster = "demo"\ntls = {crt = "/x"}',
            "[tls]: unknown key `crt`",
            "Did you mean `cert`?",
        ),
    ],
)
def test_typos(tmp_path: Path, before: str, after: str, message: str, advice: str) -> None:
    assert before in GOOD
    path = written(tmp_path, GOOD.replace(before, after, 1))
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert str(path) in raised.value.message and message in raised.value.message
    assert advice in raised.value.advice


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as raised:
        load(tmp_path / "absent.toml")
    assert "holdfast cluster create" in raised.value.advice and "holdfast node join" in raised.value.advice
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "latin").write_bytes(b'id = "\xe4"')
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "latin")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
paths = texts.map(lambda text: "/" + text)
addresses = st.ip_addresses().map(str)
endpoints = st.builds(
    lambda address, port: f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}",
    addresses,
    st.integers(1, 65535),
)
configs = st.builds(
    NodeConfig,
    id=texts,
    cluster=texts,
    addresses=st.builds(
        lambda more, own: {**more, "management": own}, st.dictionaries(texts, addresses, max_size=3), addresses
    ),
    endpoints=st.lists(endpoints, min_size=1, max_size=3).map(tuple),
    tls=st.builds(Tls, ca=paths, cert=paths, key=paths),
    beat_key=paths,
    state_dir=paths,
    run_dir=paths,
    log_dir=paths,
    watchdog=st.just("") | paths,
    cgroup=paths,
    etcd=paths,
)


@given(config=configs)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, config: NodeConfig) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.toml"
    path.write_text(dump(config), encoding="utf-8")
    assert load(path) == config
