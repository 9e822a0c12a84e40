"""Recordings: what verifying one costs, how fast one is replayed, and what being recorded costs a client.

Three ratios, each measured in one run; compare nothing else.

* A file is verified (read, decoded, applied, checked): multiple of the time for decoding, applying and
  verifying the same frames from memory. Plain and gzip.
* A replay at full speed, in another process, is taken by a real client with a live book: share of what a bare
  websocket-client receives of the same bytes, served by a loop that does nothing but send; as it is, with its
  check of UTF-8, and without that.
* Messages a second of the simulated market without sockets.

    python benchmarks/bench_recording.py --messages 100000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

from bench_book import SYMBOL, feed
from bench_book import ours as in_memory
from bench_receive import framed, serve, stock

from kraken_sync import SpotWSClient
from kraken_sync.core.wire.record_lines import own_line
from kraken_sync.recording import verify_file
from kraken_sync.recording.files import compressor
from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

ACK = (
    b'{"method":"subscribe","result":{"channel":"book","symbol":"%s","depth":10,"snapshot":true},'
    b'"success":true,"time_in":"2026-01-05T10:00:00.000000Z","time_out":"2026-01-05T10:00:00.000001Z"}'
)


def write(path: Path, frames: List[bytes]) -> None:
    """A recording of these frames, a thousand a second."""
    made = compressor(path)
    lines = [
        own_line(1767607200 * 10**9 + number * 10**6, number * 10**6, "public 1", "rx", frame)
        for number, frame in enumerate([ACK % SYMBOL.encode(), *frames])
    ]
    path.write_bytes(made.add(b"".join(lines)) + made.end())


def verifying(path: Path, frames: List[bytes], runs: int) -> float:
    """The multiple of the time in memory; the median of pairs."""
    ratios = []
    for _ in range(runs):
        started = time.perf_counter()
        report = verify_file(path)
        whole = time.perf_counter() - started
        assert (report.verified, report.mismatched) == (len(frames), 0)
        ratios.append(whole / in_memory(frames, 10))
    return statistics.median(ratios)


def replayed(path: Path, count: int) -> float:
    """Messages a second through a real client with a live book."""
    command = [sys.executable, "-m", "kraken_sync", "replay", str(path), "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        places = json.loads(server.stdout.readline())
        with SpotWSClient(ws_url=places["ws_url"], rest_url=places["rest_url"]) as client:
            client.book(SYMBOL)  # it plays from here on
            started = time.perf_counter()
            while client.stats()["verified"] < count * 0.98:
                time.sleep(0.002)
            seconds = time.perf_counter() - started
            done = client.stats()
            assert not done["mismatched"]
        server.terminate()
    return done["verified"] / seconds


def bare(frames: List[bytes], count: int, checked: bool) -> float:
    """Messages a second of stock websocket-client, of the same frames."""
    listener = socket.create_server(("127.0.0.1", 0))
    payload = b"".join(map(framed, frames))
    server = multiprocessing.Process(target=serve, args=(listener, None, payload, 1), daemon=True)
    server.start()
    seconds = stock(f"ws://127.0.0.1:{listener.getsockname()[1]}", None, count, checked)
    server.join()
    return count / seconds


def market(events: int) -> float:
    """Events a second of the simulated market."""
    exchange = Exchange(7, 1767607200.0, Faults())
    started = time.perf_counter()
    for number in range(events // 100):
        exchange.happen(100, 1767607200.0 + number)
        exchange.publish(1767607200.0 + number)
    return events / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    frames = feed(10, options.messages)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("day.jsonl", "day.jsonl.gz"):
            write(Path(folder, name), frames)
            ratio = verifying(Path(folder, name), frames, options.runs)
            print(f"verify {name}: {ratio:.2f} times decode + apply + verify (to be: 1.5 at most)")
        runs = [
            (
                replayed(Path(folder, "day.jsonl"), len(frames)),
                *(bare(frames, len(frames), c) for c in (True, False)),
            )
            for _ in range(options.runs)
        ]
        speed, checked, unchecked = map(statistics.median, zip(*runs))
        print(
            f"replay at full speed through a client: {speed:,.0f} messages a second, {speed / checked:.2f} "
            f"of a bare receive (to be: 0.5 at least), {speed / unchecked:.2f} of one without UTF-8 check"
        )
    print(f"the simulated market: {market(options.messages) * 60:,.0f} events a minute (to be: 1,000,000)")


if __name__ == "__main__":
    main()
