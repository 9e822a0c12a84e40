"""The Autobahn test suite judges the transport: is it a client as RFC 6455 wants it?

``python tests/interop/autobahn.py [--python2 PATH] [--cases 1.*,2.*]``. The suite is ``wstest`` of the
package autobahntestsuite, which needs Python 2.7. It is a server that sends correct and incorrect frames, and
expects the client to echo the messages, to answer the pings, and to end the connection for what is incorrect.
Without ``--python2`` a virtualenv is made for it in a temporary folder.

Exits with 1 if a case fails that is not among :data:`EXPECTED`.
"""

from __future__ import annotations

import argparse
import glob
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from kraken_sync.errors import ConnectionLost, KrakenError
from kraken_sync.io.dial import Endpoint
from kraken_sync.io.transport import Transport

CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
"""All but those about speed and large messages (9) and about compression (12, 13), which is not asked for."""
EXPECTED = {
    "1.2.*": "a binary message is not echoed: the exchange sends none, so they are counted and dropped",
}
"""The cases that may fail, by pattern, and why."""
SUITE = "autobahntestsuite==25.10.1"
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
AGENT = "kraken_sync"
LIMIT = 15.0
"""Seconds for one case; the suite itself gives up after 10."""


class Unavailable(Exception):
    """There is no Python 2.7 here, or the suite cannot be installed."""


class Result(NamedTuple):
    """What the suite says of one case."""

    case: str
    behavior: str
    """Of the messages and pongs that it received."""
    closing: str
    """Of the way in which the connection ended."""
    why: str

    @property
    def good(self) -> bool:
        """Whether the case has passed."""
        return self.behavior in GOOD and self.closing in GOOD

    @property
    def expected(self) -> Optional[str]:
        """The reason why the case may fail, or None."""
        return next((why for pattern, why in EXPECTED.items() if fnmatchcase(self.case, pattern)), None)


# -- the client that is judged ---------------------------------------------------------------


class Client:
    """One connection, which echoes what it receives."""

    def __init__(self, url: str) -> None:
        self._transport = Transport(Endpoint(url), pinged=self._answer)

    def messages(self) -> Iterator[bytes]:
        """Connect, and yield what is received until the connection ends."""
        # The suite ends a case that comes to nothing. This is for a transport that does not notice it.
        limit = threading.Timer(LIMIT, self._transport.abort, ["the case takes too long"])
        limit.daemon = True
        limit.start()
        try:
            self._transport.connect(time.monotonic() + LIMIT)
            while True:
                yield from self._transport.receive()
        except ConnectionLost:
            return
        finally:
            limit.cancel()
            self._transport.dispose()

    def echo(self) -> None:
        """Send back what is received; a text that is no UTF-8 ends the connection instead."""
        for message in self.messages():
            try:
                str(message, "utf-8")
            except UnicodeDecodeError:
                self._transport.abort("not UTF-8")
                continue  # the next call of the transport raises
            try:
                self._alone(partial(self._transport.send, message, LIMIT))
            except ConnectionLost:
                pass

    def _answer(self) -> None:
        # In the product the watchdog's thread does this, a moment later, and of several pings it answers the
        # last one, as RFC 6455, section 5.5.3, allows. Here each is answered at once, to have each judged.
        self._alone(partial(self._transport.send_pong, LIMIT))

    def _alone(self, work: Callable[[], None]) -> None:
        self._transport.exclusively(LIMIT, work)


# -- the suite -------------------------------------------------------------------------------


def find_python2() -> str:
    """The path of a Python 2.7, from PATH or from pyenv.

    Raises:
        Unavailable: there is none.
    """
    code = "import sys; print(sys.version_info[:2] == (2, 7) and sys.executable or '')"
    root = _output("pyenv", "root")
    from_pyenv = sorted(glob.glob(f"{root}/versions/2.7.*/bin/python2.7")) if root else []
    for name in ["python2.7", "python2", *from_pyenv]:
        path = _output(name, "-c", code)
        if path:
            return path
    raise Unavailable("there is no Python 2.7, neither in PATH nor in pyenv")


