"""Writes tables and dumps into the specification: `python -m protocol_specs.generate [--check]`.

Strategy: this program writes the text between a pair of markers such as

  <!-- layout: votequorum / getinfo response -->  ...  <!-- /layout -->

It takes offsets and types from the construct declarations, and dumps from the recorded frames. People write
the rest, including the meaning of each field: that column is read before a table is rewritten. A new field
gets the meaning "?", which is an error until somebody replaces it. `--check` writes nothing and reports what
has drifted.

  layout: SERVICE / MESSAGE          the table of a message, or of `setup / ring header`
  frame: SERVICE / MESSAGE / CASE    the annotated dump of a recorded frame
  messages: SERVICE                  the table of a service's messages
  errno                              the code that a C client reports for each errno
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import construct as c

from votequorum_ipc.errors import CsErrorCode, error_from_errno
from votequorum_ipc.wire import SERVICES, Kind, Layout
from votequorum_ipc.wire.layout import REQUEST_HEADER, RESPONSE_HEADER

from . import layouts
from .frames import REFUSAL, STRUCTURES, find

DIRECTORY: Final = Path(__file__).parent
DOCUMENTS: Final = ("libqb-ipc", "votequorum", "quorum", "cmap", "cfg")

_BLOCK: Final = re.compile(r"(<!-- (\w+)(?:: ([^\n]*?))? -->\n)(.*?)(<!-- /\2 -->)", re.DOTALL)
_ROW: Final = re.compile(r"^\|[^|]*\|[^|]*\| `([^`|]*)` \|(.*)\|$")
_NO_MEANING: Final = "?"
_PER_LINE: Final = 16
_MANY_ZEROS: Final = 512
"""From this many zeros on, they are counted and not shown, even where something follows them."""
_HEX_WIDTH: Final = _PER_LINE * 3

_HEADERS: Final = {
    Kind.REQUEST: c.Struct(*REQUEST_HEADER),
    Kind.RESPONSE: c.Struct(*RESPONSE_HEADER),
    Kind.EVENT: c.Struct(*RESPONSE_HEADER),
}


class Drift(Exception):
    """The specification cannot be written as it is; the text says why."""


# --- tables -----------------------------------------------------------------------------------------------


def _layout_table(subject: str, old: str) -> Iterator[str]:
    """The table of a message; meanings are kept."""
    service, message = _parts(subject, 2)
    meanings = {found[1]: found[2].strip() for line in old.splitlines() if (found := _ROW.match(line))}
    declaration, summary, header = _declared(service, message)
    yield from summary
    yield "| offset | type | field | meaning |"
    yield "|---|---|---|---|"
    start = 0
    if header is not None:
        start = int(_HEADERS[header].sizeof())
        yield f"| 0 | {start} bytes | | {_header_text(service, message, declaration)} |"
    for row in layouts.rows(declaration):
        if row.offset.fixed < start and not row.offset.per_count:
            continue
        if not row.name:
            yield f"| {row.offset} | {row.size} bytes | | padding |"
            continue
        meaning = meanings.get(row.name) or _NO_MEANING
        yield f"| {row.offset} | {row.type} | `{row.name}` | {meaning} |"


def _declared(service: str, message: str) -> tuple[c.Struct, list[str], Kind | None]:
    if message in STRUCTURES:
        return STRUCTURES[message], [f"{layouts.size(STRUCTURES[message])} bytes.", ""], None
    layout = _layout(service, message)
    since = f" Since corosync {layout.since}." if layout.since[:1].isdigit() else ""
    newer = " Newer than corosync 3.1.10." if layout.since.startswith("after") else ""
    size = layouts.size(layout.construct)
    return (
        layout.construct,
        [f"`struct {layout.c_name}`, id {layout.id}, {size} bytes.{since}{newer}", ""],
        layout.kind,
    )


def _header_text(service: str, message: str, declaration: c.Struct) -> str:
    layout = _layout(service, message)
    kind = "request" if layout.kind is Kind.REQUEST else "response"
    return f"{kind} header: `id` {layout.id}, `size` {layouts.size(declaration)}"


def _messages_table(service: str, old: str) -> Iterator[str]:
    """All messages of a service."""
    yield "| id | | message | bytes | since |"
    yield "|---|---|---|---|---|"
    for layout in SERVICES[service]:
        size = layouts.size(layout.construct)
        anchor = str(layout).replace(" ", "-").lower()
        since = layout.since or "always"
        yield f"| {layout.id} | {layout.kind.value} | [{layout.name}](#{anchor}) | {size} | {since} |"


def _errno_table(subject: str, old: str) -> Iterator[str]:
    """The code for each errno; errnos without a specific code share the last row."""
    yield "| errno | cs_error_t |"
    yield "|---|---|"
    by_code: dict[CsErrorCode, list[str]] = {}
    # Not errno.errorcode: where two names share a number, Python versions disagree about which of them it
    # has.
    for name in sorted(name for name in dir(errno) if name.startswith("E")):
        by_code.setdefault(error_from_errno(getattr(errno, name)).code, []).append(name)
    del by_code[CsErrorCode.LIBRARY]
    for code, names in sorted(by_code.items()):
        yield f"| {', '.join(names)} | {code.value} `CS_ERR_{code.name}` |"
    yield f"| anything else | {CsErrorCode.LIBRARY.value} `CS_ERR_LIBRARY` |"


# --- dumps ------------------------------------------------------------------------------------------------


def _frame_dump(subject: str, old: str) -> Iterator[str]:
    """A recorded frame, with the meaning of each byte."""
    service, message, case = _parts(subject, 3)
    frame = find(service, message, case)
    yield f"Recorded: {frame.context} ({frame.client})."
    yield ""
    yield "```text"
    for piece in layouts.pieces(_declaration(service, message), frame.data):
        yield from _dump_piece(piece, frame.data)
    yield "```"


def _declaration(service: str, message: str) -> c.Struct:
    if message == REFUSAL:
        return _HEADERS[Kind.RESPONSE]
    return STRUCTURES.get(message) or _layout(service, message).construct


def _dump_piece(piece: layouts.Piece, data: bytes) -> Iterator[str]:
    label = f"{piece.name} = {_shown(piece.value)}" if piece.name else "padding"
    ranges = piece.content or (range(piece.start, piece.end),)
    shown = piece.start
    for part in ranges:
        if part.start > shown:
            yield f"{shown:04x}  {_skipped(part.start - shown)}"
        yield from _hex(part, data, label)
        shown, label = part.stop, ""
    if piece.end > shown:
        yield f"{shown:04x}  {_skipped(piece.end - shown)}"


def _skipped(count: int) -> str:
    return f"… {count} bytes that mean nothing"


def _hex(part: range, data: bytes, label: str) -> Iterator[str]:
    start = part.start
    while start < part.stop:
        row = data[start : min(start + _PER_LINE, part.stop)]
        zeros = _zeros(range(start, part.stop), data)
        if start > part.start and (start + zeros == part.stop or zeros >= _MANY_ZEROS):
            yield f"{start:04x}  … {zeros} zeros"
            start += zeros
            continue
        yield f"{start:04x}  {row.hex(' '):<{_HEX_WIDTH}} {label}".rstrip()
        label = ""
        start += _PER_LINE


def _zeros(part: range, data: bytes) -> int:
    """The number of zeros at the start of a part, in whole lines unless all of it is zeros."""
    content = data[part.start : part.stop]
    count = len(content) - len(content.lstrip(b"\0"))
    return count if count == len(content) else count - count % _PER_LINE


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list):
        return (
            ", ".join(str(tuple(item)) if isinstance(item, tuple) else str(item) for item in value) or "none"
        )
    return f"{value:#x}" if value > 0xFFFF else str(value)


# --- documents --------------------------------------------------------------------------------------------

_WRITERS: Final[dict[str, Callable[[str, str], Iterator[str]]]] = {
    "layout": _layout_table,
    "frame": _frame_dump,
    "messages": _messages_table,
    "errno": _errno_table,
}


def _layout(service: str, message: str) -> Layout:
    for layout in SERVICES.get(service, ()):
        if str(layout) == message:
            return layout
    raise Drift(f"there is no message {service} / {message}")


def _parts(subject: str, count: int) -> list[str]:
    parts = subject.split(" / ")
    if len(parts) != count:
        raise Drift(f"{subject!r} has not {count} parts")
    return parts


def written(text: str) -> str:
    """A document with everything between markers rewritten. Raises `Drift`, and `KeyError` for an unknown
    frame.
    """

    def block(found: re.Match[str]) -> str:
        begin, kind, subject, old, end = found.groups()
        if kind not in _WRITERS:
            raise Drift(f"{kind!r} is no kind of block")
        return "\n".join([begin.rstrip("\n"), "", *_WRITERS[kind](subject or "", old), "", end])

    return _BLOCK.sub(block, text)


def missing() -> list[str]:
    """Messages without a table or, where corosync 3.1.7 has them, without a dump."""
    text = "\n".join(path(name).read_text() for name in DOCUMENTS)
    return [
        f"{service} / {layout} has no {kind}"
        for service, layouts_ in SERVICES.items()
        for layout in layouts_
        for kind in ("layout", "frame")
        if f"<!-- {kind}: {service} / {layout} " not in text
        and not (kind == "frame" and layout.since.startswith("after"))
    ]


def without_meaning(text: str) -> list[str]:
    """The fields in a document's tables that still have no meaning."""
    return [
        f"{subject}: the field `{row[1]}` has no meaning"
        for _, _, subject, table, _ in _BLOCK.findall(text)
        for line in table.splitlines()
        if (row := _ROW.match(line)) and row[2].strip() == _NO_MEANING
    ]


def path(name: str) -> Path:
    """Path of a document."""
    return DIRECTORY / f"{name}.md"


def main(arguments: list[str]) -> None:
    """Write the documents, or check them."""
    complaints = missing()
    for name in DOCUMENTS:
        text = path(name).read_text()
        try:
            new = written(text)
        except (Drift, KeyError) as problem:
            complaints.append(f"{name}.md: {problem}")
            continue
        complaints += [f"{name}.md: {field}" for field in without_meaning(new)]
        if new != text and "--check" in arguments:
            complaints.append(f"{name}.md has drifted: run python -m protocol_specs.generate")
        elif new != text:
            path(name).write_text(new)
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main(sys.argv[1:])
