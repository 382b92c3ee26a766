"""Sphinx's configuration: the site, and the man pages.

Strategy: the source directory is the whole checkout, so that a link between two Markdown files is the same in
the repository and on the site. `make docs` and `make man` build; warnings are errors. Docstrings are Markdown
too, and become reStructuredText here.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any, Final

from votequorum_ipc import __version__

# hypothesis is told of trio's random numbers, and warns that it need not look after them.
warnings.filterwarnings("ignore", message="It looks like `register_random`")
sys.path.insert(0, str(Path(__file__).parent / "_site"))

from code_links import link_code  # noqa: E402
from command_pages import command_pages, write_command_pages  # noqa: E402 - it is beside this file

project = "votequorum_ipc"
author = "the votequorum_ipc authors"
version = release = __version__
root_doc = "docs/index"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = [
    "docs/**.md",
    "examples/**.md",
    "fuzz/**.md",
    "protocol_specs/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [".*", "bench", "build", "contrib", "dist", "tests", "tools", "votequorum_ipc"]
FOR_MAN: Final = globals()["tags"].has("man")
"""Sphinx defines `tags`; `make man` sets this one, and then builds nothing but the man pages."""
if FOR_MAN:
    root_doc = "docs/man/votequorum-ipc"
    include_patterns = ["docs/man/*.md"]
else:
    exclude_patterns.append("docs/man")

source_suffix = {".md": "markdown"}
nitpicky = False

# A single backtick in a docstring is code, and a link where it names something of the library.
default_role = "py:obj"
highlight_language = "none"
# Texts from a terminal are shown as they are: no quotes or dashes of a typesetter.
smartquotes = False

myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"exclude-members": "STARTS_EVENTS"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
add_module_names = False

html_theme = "furo"
html_title = f"votequorum_ipc {version}"
html_copy_source = False
html_show_copyright = False
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_extra_path = ["_site/root"]

man_pages = [(f"docs/man/{page.name}", page.name, page.description, "", 1) for page in command_pages()]
# The date of a page would make each build another one.
today = version


def _to_restructured_text(
    _app: Any, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """A docstring's fences become code blocks, and single backticks that hold no name become literals."""
    if lines and lines[0].startswith("Alias for field number "):
        # What Python says of a named tuple's field that has no text.
        lines.clear()
    text = re.sub(
        r"^```(\w*)[^\n]*\n(.*?)^```$",
        lambda found: (
            f".. code-block:: {found[1] or 'none'}\n\n"
            + "".join(f"    {line}\n" if line else "\n" for line in found[2].splitlines())
        ),
        "\n".join(lines),
        flags=re.DOTALL | re.MULTILINE,
    )
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)(?=(\w?))", _to_role, text)
    lines[:] = text.splitlines()


def _without_private_signature(
    _app: Any, what: str, _name: str, obj: Any, _options: object, _signature: str, _returns: str
) -> tuple[str, None] | None:
    """A class that a function makes has no arguments to show."""
    if what == "class" and (obj.__init__.__doc__ or "").startswith("Not public"):
        return "", None
    return None


def _to_role(found: re.Match[str]) -> str:
    code = found[0] if re.fullmatch(r"[A-Za-z_][\w.]*", found[1]) else f"``{found[1]}``"
    return code + (r"\ " if found[2] else "")


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("builder-inited", lambda _app: write_command_pages(for_man=FOR_MAN))
    app.connect("autodoc-process-docstring", _to_restructured_text)
    app.connect("autodoc-process-signature", _without_private_signature)
    if not FOR_MAN:
        app.connect("doctree-resolved", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
