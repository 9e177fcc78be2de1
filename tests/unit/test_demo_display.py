"""The demonstration's display, without a lab."""

import io

import pytest
from rich.console import Console

from holdfast.lab.demo.display import Plain, Scene, render, verdict
from holdfast.lab.demo.story import Check, Moment

STATUS = {
    "manager": {"node": "n2"},
    "nodes": [
        {"id": "n1", "state": "claimed", "instances": []},
        {"id": "n2", "state": "up", "instances": ["nfs/demo"]},
    ],
    "instances": [{"id": "nfs/demo", "state": "running"}],
}
SCENE = Scene(
    "n1 has lost its power",
    STATUS,
    {"n1": "off"},
    [("panel", "no answer for 300 ms", False)],
    [Moment(0.0, "lab", "n1 loses its power"), Moment(612.4, "detection", "suspect")],
)


def drawn(what: object) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(what)
    return out.getvalue()


def test_a_picture_shows_nodes_clients_and_the_time_line() -> None:
    text = drawn(render(SCENE))
    for expected in (
        "n1 has lost its power",
        "claimed",
        "off",
        "nfs/demo (running)",
        "leads",
        "no answer for",
        "612 ms",
    ):
        assert expected in text


def test_a_picture_can_be_drawn_before_anything_is_known() -> None:
    assert "begins" in drawn(render(Scene("it begins")))


def test_the_verdict_marks_what_failed() -> None:
    text = drawn(verdict([Check("a", True, "seen"), Check("b", False, "not seen")]))
    assert "✓" in text
    assert "✗" in text


def test_without_a_terminal_each_moment_is_a_line_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain = Plain()
    plain.scene(SCENE)
    plain.scene(SCENE)
    plain.close()
    assert capsys.readouterr().out.splitlines() == [
        "n1 has lost its power …",
        "        0 ms  lab        n1 loses its power",
        "      612 ms  detection  suspect",
    ]
