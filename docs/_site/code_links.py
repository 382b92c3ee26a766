"""Code in a page that names something of the library becomes a link to its place in the reference.

Strategy: pages are plain Markdown, with names in backticks, so that they read well in the repository. After
Sphinx has collected the names, each literal that is exactly one of them is wrapped in a reference. A name may
be written without the package, and with "()" or "await" around it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from docutils import nodes

_PACKAGES: Final = (
    "",
    "votequorum_ipc.",
    "votequorum_ipc.types.",
    "votequorum_ipc.qdevice.",
    "votequorum_ipc.testing.",
)
"""What a name may leave out, the most likely first."""


def link_code(app: Any, doctree: nodes.document, docname: str) -> None:
    """A handler of `doctree-resolved`."""
    known = app.env.get_domain("py").objects
    for literal in list(doctree.findall(nodes.literal)):
        name = re.sub(r"^await |^types\.|\(\)$", "", literal.astext())
        if _is_inside(literal, nodes.entry):
            _let_break(literal)
        if _is_inside(literal, nodes.reference, nodes.title, nodes.FixedTextElement):
            continue
        entry = next((known[package + name] for package in _PACKAGES if package + name in known), None)
        if entry is not None and entry.docname != docname:
            uri = app.builder.get_relative_uri(docname, entry.docname)
            reference = nodes.reference("", "", internal=True, refuri=f"{uri}#{entry.node_id}")
            literal.replace_self(reference)
            reference += literal


def _let_break(literal: nodes.literal) -> None:
    """Long names in tables may break after an underscore or a dot."""
    name = literal.astext()
    literal.clear()
    for at, part in enumerate(re.split(r"(?<=[_.])(?=\w)", name)):
        if at:
            literal += nodes.raw("", "<wbr>", format="html")
        literal += nodes.Text(part)


def _is_inside(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    parent = node.parent
    while parent is not None:
        if isinstance(parent, kinds):
            return True
        parent = parent.parent
    return False
