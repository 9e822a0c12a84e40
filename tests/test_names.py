"""The public names, the error tree and the version are what the documents say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kraken_sync
from kraken_sync import errors

ROOT = Path(__file__).parents[1]


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
ERRORS = [kind.__name__ for kind in KINDS]


def test_all_names_exist_and_are_documented() -> None:
    """Every public name exists and has a docstring, as has every public member of a public class."""
    for name in kraken_sync.__all__:
        thing = getattr(kraken_sync, name)
        if name == "__version__":
            continue
        assert thing.__doc__, name
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert value.__doc__ or getattr(super(thing, thing), member, None), f"{name}.{member}"


def test_every_error_is_public() -> None:
    """What can be raised can be imported from the top."""
    assert set(ERRORS) <= set(kraken_sync.__all__)


def test_error_tree_stands_at_the_top() -> None:
    """The docstring of ``errors`` shows the tree as it is: names, nesting, builtin parents."""
    tree = re.findall(r"^( *)\* :class:`(\w+)`(?: \(``(?:queue\.)?(\w+)``\))?", errors.__doc__ or "", re.M)
    described = {}
    trail: list = []
    for indent, name, builtin in tree:
        trail[len(indent) // 2 :] = [name]
        described[name] = (trail[-2] if len(trail) > 1 else "Exception", builtin or None)
    real = {}
    for name in ERRORS:
        parents = [base.__name__ for base in getattr(errors, name).__bases__]
        real[name] = (parents[0], parents[1] if len(parents) > 1 else None)

    assert described == real


def test_changelog_begins_with_this_version() -> None:
    """A release cannot be forgotten in the changelog."""
    text = (ROOT / "CHANGELOG.rst").read_text("utf-8")

    assert re.findall(r"^(\d+\.\d+\.\d+)", text, re.M)[0] == kraken_sync.__version__


def test_import_starts_nothing() -> None:
    """Importing starts no thread, sets no handler but a null one, and loads no heavy library."""
    code = (
        "import sys, threading, logging, kraken_sync; "
        "assert threading.active_count() == 1; "
        "assert not logging.getLogger().handlers; "
        "heavy = {'requests', 'websocket', 'websockets', 'click', 'rich', 'pandas', 'asyncio'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
