"""Who may import what: core decides, io acts, facades wait, the client delegates."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Dict, Set, Tuple

import pytest

import kraken_sync

ROOT = Path(kraken_sync.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
EFFECTS = {"threading", "socket", "queue", "time", "select", "ssl", "os", "websocket", "requests", "asyncio"}
MAY_IMPORT: Dict[str, Set[str]] = {
    "core": {"core", "errors"},
    "io": {"core", "errors", "io"},
    "runtime": {"core", "errors", "io"},
    "market": {"core", "errors", "io", "runtime", "market"},
    "trading": {"core", "errors", "io", "runtime", "market", "trading"},
    "client": {"core", "errors", "io", "runtime", "market", "trading", "compat"},
    "orderbook_client": {"core", "errors", "io", "market", "client"},
    "recording": {"core", "errors", "io", "client", "version", "recording"},
    "replay": {"core", "errors", "client", "recording", "simulator", "replay"},
    "paper": {"core", "errors", "io", "market", "client", "simulator", "paper"},
    "shared": {"core", "errors", "io", "runtime", "market", "client", "recording", "shared"},
    "notebook": {"core"},
    "types": {"core"},
    "compat": set(),
    "errors": set(),
    "version": set(),
    "testing": {"core", "simulator"},
    "simulator": {
        "simulator",
        "client",
        "errors",
    },  # Simulator.client(); nothing else, so that it stays an oracle
}
"""The rooms of the package, by the first part of a module's name; ``cli`` and ``__init__`` may import all."""
SHELVES: Dict[str, Set[str]] = {
    "timing": set(),
    "freshness": set(),
    "backfill": {"wire"},
    "copying": set(),
    "awaiting": set(),
    "client_state": set(),
    "arguments": set(),
    "frames": set(),
    "html": set(),
    "plots": {"html", "wire"},
    "wire": {"wire"},
    "book": {"wire", "freshness", "book", "frames", "html", "plots"},
    "orders": {"wire", "freshness", "orders", "frames", "html"},
    "session": {"wire", "freshness", "timing", "book", "orders", "session"},
}
"""The same for the shelves of ``core``."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")


MODULES = {name_of(path) for path in FILES}


def imports(path: Path) -> Set[str]:
    """Absolute dotted names of everything a file imports: lazily, and for type checkers, too."""
    package = ("kraken_sync", *path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            names = {f"{module}.{name.name}" for name in node.names}
            found.update(names)
            if not all(name[len("kraken_sync.") :] in MODULES for name in names):
                found.add(module)  # something in it, rather than modules of a package
    return found


def ours(path: Path) -> Set[str]:
    """The modules of ours that a file imports, without the package's name."""
    names = {name[len("kraken_sync.") :] for name in imports(path) if name.startswith("kraken_sync.")}
    return names & MODULES


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_layers(path: Path) -> None:
    """A module imports only from the rooms below it; core touches no thread, socket or clock."""
    parts = name_of(path).split(".")
    allowed = MAY_IMPORT.get(parts[0])
    if allowed is not None:
        assert {name.split(".")[0] for name in ours(path)} - {"core"} <= allowed - {"core"}
        assert "core" in allowed or not any(name.startswith("core") for name in ours(path))
    if parts[0] == "core":
        assert not {name.split(".")[0] for name in imports(path)} & EFFECTS
        if len(parts) > 1:
            shelves = {name.split(".")[1] for name in ours(path) if name.startswith("core.")}
            assert shelves <= SHELVES[parts[1]]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_nothing_comes_from_the_top(path: Path) -> None:
    """The package's own names stand above all rooms, so only what uses the whole package imports them."""
    if name_of(path).split(".")[0] not in {"__init__", "__main__", "cli"}:
        of_the_top = {name for name in imports(path) if name.split(".")[0] == "kraken_sync"} - {
            f"kraken_sync.{name}" for name in ours(path)
        }
        within = {f"kraken_sync.{module}" for module in MODULES}
        assert {name for name in of_the_top if name.rpartition(".")[0] not in within} == set()


@pytest.mark.parametrize(("library", "home"), [("websocket", "io/transport.py"), ("requests", "io/http.py")])
def test_one_importer(library: str, home: str) -> None:
    """Each library below us is imported in one place."""
    users = {ids(path) for path in FILES if library in {n.split(".")[0] for n in imports(path)}}

    assert users <= {home}


def test_no_circles() -> None:
    """No module imports itself through others, not even lazily or for a type checker alone."""
    graph = {name_of(path): ours(path) for path in FILES if name_of(path) != "__init__"}
    seen: Set[str] = set()

    def visit(name: str, trail: Tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail, name])}"
        if name not in seen:
            for other in graph.get(name, ()):
                if other != name:
                    visit(other, (*trail, name))
            seen.add(name)

    for name in graph:
        visit(name, ())


def test_the_session_has_one_room() -> None:
    """Only ``io/connection`` takes the session's lock or reaches into the session; facades ask."""
    for path in FILES:
        parts = name_of(path).split(".")
        if parts[0] in ("core", "simulator") or parts[:2] == ["io", "connection"]:
            continue
        if parts[0] == "io":  # where a session may also be one of HTTP
            assert "core.session.session" not in ours(path)
            continue
        code = "\n".join(
            line for line in path.read_text("utf-8").splitlines() if not re.match(r"\s*(from|import) ", line)
        )
        assert not re.search(r"\bsession\.\w|\b_session\b|\broom\b|\b_room\b", code), ids(path)


def test_the_client_stands_alone() -> None:
    """Nothing but ``object`` stands above the client, and ten files or so are what one sees first."""
    assert kraken_sync.SpotWSClient.__mro__ == (kraken_sync.SpotWSClient, object)
    assert len(list(ROOT.glob("*.py"))) <= 12


def test_files_are_small() -> None:
    """One idea a file: at most 400 lines, but for the client, whose length is signatures and docstrings."""
    for path in FILES:
        if path.name != "client.py" and "simulator" not in path.parts:
            assert len(path.read_text("utf-8").splitlines()) <= 400, ids(path)