def _output(*command: str) -> str:
    """What a command prints, or nothing if it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def install(folder: Path) -> str:
    """Make a virtualenv of Python 2.7 with the suite in ``folder``, and return its interpreter.

    Raises:
        Unavailable: something for it is missing, or there is no package index.
    """
    python2 = find_python2()
    tools, made = folder / "tools", folder / "python2"
    # Later releases of virtualenv do not know Python 2.7 any more.
    for command in (
        [sys.executable, "-m", "venv", str(tools)],
        [str(tools / "bin" / "pip"), "install", "-q", "virtualenv<20.22"],
        [str(tools / "bin" / "virtualenv"), "-q", "-p", python2, str(made)],
        [str(made / "bin" / "pip"), "install", "-q", SUITE],
    ):
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{error} {(getattr(error, 'stderr', '') or '')[-1000:]}") from error
    return str(made / "bin" / "python")


@contextmanager
def suite(python2: str, cases: Sequence[str], folder: Path) -> Iterator[str]:
    """Run the suite's server, which writes its report into ``folder``; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    spec = {
        "url": url,
        "outdir": str(folder),
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec), "utf-8")
    code = "from autobahntestsuite.wstest import run; run()"
    command = [python2, "-c", code, "-m", "fuzzingserver", "-s", str(folder / "spec.json"), "-u", "0"]
    with open(folder / "wstest.log", "w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            deadline = time.monotonic() + 30
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise Unavailable(
                        f"wstest does not start: {log.read().decode('utf-8', 'replace')[-1000:]}"
                    )
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def run(python2: str, cases: Sequence[str] = CASES) -> List[Result]:
    """Run the cases whose numbers match ``cases``, one after the other."""
    folder = Path(tempfile.mkdtemp(prefix="autobahn-"))
    try:
        with suite(python2, cases, folder) as url:
            for number in range(1, ask(f"{url}/getCaseCount") + 1):
                which = f"case={number}&agent={AGENT}"
                try:
                    Client(f"{url}/runCase?{which}").echo()
                except KrakenError as error:  # the report will tell that the handshake has failed
                    print(f"case {number}: {error}", file=sys.stderr)
                ask(f"{url}/getCaseStatus?{which}")  # answered when the suite, too, is done with it
            ask(f"{url}/updateReports?agent={AGENT}")
        index = json.loads((folder / "index.json").read_text("utf-8")).get(AGENT, {})
        return [_result(case, entry, folder) for case, entry in sorted(index.items(), key=_by_number)]
    finally:
        shutil.rmtree(folder)


def _by_number(item: Any) -> List[int]:
    return [int(part) for part in item[0].split(".")]


def _result(case: str, entry: Dict[str, Any], folder: Path) -> Result:
    details = json.loads((folder / entry["reportfile"]).read_text("utf-8"))
    behavior, closing = entry["behavior"], entry["behaviorClose"]
    why: List[str] = []
    if behavior not in GOOD and details["result"] != details["resultClose"]:
        why.append(f"{details['result']} Received: {details['received']!s:.100}")
    if closing not in GOOD:
        why.append(f"{details['resultClose']} (close code {entry['remoteCloseCode']})")
    return Result(case, behavior, closing, "; ".join(why))


def ask(url: str) -> Any:
    """What the suite answers to a request, or None if it only closes the connection."""
    # Not by the transport: one that is broken must get a report, too. The socket is given, because a proxy
    # that the environment names would be used otherwise.
    sock = socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 80), LIMIT)
    with connect(url, sock=sock) as asking:
        try:
            return json.loads(asking.recv(2 * LIMIT))
        except (ConnectionClosed, TimeoutError):
            return None


# -- the report ------------------------------------------------------------------------------


def report(results: Sequence[Result]) -> str:
    """What has happened, in some lines."""
    failed = [result for result in results if not result.good]
    lines = [f"{len(results)} cases, {len(results) - len(failed)} passed"]
    for what, counts in (
        ("behavior", Counter(result.behavior for result in results)),
        ("close", Counter(result.closing for result in results)),
    ):
        lines.append(f"{what}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    not_strict = [result.case for result in results if "NON-STRICT" in result[1:3]]
    if not_strict:
        lines.append(f"not strict: {', '.join(not_strict)}")
    for title, chosen in (
        ("failed, as expected", [result for result in failed if result.expected]),
        ("FAILED", unexpected(results)),
        ("passed, but expected to fail", [result for result in results if result.good and result.expected]),
    ):
        if chosen:
            lines.append(f"{title}: {len(chosen)}")
            for result in chosen:
                words = "; ".join(filter(None, [result.expected, result.why]))
                lines.append(f"  {result.case:8} {result.behavior}, close {result.closing}: {words}")
    return "\n".join(lines)


def unexpected(results: Sequence[Result]) -> List[Result]:
    """Those that have failed and are not among :data:`EXPECTED`."""
    return [result for result in results if not result.good and not result.expected]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--python2", metavar="PATH", help="a Python 2.7 that has autobahntestsuite")
    parser.add_argument("--cases", default=",".join(CASES), help="patterns, separated by commas")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            results = run(options.python2 or install(Path(folder)), options.cases.split(","))
        except Unavailable as error:
            parser.error(str(error))
    print(report(results))
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if unexpected(results) or not results else 0


if __name__ == "__main__":
    sys.exit(main())
