"""The pages of the command, for the site and for `man`: written from click's own help and from docs/.

Strategy: before Sphinx looks for documents, each subcommand gets a file in docs/commands/, and for `man`
another in docs/man/; git ignores both. The synopsis, description and options are click's, so a new
subcommand has a page without further work. A man page has no links, so it also gets the section of docs/
that shows the subcommand at work, with tables as lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click

from votequorum_ipc.cli.app import app

DOCS: Final = Path(__file__).parent.parent
PROGRAM: Final = "votequorum-ipc"

_SHOWN_IN: Final = {
    "check": ("checking.md", ""),
    "exporter": ("monitoring.md", "Prometheus"),
    "qdevice": ("quorum-devices.md", "The command"),
    "qdevice run": ("quorum-devices.md", "The command"),
    "serve": ("cli.md", "serve"),
    "demo": ("cli.md", "serve"),
}
"""The document, and the heading in it, that shows a subcommand at work; else its heading in cli.md."""


class CommandPage(NamedTuple):
    """One subcommand, and what `man` calls its page."""

    words: tuple[str, ...]
    """Such as ("qdevice", "run"); none for the command itself."""
    command: click.Command

    @property
    def name(self) -> str:
        """Such as "votequorum-ipc-qdevice-run"."""
        return "-".join((PROGRAM, *self.words))

    @property
    def title(self) -> str:
        """What people type: "votequorum-ipc qdevice run"."""
        return " ".join((PROGRAM, *self.words))

    @property
    def description(self) -> str:
        """What it does in a few words, for `whatis`."""
        first = re.split(r"[;:.](?:\s|$)", " ".join((self.command.help or "").split()), maxsplit=1)[0]
        return first[:1].lower() + first[1:]


def command_pages() -> list[CommandPage]:
    """The command and all of its subcommands."""
    return list(_below((), app))


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[CommandPage]:
    yield CommandPage(words, command)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from _below((*words, name), found)


def write_command_pages(*, for_man: bool) -> None:
    """Write docs/man/ or docs/commands/. An unchanged file keeps its time, so that Sphinx skips it."""
    directory = DOCS / ("man" if for_man else "commands")
    pages = command_pages()
    directory.mkdir(exist_ok=True)
    texts = {f"{page.name}.md": _page(page, pages, for_man=for_man) for page in pages}
    for path in directory.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(page: CommandPage, pages: list[CommandPage], *, for_man: bool) -> str:
    context = click.Context(page.command, info_name=page.title)
    usage = " ".join(page.command.collect_usage_pieces(context))
    # No table of contents lists the man pages.
    parts = [
        *(["---\norphan: true\n---\n"] if for_man else []),
        f"# {page.title}\n",
        "## Synopsis\n",
        f"```text\n{page.title} {usage}\n```\n",
        "## Description\n",
        *(_paragraph(paragraph) for paragraph in re.split(r"\n\s*\n", (page.command.help or "").strip())),
        *_options(page.command, context),
        *_subcommands(page, pages, for_man=for_man),
    ]
    if for_man and not page.words:
        parts += ["## Exit status\n", _as_definitions(_table_of_exit_codes())]
    if for_man and (examples := _examples(page.words)) is not None:
        parts += ["## Examples\n", _as_definitions(examples)]
    parts += ["## See also\n", _see_also(page, pages, for_man=for_man)]
    return "\n".join(parts)


def _paragraph(text: str) -> str:
    if text.lstrip().startswith("\b"):
        # click's mark for lines that are not to be filled.
        return "```text\n" + "\n".join(line.strip() for line in text.splitlines()[1:]) + "\n```\n"
    return _escaped(" ".join(text.split())) + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [
        record for option in command.get_params(context) if (record := option.get_help_record(context))
    ]
    if records:
        yield "## Options\n"
        for names, text in records:
            yield f"`{names}`\n: {_escaped(' '.join(text.split()))}\n"


def _subcommands(page: CommandPage, pages: list[CommandPage], *, for_man: bool) -> Iterator[str]:
    below = [other for other in pages if other.words[:-1] == page.words and other.words]
    if below:
        yield "## Commands\n"
        for other in below:
            name = f"**{other.name}**(1)" if for_man else f"[{other.title}]({other.name}.md)"
            yield f"{name}\n: {_escaped(other.description)}\n"


def _see_also(page: CommandPage, pages: list[CommandPage], *, for_man: bool) -> str:
    if for_man:
        others = [other for other in pages if other.words[:-1] == page.words[:-1] and other != page]
        names = [*(f"{other.name}(1)" for other in others), *_ELSEWHERE]
        return ", ".join(f"**{name}**" for name in names) + "\n"
    document, section = _place(page.words)
    link = f"../{document}#{_slug(section.heading)}" if section else f"../{document}"
    return f"[{page.title} at work]({link}), [all commands](../cli.md)\n"


_ELSEWHERE: Final = ("votequorum(5)", "corosync.conf(5)", "corosync-quorumtool(8)")


class _Section(NamedTuple):
    heading: str
    body: str


def _place(words: tuple[str, ...]) -> tuple[str, _Section | None]:
    """The document that shows a subcommand at work, and its section on it."""
    name = " ".join(words)
    document, wanted = _SHOWN_IN.get(name, ("cli.md", name))
    text = (DOCS / document).read_text(encoding="utf-8")
    sections = re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    for heading, body in sections:
        if wanted and re.search(rf"\b{re.escape(wanted)}\b", heading):
            return document, _Section(heading, body)
    return document, None


def _examples(words: tuple[str, ...]) -> str | None:
    """The section that shows a subcommand, with its headings a level higher and without links."""
    _, section = _place(words)
    if section is None:
        return None
    text = re.sub(r"\[([^\]]+)\]\([^)\s]+\)", r"\1", section.body.strip())
    return re.sub(r"^##", "#", text, flags=re.MULTILINE) + "\n"


def _table_of_exit_codes() -> str:
    found = re.search(
        r"^\| exit code \| meaning \|\n(?:\|.*\n)+", (DOCS / "cli.md").read_text(), re.MULTILINE
    )
    assert found, "docs/cli.md has a table of exit codes"
    return found[0]


def _as_definitions(text: str) -> str:
    """Tables as lists of definitions, which a terminal of any width can show."""
    return re.sub(r"^\|.*\n\|[-|]+\|\n(?:\|.*\n)+", _definitions, text, flags=re.MULTILINE)


def _definitions(table: re.Match[str]) -> str:
    heads, _, *rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table[0].splitlines()
    ]
    return "".join(f"{term}\n: {_definition(heads[1:], cells)}\n\n" for term, *cells in rows)


def _definition(heads: list[str], cells: list[str]) -> str:
    if len(cells) == 1:
        return cells[0]
    return ". ".join(f"*{head}*: {cell}" for head, cell in zip(heads, cells, strict=True) if cell)


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _escaped(text: str) -> str:
    """Plain text as Markdown. Code in backticks stays code."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([\\*_<\[\]])", r"\\\1", piece) for piece in pieces
    )
