"""Each command that a page shows exists: its program, subcommand, options, target, module and files.

Strategy: other tests run most commands of the pages and compare their output. This one only parses every
command. So it also covers new pages and renamed options.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from tests.real.host import ROOT
from votequorum_ipc.cli.app import app

PAGES: Final = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "protocol_specs/*.md", "fuzz/**/*.md", "examples/**/*.md")
    for page in ROOT.glob(pattern)
    if not {"commands", "man"} & set(page.parent.parts)
)
FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

NOT_CHECKED: Final = {
    **dict.fromkeys(("apt", "pipx", "systemctl"), "it changes the machine"),
    **dict.fromkeys(("podman",), "a container engine needs an image from a registry"),
    **dict.fromkeys(("prometheus",), "it may not be installed"),
    **dict.fromkeys(
        (".", "echo", "grep", "printf", "source", "tail", "touch"), "it belongs to the shell or the system"
    ),
}
"""Programs that are not ours, and why their arguments are not checked."""


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each simple command on a page; in a script, only those of programs with a check."""
    for language, text in FENCE.findall(page.read_text()):
        if language == "sh":
            words = (words for line in text.splitlines() for words in _simple(line))
            yield from (each for each in words if Path(each[0]).name in CHECKS)
        elif language == "console":
            prompt = text[:2]
            lines = [line for line in text.splitlines() if prompt in ("$ ", "# ") and line.startswith(prompt)]
            yield from (words for line in lines for words in _simple(line[2:]))


def _simple(line: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in [*shlex.shlex(line, posix=True, punctuation_chars=True), ";"]:
        if word in ("|", "||", "&&", "&", ";"):
            if words:
                yield words
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word)


def votequorum_ipc_is_right(words: list[str]) -> str:
    """What is wrong with these arguments; empty if nothing is."""
    current: click.Command = app
    while isinstance(current, click.Group) and words and not words[0].startswith("-"):
        found = current.get_command(click.Context(current), words[0])
        if found is None:
            return f"no subcommand {words[0]}"
        current, words = found, words[1:]
    known = {
        option for parameter in current.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return " ".join(sorted(given - known - {"--help"}))


def make_is_right(words: list[str]) -> str:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return " ".join(word for word in words if "=" not in word and word not in targets)


def pip_is_right(words: list[str]) -> str:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [name for word in words for extras in re.findall(r"\[(.*)\]", word) for name in extras.split(",")]
    return " ".join(name for name in named if name not in known)


def python_is_right(words: list[str]) -> str:
    if words[0] == "-m":
        return "" if importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    return "" if (ROOT / words[0]).exists() else f"no file {words[0]}"


CHECKS: Final[dict[str, Callable[[list[str]], str]]] = {
    "votequorum-ipc": votequorum_ipc_is_right,
    "make": make_is_right,
    "pip": pip_is_right,
    "python": python_is_right,
    "python3": python_is_right,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_on_a_page_exists(page: Path) -> None:
    wrong = []
    for program, *arguments in commands(page):
        check = CHECKS.get(program.rpartition("/")[2])
        if check is not None:
            problem = check(arguments)
        else:
            problem = "" if program in NOT_CHECKED or (ROOT / program).exists() else "unknown program"
        wrong += [f"{shlex.join([program, *arguments])}: {problem}"] if problem else []
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_file_in_a_command_exists(page: Path) -> None:
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"dist", "build"}
    named = {
        word for words in commands(page) for word in words if word.partition("/")[0] in ours and "/" in word
    }
    assert {word for word in named if not word.startswith(".") and not (ROOT / word).exists()} == set()


def test_commands_are_found_in_consoles_and_in_scripts() -> None:
    found = {page.stem: list(commands(page)) for page in PAGES}
    assert ["pipx", "install", "--global", ".[exporter]"] in found["installing"]
    assert ["votequorum-ipc", "status"] in found["README"] + found["cli"]
    assert ["venv/bin/votequorum-ipc", "exporter"] in found["monitoring"]


def test_a_wrong_command_is_noticed() -> None:
    assert votequorum_ipc_is_right(["status", "--jsn"]) == "--jsn"
    assert votequorum_ipc_is_right(["stauts"]) == "no subcommand stauts"
    assert votequorum_ipc_is_right(["cmap", "get", "--binary", "a.key"]) == ""
    assert make_is_right(["dosc"]) == "dosc"
    assert pip_is_right([".[liev]"]) == "liev"
    assert python_is_right(["-m", "fuzzz"]) == "no module fuzzz"
