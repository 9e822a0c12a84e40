"""Who may import what: core decides, io acts, facades on top, the simulator on its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kraken_sync

ROOT = Path(kraken_sync.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FACADES = {"client", "orderbook_client"}
MAY_USE_FACADES = {"__init__", "__main__", "cli", "commands", "testing", "notebook", "orderbook_client"}
EFFECTS = {"threading", "socket", "queue", "time", "select", "ssl", "os", "websocket", "requests", "asyncio"}


def imports(path: Path) -> set:
    """Absolute dotted names of everything a file imports, lazily or not."""
    package = ("kraken_sync", *path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            found.update(f"{module}.{name.name}" for name in node.names)
            found.add(module)
    return found


def ours(path: Path) -> set:
    """The parts of our package that a file imports, without the package's name."""
    return {name[len("kraken_sync.") :] for name in imports(path) if name.startswith("kraken_sync.")}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_layers(path: Path) -> None:
    """A module imports only from the layers below it."""
    top, inner = path.relative_to(ROOT).parts[0], ours(path)
    parts = {name.split(".")[0] for name in inner}
    if top == "core":
        assert parts <= {"core", "errors"}
        assert not {name.split(".")[0] for name in imports(path)} & EFFECTS
    elif top == "io":
        assert parts <= {"core", "errors", "io"}
    elif top == "simulator":
        assert parts <= {"simulator"}
    elif path.stem not in MAY_USE_FACADES:
        assert not parts & FACADES
        assert "simulator" not in parts


@pytest.mark.parametrize(("library", "home"), [("websocket", "io/transport.py"), ("requests", "io/http.py")])
def test_one_importer(library: str, home: str) -> None:
    """Each library below us is imported in one place."""
    users = {ids(path) for path in FILES if library in {n.split(".")[0] for n in imports(path)}}

    assert users <= {home}


def test_no_circles() -> None:
    """The imports at the top of our modules have no circle."""
    graph = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")
        tree = ast.parse(path.read_text("utf-8"))
        tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        found = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1] if package else []
                module = ".".join([*base, *filter(None, [node.module])])
                found.update(f"{module}.{alias.name}".lstrip(".") for alias in node.names)
                found.update([module] if node.module else [])
        graph[name] = found
    seen: dict = {}

    def visit(name: str, trail: tuple) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail, name])}"
        if name in graph and name not in seen:
            for other in graph[name]:
                if other in graph and other != name:
                    visit(other, (*trail, name))
            seen[name] = True

    for name in graph:
        if name != "__init__":
            visit(name, ())
