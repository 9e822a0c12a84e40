"""Builds the site: sphinx-build -n -W docs site. Nothing is fetched: the names of Python's own objects are in
``python.txt``, from which the inventory for links to docs.python.org is made.
"""

from __future__ import annotations

import re
import sys
import zlib
from pathlib import Path
from typing import Any, Dict, List

from sphinx.util.nodes import make_refnode

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from kraken_sync.version import __version__  # noqa: E402

project = "kraken_sync"
author = "The kraken_sync developers"
copyright = "the kraken_sync developers; MIT licence"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
html_theme = "furo"
html_title = f"kraken_sync {__version__}"
html_static_path = ["pictures"]
exclude_patterns = ["site"]
nitpicky = True
smartquotes = False
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "inherited-members": True}
python_use_unqualified_type_names = True
napoleon_use_rtype = False
napoleon_use_ivar = True

_inventory = HERE / "python.inv"
intersphinx_mapping = {"python": ("https://docs.python.org/3", str(_inventory))}


def make_inventory() -> None:
    """Write the inventory in the form that Sphinx reads (https://sphobjinv.readthedocs.io describes it)."""
    lines = (HERE / "python.txt").read_text("utf-8").splitlines()
    entries = "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))
    head = "# Sphinx inventory version 2\n# Project: Python\n# Version: 3\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    _inventory.write_bytes(head.encode() + zlib.compress(entries.encode()))


make_inventory()

# Names inside of annotations that are no part of the public surface: type variables, aliases, inner classes.
nitpick_ignore_regex = [
    (r"py:.*", r"(kraken_sync\.)?(core|io|market|trading|runtime|simulator|recording|replay|paper)\..*"),
    (r"py:.*", r"(kraken_sync\.)?shared\..*"),
    (r"py:.*", r"(typing|collections\.abc|t)\..*"),
    (r"py:class", r"Decimal|_queue\.Empty|(kraken_sync\.[a-z_.]+\.)?(Self|Symbols|Item|OneOrMany|Number)"),
    (r"py:.*", r"(ssl|decimal|datetime|pathlib|logging|queue|enum|os)\.\w+"),
]


def plain_raises(app: Any, what: str, name: str, obj: Any, options: Any, lines: List[str]) -> None:
    """Turn sentences under ``Raises:`` (``The errors of :meth:`x`.``) into a paragraph of their own.

    Napoleon would read them as names of classes.
    """
    inside, moved = False, []
    for number, line in enumerate(lines):
        if re.match(r"\s*Raises:$", line):
            inside = True
        elif inside and re.match(r"\s+The (other )?errors of ", line):
            moved.append(number)
        elif inside and line and not line.startswith(" "):
            inside = False
    for number in reversed(moved):
        text = lines.pop(number).strip()
        while (
            number < len(lines) and lines[number].strip() and not re.match(r"\s{4}\w[\w, ]*:", lines[number])
        ):
            text += " " + lines.pop(number).strip()
        lines += ["", f"Also raises: {text[0].lower()}{text[1:]}"]


_KEPT: Dict[str, List[str]] = {}


def keep_attribute(app: Any, what: str, name: str, obj: Any, options: Any, lines: List[str]) -> None:
    """Remember the docstrings of attributes: Napoleon takes what is before a colon in them for a type."""
    if what in ("attribute", "property", "data"):
        _KEPT[name] = list(lines)


def restore_attribute(app: Any, what: str, name: str, obj: Any, options: Any, lines: List[str]) -> None:
    """Put them back, unless they have a section."""
    kept = _KEPT.pop(name, None)
    if kept is not None and not any(re.match(r"\s*(Args|Raises|Returns):$", line) for line in kept):
        lines[:] = kept


CONSTRUCTED = (
    "SpotWSClient",
    "SpotOrderBookClient",
    "Timing",
    "Simulator",
    "Recorder",
    "Replay",
    "PaperClient",
    "SharedClient",
    "Publisher",
)


def signature(app: Any, what: str, name: str, obj: Any, options: Any, args: Any, returned: Any) -> Any:
    """Show no arguments of classes that only this library makes."""
    if args is not None and what == "class" and name.rpartition(".")[2] not in CONSTRUCTED:
        return "", returned
    return args, returned


def find_in_package(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a name that a docstring of an inner module uses without the package in front of it."""
    if node.get("refdomain") != "py":
        return None
    target, domain = node["reftarget"], env.get_domain("py")
    names = [
        name for name in domain.objects if name == f"kraken_sync.{target}" or name.endswith(f".{target}")
    ]
    if not names:
        return None
    best = min(names, key=lambda name: (not name.startswith("kraken_sync.SpotWSClient"), len(name)))
    where = domain.objects[best]
    return make_refnode(app.builder, node["refdoc"], where.docname, where.node_id, contnode, best)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain_raises, priority=100)
    app.connect("autodoc-process-docstring", keep_attribute, priority=200)
    app.connect("autodoc-process-docstring", restore_attribute, priority=900)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", find_in_package)
