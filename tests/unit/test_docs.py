"""What the pages show is there: names that their code imports, commands, options, modules, files and links.

It looks, and runs next to nothing; transcripts and whole examples are run by tests/e2e (test_errors_doc,
test_testing_doc, test_outputs_doc, test_examples).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from consecution.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMAND: Any = typer.main.get_command(app)

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(r"python -m ([a-z0-9_.]*[a-z0-9_])")
MADE = re.compile(r"\bmake ([a-z][a-z-]*)\b")
PLACE = re.compile(
    r"(?<![\w./-])(?:tests|docs|examples|docker|benchmarks|consecution|coordinator|worker)/[\w./-]*[\w/]"
)
ENVIRONMENT = {"ITEMS_TOKEN": "x" * 16, "ORDERS_TOKEN": "x" * 16}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks_of(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


def shell_lines_of(page: Path) -> Iterator[str]:
    """Lines that are commands: indented by four, in a block without a language, or behind ``$ `` in a transcript."""
    text = page.read_text()
    outside = BLOCK.sub("", text)
    lines = [line for line in outside.splitlines() if line.startswith("    ")]
    lines += [line for kind, body in BLOCK.findall(text) if kind == "" for line in body.splitlines()]
    lines += [line[2:] for body in blocks_of(page, "text") for line in body.splitlines() if line.startswith("$ ")]
    lines += [inline for inline in re.findall(r"`([^`\n]+)`", outside) if " " in inline]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        yield line.strip().removeprefix("$ ")


def words_of(line: str) -> Iterator[list[str]]:
    """The calls of ``consecution`` in a line, each as its words behind that name."""
    for part in re.split(r"[|;&]|\bdo\b", re.sub(r"\s#\s.*| # .*$", "", line)):
        try:
            words = shlex.split(part)
        except ValueError:
            words = part.split()
        while words and (re.fullmatch(r"[A-Z_]+=.*", words[0]) or words[0] in ("export", "time")):
            words = words[1:]
        if words and words[0] == "consecution":
            yield words[1:]


def check_call(words: list[str]) -> None:
    """Fail unless the command is there, and each of its options."""
    command = COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not (words and getattr(command, "commands", None) and not words[0].startswith("-")), (
        f"no command {words[0]!r}"
    )
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
    for word in words:
        if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?|-[A-Z]", word):
            assert word.partition("=")[0] in known, f"{word} is no option of {command.name}; it has {sorted(known)}"


@pages
def test_python_compiles_and_what_it_imports_of_ours_is_there(page: Path) -> None:
    for block in blocks_of(page, "python"):
        if block.endswith("flow = Consecutor([1] | str\n"):
            continue  # errors.md shows what a parenthesis that is never closed prints
        for found in ast.walk(ast.parse(block)):
            if isinstance(found, ast.ImportFrom) and (found.module or "").partition(".")[0] == "consecution":
                module = importlib.import_module(found.module or "")
                for alias in found.names:
                    assert hasattr(module, alias.name), f"{found.module} has no {alias.name}"


@pytest.mark.parametrize("name", ["sinks.md", "producers.md"])
def test_blocks_that_make_producers_and_sinks_make_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stands by itself, imports included; nothing is opened before a run."""
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    made = 0
    for block in blocks_of(ROOT / "docs" / name, "python"):
        if not re.search(r"^(with Client|class |def test_)", block, re.MULTILINE):
            exec(compile(block, name, "exec"), {"__name__": "page"})
            made += 1
    assert made >= 3


@pages
def test_commands_and_their_options_are_there(page: Path) -> None:
    for line in shell_lines_of(page):
        for words in words_of(line):
            check_call(words)


def test_calls_are_found_on_the_pages() -> None:
    assert sum(1 for page in PAGES for line in shell_lines_of(page) for _ in words_of(line)) > 100


@pytest.mark.parametrize(
    "line", ["consecution rnu flow.py", "consecution run flow.py --jurnal x", "x | consecution -Z"]
)
def test_a_call_that_there_is_not_is_found(line: str) -> None:
    (words,) = words_of(line)
    with pytest.raises(AssertionError, match=r"no command 'rnu'|--jurnal is no option of run|-Z is no option"):
        check_call(words)


def test_the_examples_that_help_shows_are_calls_that_there_are() -> None:
    def walk(command: Any) -> Iterator[str]:
        yield command.help or ""
        for child in getattr(command, "commands", {}).values():
            yield from walk(child)

    calls = [words for text in walk(COMMAND) for line in text.splitlines() for words in words_of(line.strip())]
    assert len(calls) > 30
    for words in calls:
        check_call(words)


@pages
def test_modules_targets_and_files_are_there(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shell = "\n".join(shell_lines_of(page))
    for name in MODULE.findall(text):
        assert importlib.util.find_spec(name), f"no module {name}"
    for target in MADE.findall(shell):
        assert target in targets, f"no target {target} in the Makefile"
    for place in PLACE.findall(BLOCK.sub("", text)):
        assert (ROOT / place).exists() or list(ROOT.glob(f"{place}*")), f"no {place}"


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"no {link}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in anchors, f"no {link}; {target.name} has {anchors}"
