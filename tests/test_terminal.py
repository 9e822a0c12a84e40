"""The live screen in real terminals (tmux): what a user sees, at any size and in bad moments."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from conftest import eventually

from kraken_sync.simulator import Simulator

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
COMMAND = [sys.executable, "-m", "kraken_sync"]
PATIENCE = 30.0


class Terminal:
    """A terminal with a shell in it."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._socket = str(folder / "tmux")
        # ENV and PS1: nothing of the user's own shell. UTF-8, so that tmux shows what a user would see.
        shell = "env -u COLUMNS -u LINES -u NO_COLOR LANG=C.UTF-8 PS1=ready: sh"
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), shell)
        self.wait_for("ready:")

    def run(self, *args: str, **environment: str) -> None:
        """Type a command of ours; its exit code is printed after it."""
        names = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        # Cleared by the terminal itself: the screen is then what the command shows, and nothing else.
        self.type(f"clear; {names} {shlex.join([*COMMAND, *args])}; echo code $?.")

    def type(self, text: str) -> None:
        """Type a line."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._tmux("send-keys", "C-c")

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def lines(self) -> List[str]:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p").split("\n")[:-1]

    def history(self) -> str:
        """What is on the screen, and what has scrolled away."""
        return self._tmux("capture-pane", "-p", "-S", "-200")

    def codes(self) -> str:
        """What is on the screen, with the codes for colours."""
        return self._tmux("capture-pane", "-p", "-e")

    def wait_for(self, pattern: str) -> str:
        """Wait until a pattern is on the screen, and return what is there."""
        eventually(lambda: re.search(pattern, "\n".join(self.lines()), re.M), pattern)
        return "\n".join(self.lines())

    def _tmux(self, *args: str) -> str:
        # Without the variable of a tmux around it.
        environment = {name: value for name, value in os.environ.items() if name != "TMUX"}
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-u", "-S", self._socket, *args],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            timeout=PATIENCE,
        )
        return done.stdout

    def close(self) -> None:
        """End everything in it."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Makes terminals."""
    opened: List[Terminal] = []

    def make(width: int, height: int = 24) -> Terminal:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        opened.append(Terminal(folder, width, height))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def running(exchange: Simulator, *args: str) -> List[str]:
    """A command against the exchange."""
    return [*args, "--ws-url", exchange.ws_url]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["book", "BTC/USD"], "bid|───"),
        (["book", "BTC/USD", "ETH/USD", "SHIB/USD"], "SHIB/USD"),
        pytest.param(["ticker", "BTC/USD", "SHIB/USD"], "last|SHIB/USD", marks=pytest.mark.slow),
        pytest.param(["ohlc", "BTC/USD", "SHIB/USD"], "close|SHIB/USD", marks=pytest.mark.slow),
        pytest.param(["trades", "BTC/USD"], "price", marks=pytest.mark.slow),
    ],
    ids=["book", "books", "ticker", "ohlc", "trades"],
)
def test_it_follows_the_size_of_the_terminal(
    args: List[str], words: str, exchange: Simulator, terminal: Callable[..., Terminal]
) -> None:
    """From 200 columns down to 30 and up again: one view, its footer at the bottom, nothing left over."""
    window = terminal(200, 40)
    window.run(*running(exchange, *args))
    for width, height in [(200, 40), (80, 24), (30, 24), (120, 12)]:
        window.resize(width, height)
        eventually(lambda height=height: "● connected" in "".join(window.lines()[height - 1 : height]))
        shown = window.wait_for(words)
        assert shown.count("● connected") == 1, "the footer of an older frame is left over"
        assert len(re.findall(r"^BTC/USD\s+LIVE", shown, re.M)) <= 1
        assert "Traceback" not in shown
    window.interrupt()
    window.wait_for(r"code 130\.")


@pytest.mark.slow
def test_a_warning_is_in_the_picture_and_stays_afterwards(
    exchange: Simulator, terminal: Callable[..., Terminal]
) -> None:
    """The exchange falls silent: the footer says it, the book is STALE, and the end prints the warning."""
    window = terminal(100)
    window.run(*running(exchange, "book", "BTC/USD"))
    window.wait_for(r"^BTC/USD\s+LIVE")
    exchange.faults.mute, exchange.faults.refuse_connections = True, 10**6
    shown = window.wait_for(r"^\d\d:\d\d:\d\d .*silent for .* reconnecting")
    assert shown.count("● ") == 1
    window.wait_for(r"^BTC/USD\s+STALE")
    exchange.faults.mute, exchange.faults.refuse_connections = False, 0
    window.wait_for(r"^BTC/USD\s+LIVE")
    window.wait_for("gap in book BTC/USD: ")
    window.interrupt()
    window.wait_for(r"code 130\.")
    shown = window.history()
    assert len(re.findall(r"WARNING .*silent for .* reconnecting", shown)) == 1
    assert re.search(r"^BTC/USD\s+LIVE", shown, re.M), "the last frame stays"


