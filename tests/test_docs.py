"""The documents are true: examples run, and every name and command is described."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import kraken_sync
from kraken_sync.cli.group import group
from kraken_sync.simulator import Simulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.rst").read_text("utf-8")
DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.rst")}


def test_readme_example() -> None:
    """The ten lines of the README run as they stand and print what stands below them."""
    code = textwrap.dedent(re.findall(r"code-block:: python\n\n((?:    .*\n|\n)+)", README)[0])
    printed = textwrap.dedent(re.findall(r"They print::\n\n((?:    .*\n)+)", README)[0])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40)

    assert (done.stdout, done.stderr) == (printed, "")
    assert len([line for line in code.splitlines() if line.strip()]) == 10


def test_readme_is_plain() -> None:
    """PyPI renders no Sphinx directives or roles; the first screen has the two commands."""
    assert not re.search(r":(?:class|func|meth|ref|doc):`", README)
    assert set(re.findall(r"^\.\. ([a-z-]+)::", README, re.M)) <= {"code-block"}
    screen = "\n".join(README.splitlines()[:20])
    assert "kraken-sync demo" in screen
    assert "pytest" in screen


@pytest.mark.parametrize("name", [name for name in kraken_sync.__all__ if not name.startswith("_")])
def test_every_name_is_described(name: str) -> None:
    """Every public name appears in the documents."""
    described = {
        "Level": "best_bid",
        "BookSnapshot": "snapshot()",
        "BookState": "RESYNCING",
        "WSState": "client.state",
    }

    assert described.get(name, name) in README + "".join(DOCS.values())


@pytest.mark.parametrize("command", sorted(group.commands))
def test_every_command_is_described(command: str) -> None:
    """Every command and option appears on the command's page."""
    assert f"``{command}" in DOCS["cli.rst"]
    for parameter in group.commands[command].params:
        for option in parameter.opts:
            if option.startswith("--") and option not in ("--verbose", "--help"):
                assert option in DOCS["cli.rst"], option


def test_every_page_is_linked() -> None:
    """No page is lost."""
    assert {name for name in DOCS if name != "index.rst"} == set(
        re.findall(r"<([a-z-]+\.rst)>", DOCS["index.rst"])
    )


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("ticker", ["BTC/USD", "--count", "2"], "bid"),
        ("order_book", ["BTC/USD", "--count", "3"], "to buy 1 at once"),
        ("trades_to_csv", ["OUT", "BTC/USD", "--count", "20"], ""),
        ("callback", ["BTC/USD", "--count", "5"], "trade_id"),
        ("survive_disconnect", None, "generation 2, after a gap"),
    ],
)
def test_examples(name: str, args: list, words: str, tmp_path: Path) -> None:
    """Each example runs against the simulator."""
    with Simulator(rate=500) as exchange:
        out = str(tmp_path / "out.csv")
        where = (
            []
            if args is None
            else [out if one == "OUT" else one for one in args] + ["--url", exchange.ws_url]
        )
        command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout
    if name == "trades_to_csv":
        assert len(Path(out).read_text("utf-8").splitlines()) == 21


def test_tables_are_made_from_the_code() -> None:
    """The states of a subscription and the order of locks stand in the documents as they are."""
    made = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    for (page, name), make in made["TABLES"].items():
        assert make() in DOCS[page], "run: python docs/tables.py"
        assert made["placed"](DOCS[page], name, make()) == DOCS[page]
