"""What the documentation says of the code is true: numbers, diagrams, commands, test names, links."""

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from holdfast.cli.app import COMPLETE, build
from holdfast.core.timing import PROFILES
from holdfast.services.nfs.config import GRACE_S, LEASE_S
from holdfast.store import keys

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^(?:    .*|```.*?^```)$", re.M | re.S)
NAMED_TEST = re.compile(r"\b(test_[a-z0-9_]+\.py)(?:::(test_[a-z0-9_]+))?")
COMMAND = re.compile(r"(?<![\w./-])holdfast ([a-z-][^`|#·…\n]*)")
ADVICE = re.compile(r"(?:`|: )holdfast ((?!made a mistake)[a-z-][^`\n]*)")
STOP = re.compile(r"&&|;|\||<|>|\.$| {3,}|`")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- made from the code ---------------------------------------------------------------------------------------------


def test_numbers_and_diagrams_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "diagrams", "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run scripts/diagrams"


def test_every_part_that_can_be_made_is_shown_somewhere() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "diagrams"))
    shown = {found["name"] for page in made["PAGES"] for found in made["PART"].finditer(page.read_text())}
    assert shown == set(made["PARTS"])


def test_the_numbers_in_sentences_are_those_of_the_profiles() -> None:
    """Pages that repeat a number of the protocol outside of the generated tables."""
    operating, nfs = (DOCS / "operating.md").read_text(), (DOCS / "nfs.md").read_text()
    default, fast = PROFILES["default"], PROFILES["fast"]
    for symbol in ("F", "W", "T_wait"):
        row = next(line for line in operating.splitlines() if f"({symbol})" in line and line.startswith("|"))
        assert row.endswith(f"| {getattr(default, symbol):g} s | {getattr(fast, symbol):g} s |"), row
    assert f"({default.T_wait:g} s with the default profile's watchdog)" in nfs
    assert f"T_wait ({default.T_wait:g} s)" in (DOCS / "lab.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert f"{default.T_wait:g} s with the default profile, {fast.T_wait:g} s with `fast`" in readme
    assert f"`Lease_Lifetime = {LEASE_S}`" in nfs and f"`Grace_Period = {GRACE_S}`" in nfs


def test_every_key_of_the_store_is_described() -> None:
    architecture = (DOCS / "architecture.md").read_text()
    values = [value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)]
    missing = [value for value in values if f"`{value}" not in architecture]
    assert values and not missing


# --- what is named exists ---------------------------------------------------------------------------------------------


def named_tests() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        yield from NAMED_TEST.findall(page.read_text())


def test_every_test_that_is_named_exists() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    gone = sorted({f"{f}::{t}" for f, t in named_tests() if f not in files or (t and f"def {t}(" not in files[f])})
    assert not gone, "renamed or removed: correct docs/verification.md"


def test_every_lab_test_of_a_cluster_is_listed() -> None:
    page = (DOCS / "verification.md").read_text()
    assert not [path.name for path in (ROOT / "tests" / "lab").glob("test_cluster_*.py") if path.name not in page]


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMPLETE, "complete_bash")  # makes the whole tree and not only the group that is asked for
        yield typer.main.get_command(build([]))


def commands(page: Path) -> Iterator[list[str]]:
    """Every `holdfast …` in code blocks and in backticks, as words."""
    text = page.read_text()
    found = CODE_BLOCK.findall(text) + re.findall(r"`([^`\n]+)`", text)
    joined = re.sub(r"\\\n\s*", " ", "\n".join(found)).replace(" -- holdfast ", "\nholdfast ")
    for command in COMMAND.findall(joined):
        words = STOP.split(command)[0].split()
        if words:
            yield words


def wrong(command: Any, words: list[str]) -> str:
    """What does not exist; "" if all does. Only names are looked at, not values."""
    while hasattr(command, "commands"):
        options = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        if words and words[0].startswith("-"):
            if words[0] not in options:
                return f"no option {words[0]}"
            words = words[2:]
            continue
        if not words or not words[0].islower() or words[0] == "…":
            return ""
        following = command.commands.get(words[0])
        if following is None:
            return f"no command {words[0]}"
        command, words = following, words[1:]
    options = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
    if "--" in words:  # what follows is another command, or its own
        words = words[: words.index("--")]
    unknown = [word for word in words if word.startswith("--") and word not in {*options, "--help"}]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path, tree: Any) -> None:
    mistakes = {" ".join(words): wrong(tree, words) for words in commands(page)}
    assert not {command: what for command, what in mistakes.items() if what}


def test_the_check_of_commands_sees_mistakes(tree: Any) -> None:
    assert not wrong(tree, ["lab", "--lab", "x", "fail", "n1", "--how", "power"])
    assert wrong(tree, ["nodes", "list"]) == "no command nodes"
    assert wrong(tree, ["nfs", "create", "vol1", "--nodes", "n1"]) == "no option --nodes"
    assert len(list(commands(DOCS / "operating.md"))) > 10


def advised(source: Path) -> Iterator[list[str]]:
    """Commands in the texts of a module, such as an error's advice; a value in an f-string becomes X."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        for command in ADVICE.findall(text):
            yield STOP.split(command.rstrip("."))[0].split()


def test_what_messages_advise_exists(tree: Any) -> None:
    sources = sorted((ROOT / "src" / "holdfast").rglob("*.py"))
    found = [(source.name, words) for source in sources for words in advised(source)]
    assert len(found) > 20
    assert not [(file, " ".join(words), wrong(tree, words)) for file, words in found if wrong(tree, words)]


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for target in re.findall(r"(?:`|^    )(?:sudo )?make ([a-z]+)", page.read_text(), re.M):
            assert target in targets, f"{name(page)}: make {target}"


# --- links --------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Of a page's headings, by GitHub's rule."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()) + re.findall(r'src="([^"]+)"', page.read_text()):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link} has no such heading"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    assert not [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"]({page.name})" not in index]
