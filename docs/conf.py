"""How the docs site is built: `make docs`, from the pages of this folder as they are."""

from __future__ import annotations

from synood import __version__

project = "synood"
author = "the synood authors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "notebooks/.ipynb_checkpoints"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4  # links to headings by the names that GitHub gives them
suppress_warnings = [
    "myst.xref_missing"
]  # links to files outside docs/; tests/docs/test_docs.py checks them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "NDArray": "NDArray"}
add_module_names = False
nitpicky = False

html_theme = "furo"
html_title = "synood"
html_show_sourcelink = False
html_copy_source = False