def test_a_signal_leaves_the_terminal_as_it_was(
    exchange: Simulator, terminal: Callable[..., Terminal]
) -> None:
    """SIGTERM ends the alternate screen, too; what is typed next is seen."""
    window = terminal(80)
    window.run(*running(exchange, "trades", "BTC/USD"))
    window.wait_for("● connected")
    pid = subprocess.run(["pgrep", "-f", exchange.ws_url], capture_output=True, text=True).stdout.split()[-1]
    os.kill(int(pid), 15)
    window.wait_for(r"code 130\.")
    window.type("echo typed: $((20 + 3))")
    window.wait_for("typed: 23")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_screen_begins(number: int, exchange: Simulator) -> None:
    """However early it comes, the terminal is left as it was: the usual screen, and a cursor."""
    for _ in range(5):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, *running(exchange, "trades", "BTC/USD")], stdout=slave, stderr=slave
        )
        os.close(slave)
        shown = b""
        while b"\x1b[?1049h" not in shown:
            shown += os.read(master, 1000)
        process.send_signal(number)
        while True:
            try:
                piece = os.read(master, 1000)
            except OSError:
                break
            shown += piece
        os.close(master)
        assert process.wait(20) == 130
        assert shown.rfind(b"\x1b[?1049l") > shown.rfind(b"\x1b[?1049h")
        assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
        assert b"Traceback" not in shown


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_without_colours(variable: str, exchange: Simulator, terminal: Callable[..., Terminal]) -> None:
    """NO_COLOR is a screen without colours; a dumb terminal gets lines for reading, without any code."""
    window = terminal(100, 12)
    value = {"NO_COLOR": "1", "TERM": "dumb"}[variable]
    window.run(*running(exchange, "ticker", "BTC/USD"), **{variable: value})
    window.wait_for(r"BTC/USD\s+(64|bid 64)")
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", window.codes())
    if variable == "TERM":
        assert not re.search("[{●]", "\n".join(window.lines()))


def test_counted_lines_on_a_terminal(exchange: Simulator, terminal: Callable[..., Terminal]) -> None:
    """--count is lines of text, one after the other, and an end."""
    window = terminal(100, 12)
    window.run(*running(exchange, "book", "BTC/USD", "--count", "1"))
    shown = window.wait_for(r"code 0\.")
    assert re.search(r"^BTC/USD  LIVE  bid [\d.]+ x [\d.]+  ask [\d.]+ x [\d.]+  spread [\d.]+", shown, re.M)


def test_a_dead_host_is_told_once(terminal: Callable[..., Terminal]) -> None:
    """No screen appears, one error, and the exit code of the network."""
    window = terminal(100, 12)
    window.run("book", "BTC/USD", "--ws-url", "ws://127.0.0.1:9", "--seconds", "1")
    shown = window.wait_for(r"code 3\.")
    assert shown.count("connection refused") == 1


def test_demo(terminal: Callable[..., Terminal]) -> None:
    """Every pair, a ladder, the tape; at the end the figures."""
    window = terminal(140, 40)
    window.run("demo", "--seconds", "3")
    shown = window.wait_for(r"^SHIB/USD.* LIVE")
    assert "a simulated Kraken" in shown
    assert re.search(r"^BTC/USD  LIVE  spread", shown, re.M)
    window.wait_for(r"each verified by its checksum; 0 mismatched\.")
    window.wait_for(r"code 0\.")


def any_shell(name: str) -> Any:
    """A shell to try, or a skip."""
    missing = pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
    return pytest.param(name, marks=[missing] if name == "bash" else [missing, pytest.mark.slow])


SETUP = {
    "bash": 'eval "$({command} completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u; eval "$({command} completion zsh)"',
    "fish": "{command} completion fish | source",
}
START = {"bash": "bash --norc -i", "zsh": "zsh -f -i", "fish": "fish --no-config -i"}


@pytest.mark.parametrize("shell", [any_shell(name) for name in SETUP])
def test_completion(shell: str, tmp_path: Path, terminal: Callable[..., Terminal]) -> None:
    """Commands, options and their values, by the Tab key in each shell."""
    command = tmp_path / "kraken-sync"
    command.write_text(f"#!{sys.executable}\nfrom kraken_sync.cli.main import main\nmain()\n")
    command.chmod(0o755)
    window = terminal(100, 24)
    window.type(f"HOME={tmp_path} PATH={tmp_path}:$PATH {START[shell]}")
    window.type("clear; " + SETUP[shell].format(command="kraken-sync") + "; echo set-up")
    window.wait_for("^set-up")

    def completed(typed: str, expected: str) -> None:
        window._tmux("send-keys", "-l", typed)
        window.wait_for(re.escape(typed))
        window._tmux("send-keys", "Tab")
        window.wait_for(expected)
        window._tmux("send-keys", "C-u", "C-l")

    completed("kraken-sync instr", r"kraken-sync instruments ?$")
    completed("kraken-sync book BTC/USD --dep", r"--depth ?$")
    completed("kraken-sync listen level", r"listen level3 ?$")
