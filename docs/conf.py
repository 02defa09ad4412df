"""How Sphinx makes the pages of docs/ (`./run docs`): the guides, DESIGN.md, the plug-ins' READMEs
and the reference of `archived.api`, from Markdown. Strict, and without a network."""

from __future__ import annotations

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

from archived import __version__

for _shown_as_it_is in ("csv", "mermaid"):
    lexers[_shown_as_it_is] = TextLexer()

project = "archived"
author = "the archived project"
copyright = ""  # noqa: A001 - Sphinx's name for it
html_show_copyright = False
html_show_sphinx = False
release = version = __version__
language = "en"

root_doc = "docs/index"
include_patterns = [
    "README*.md",
    "DESIGN.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**.md",
    "plugins/*/README.md",
    "packaging/**/README.md",
]
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
suppress_warnings = ["myst.xref_missing_download"]

html_theme = "alabaster"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "description": "archival daemon: reference and guides",
    "fixed_sidebar": True,
    "page_width": "72rem",
    "sidebar_width": "17rem",
    "font_family": "sans-serif",
}
html_last_updated_fmt = None  # two builds of one source are one result
