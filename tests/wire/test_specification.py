"""The specification agrees with the declarations and the recordings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocol_specs import generate
from protocol_specs.generate import DOCUMENTS, Drift, path, without_meaning, written
from protocol_specs.layouts import Row, pieces, rows, size
from votequorum_ipc.wire import SERVICES, Layout
from votequorum_ipc.wire.setup import offset_of

LAYOUTS = [layout for layouts in SERVICES.values() for layout in layouts]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_not_drifted(name: str) -> None:
    text = path(name).read_text()
    assert written(text) == text, "run python -m protocol_specs.generate"


def test_every_message_has_a_table_and_a_dump() -> None:
    assert generate.missing() == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_resolve(name: str) -> None:
    for document, anchor in re.findall(r"\]\(([\w-]*\.md)?#([^)]*)\)", path(name).read_text()):
        target = path(document.removesuffix(".md") if document else name).read_text()
        headings = re.findall(r"^#+ (.*)$", target, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, anchor


def test_a_changed_table_is_noticed_and_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DOCUMENTS:
        (tmp_path / f"{name}.md").write_text(path(name).read_text())
    monkeypatch.setattr(generate, "DIRECTORY", tmp_path)
    changed = tmp_path / "quorum.md"
    good = changed.read_text()
    changed.write_text(good.replace("| 24 | uint32 | `quorate` |", "| 28 | uint32 | `quorate` |"))
    assert changed.read_text() != good
    with pytest.raises(SystemExit, match=r"quorum\.md has drifted"):
        generate.main(["--check"])
    assert changed.read_text() != good
    generate.main([])
    assert changed.read_text() == good
    generate.main(["--check"])


def test_a_field_without_a_meaning_is_an_error() -> None:
    block = "<!-- layout: quorum / getquorate response -->\n{}<!-- /layout -->"
    assert "if so" in written(block.format("| | | `quorate` | if so |\n"))
    assert without_meaning(written(block.format("| | | `quorate` | if so |\n"))) == []
    [complaint] = without_meaning(written(block.format("")))
    assert "quorum / getquorate response: the field `quorate` has no meaning" in complaint


def test_a_field_without_a_meaning_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DOCUMENTS:
        (tmp_path / f"{name}.md").write_text(path(name).read_text())
    monkeypatch.setattr(generate, "DIRECTORY", tmp_path)
    document = tmp_path / "quorum.md"
    row = next(line for line in document.read_text().splitlines() if "| `quorate` |" in line)
    empty = row[: row.index("| `quorate` |")] + "| `quorate` | |"
    document.write_text(document.read_text().replace(row, empty))
    for arguments in ([], ["--check"]):
        with pytest.raises(SystemExit, match="the field `quorate` has no meaning"):
            generate.main(arguments)


@pytest.mark.parametrize("text", ["layout: quorum / nothing", "layout: quorum", "nonsense: x"])
def test_a_marker_that_names_nothing_is_an_error(text: str) -> None:
    kind = text.split(":")[0]
    with pytest.raises(Drift):
        written(f"<!-- {text} -->\n<!-- /{kind} -->")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_rows_leave_no_gap_and_agree_with_the_librarys_own_offsets(layout: Layout) -> None:
    found = list(rows(layout.construct))
    ends = [str(row.offset + row.size) for row in found]
    assert ends[:-1] == [str(row.offset) for row in found[1:]]
    assert ends[-1] == str(size(layout.construct))
    ours: dict[str, Row] = {}
    for row in found:
        if row.name:
            ours.setdefault(row.name.split(".")[0], row)
    assert list(ours) == [field.name for field in layout.construct.subcons if field.name]
    for name, row in ours.items():
        if not row.offset.per_count and not row.offset.open_end:
            assert str(row.offset) == str(offset_of(layout.construct, name))


def test_pieces_of_a_message_cover_every_byte_once() -> None:
    event = next(layout for layout in SERVICES["quorum"] if layout.name == "v1_nodelist_notification")
    data = event.encode(ring_id=(1, 2), member_list=[1, 2, 3], joined_list=[3], left_list=[])
    found = list(pieces(event.construct, data))
    assert [piece.start for piece in found] == [0, *(piece.end for piece in found[:-1])]
    assert found[-1].end == len(data)
    values = {piece.name: piece.value for piece in found}
    assert (values["ring_id.seq"], values["joined_list"]) == (2, [3])
