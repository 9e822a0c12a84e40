"""A Redis server for one measurement."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .measure import Absent

PATIENCE = 10.0
"""Seconds in which it must answer."""


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a server that saves nothing, in ``folder`` and on a free port, and yield its URL.

    Raises:
        Absent: redis-py, hiredis or a server is not installed.
    """
    for module, package in (("redis", "redis-py"), ("hiredis", "hiredis")):
        if importlib.util.find_spec(module) is None:
            raise Absent(f"{package} is not installed")
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise Absent("redis-server is not installed")
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _await_answer(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


def _await_answer(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
                sock.sendall(b"PING\r\n")
                if sock.recv(100).startswith(b"+PONG"):
                    return
        except OSError:
            pass  # not yet
        assert time.monotonic() < deadline, "redis-server does not answer"
        time.sleep(0.02)
