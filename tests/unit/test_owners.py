"""Whose the node's files are."""

import os
import stat
from pathlib import Path

import pytest

from holdfast import owners
from holdfast.core.rights import Rights
from holdfast.services.storage import write_atomically

NOBODY = Rights("a test", user="nobody", capabilities=("CAP_NET_BIND_SERVICE",), hardening=("NoNewPrivileges=yes",))
STRANGER = Rights("a test", user="holdfast-no-such-user", capabilities=())
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def test_a_user_that_is_not_on_the_node_is_root() -> None:
    assert owners.user_of(NOBODY) == "nobody"
    assert owners.user_of(STRANGER) == ""
    assert owners.ids_of(STRANGER) == (os.geteuid(), os.getegid())


def test_the_beginning_of_a_command_line_gives_everything_else_up() -> None:
    assert owners.less(Rights("a test")) == ()
    words = owners.less(STRANGER)
    assert words == ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
    words = owners.less(NOBODY)
    assert {"--bounding-set=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service"} <= set(words)
    assert {"--reuid=nobody", "--init-groups", "--no-new-privs"} <= set(words)


@needs_root
def test_what_another_version_left_is_mended_and_nothing_else_is_touched(tmp_path: Path) -> None:
    inside = tmp_path / "etcd"
    inside.mkdir()
    (inside / "db").touch()
    (inside / "link").symlink_to(tmp_path)
    owners.give(owners.ids_of(NOBODY), inside, *inside.rglob("*"))
    assert {path.lstat().st_uid for path in (inside, *inside.iterdir())} == {owners.ids_of(NOBODY)[0]}
    assert tmp_path.stat().st_uid == os.geteuid()


@needs_root
def test_a_group_may_read_a_key_and_nobody_else(tmp_path: Path) -> None:
    key = tmp_path / "node.key"
    key.write_text("secret")
    key.chmod(0o600)
    owners.let_read(key, "holdfast-no-such-group")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    owners.let_read(key, "nogroup")
    assert (stat.S_IMODE(key.stat().st_mode), key.owner(), key.group()) == (0o640, "root", "nogroup")


def test_directories_on_the_way_let_others_pass_and_see_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    owners.let_in(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o701


@needs_root
def test_a_file_with_an_owner_is_that_users_from_the_beginning(tmp_path: Path) -> None:
    owner = owners.ids_of(NOBODY)
    write_atomically(tmp_path / "users.json", b"[]", owner=owner)
    found = (tmp_path / "users.json").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*owner, 0o600)
