"""docs/install.md can be followed by a program: each block says where it runs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "install"))

import guide


def test_the_guide_leads_from_the_package_to_a_service_and_back() -> None:
    found = guide.read()
    assert {block.topic for block in found} == {"", *guide.TOPICS}
    typed = "\n".join(block.commands for block in found)
    for step in ("apt install -y ./holdfast_", "cluster create", "node join", "ha enable", "upgrade node", "apt purge"):
        assert step in typed
    assert found[0].machines == guide.MACHINES
    assert {block.machines for block in found if block.topic == "upgrade"} == {guide.MACHINES}


def test_a_block_that_says_nothing_is_a_mistake() -> None:
    assert guide.blocks("```sh example\nmodprobe softdog\n```\n```console\n$ ls\n```\n") == []
    for head in ("", " n9", " n1 nfs iscsi"):
        with pytest.raises(ValueError, match="name machines"):
            guide.blocks(f"```sh{head}\nls\n```\n")
