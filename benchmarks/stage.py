"""What the rows share in one run: options, feeds, certificates, and processes for servers and clients."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from .feed import Market
from .measure import Absent, last_json

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0
"""Seconds after which a client process is given up."""


@dataclass(frozen=True)
class Venue:
    """Where a stand-in for the exchange serves."""

    ws: str
    rest: str


class Process:
    """A client process that is told when to go on, and reports more than once."""

    def __init__(self, module: str, popen: subprocess.Popen[str]) -> None:
        self._module, self._popen = module, popen

    def tell(self) -> None:
        """Have it go on."""
        assert self._popen.stdin is not None
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()

    def hear(self) -> Dict[str, Any]:
        """Wait for its next report. Raises RuntimeError if it has ended instead."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} has failed; see above")
        return last_json(line)


class Stage:
    """One run of the program.

    Args:
        folder: for temporary files.
        rounds: how many times everything is measured.
        scale: by what the numbers of messages are multiplied.
        smoke: whether it is only to be shown that everything runs.
    """

    def __init__(self, folder: Path, rounds: int = 5, scale: float = 1.0, smoke: bool = False) -> None:
        self.folder, self.rounds, self.scale, self.smoke = folder, rounds, scale, smoke
        self._feeds: Dict[int, Tuple[Market, List[bytes]]] = {}
        self._numbers = itertools.count()

    def count(self, usual: int, fewest: int = 50) -> int:
        """A number of messages, scaled."""
        return max(fewest, int(usual * self.scale))

    def seconds(self, usual: float) -> float:
        """A duration, which is only shortened for a smoke test."""
        return usual if not self.smoke else min(usual, 0.5)

    def feed(self, depth: int, updates: int) -> List[bytes]:
        """A snapshot and so many updates."""
        if depth not in self._feeds:
            market = Market(depth)
            self._feeds[depth] = market, [market.snapshot()]
        market, frames = self._feeds[depth]
        frames += [market.update(number) for number in range(len(frames), updates + 1)]
        return frames[: updates + 1]

    def path(self, name: str) -> Path:
        """The path of a new temporary file."""
        return self.folder / f"{next(self._numbers)}-{name}"

    @property
    def authority(self) -> Path:
        """The certificate to trust. Raises Absent without trustme."""
        ca = self.folder / "ca.pem"
        if not ca.exists():
            if importlib.util.find_spec("trustme") is None:
                raise Absent("trustme is not installed")
            import trustme

            made = trustme.CA()
            made.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
                str(self.folder / "server.pem")
            )
            made.cert_pem.write_to_path(str(ca))
        return ca

    @contextmanager
    def venue(self, frames: Sequence[bytes] = (), tls: bool = True, **options: Any) -> Iterator[Venue]:
        """Serve a feed, in a process of its own; see the options of :mod:`benchmarks.venue`."""
        command = [sys.executable, "-m", "benchmarks.venue"]
        if tls:
            command += ["--cert", str(self.authority.with_name("server.pem"))]
        if frames:
            path = self.path("feed.jsonl")
            path.write_bytes(b"\n".join(frames))
            command += ["--feed", str(path)]
        for name, value in options.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            command += [f"--{name}", *map(str, values)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        ) as server:
            try:
                assert server.stdout is not None
                places = json.loads(server.stdout.readline())
                yield Venue(places["ws"], places["rest"])
            finally:
                server.kill()

    def client(self, name: str, venue: Venue, **options: Any) -> Dict[str, Any]:
        """Run ``benchmarks.clients.<name>``, and return what it reports."""
        command = ["--url", venue.ws, "--ca", str(self.authority)]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        return self.python(f"benchmarks.clients.{name}", *command)

    @contextmanager
    def process(self, name: str, url: str, **options: Any) -> Iterator[Process]:
        """Run ``benchmarks.clients.<name>`` at the same time as others; it is killed in the end."""
        command = [sys.executable, "-m", f"benchmarks.clients.{name}"]
        command += ["--url", url, "--ca", str(self.authority)]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        ) as process:
            try:
                yield Process(name, process)
            finally:
                process.kill()

    def peer(self, package: str, name: str, venue: Venue, **options: Any) -> Dict[str, Any]:
        """As :meth:`client`, for a peer. Raises Absent if it is not installed, or fails."""
        if importlib.util.find_spec(package) is None:
            raise Absent("not installed")
        try:
            return self.client(name, venue, **options)
        except RuntimeError as error:
            raise Absent(f"failed: {str(error).strip().splitlines()[-1]:.100}") from error

    def python(self, module: str, *arguments: str) -> Dict[str, Any]:
        """Run a module of this package in a new process. Raises RuntimeError if it fails."""
        command = [sys.executable, "-m", module, *arguments]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{module} took longer than {PATIENCE:g} s") from None
        if done.returncode:
            raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
        return last_json(done.stdout)


def awaited(path: Path) -> Any:
    """The JSON in a file that another process is about to write."""
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)
    return json.loads(path.read_text())
