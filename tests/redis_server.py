"""A real Redis for tests: started, killed, frozen, and started again with or without its data."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from kraken_sync.shared.server import connected


class RedisServer:
    """A server of its own in ``folder``."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("there is no redis-server here")
        self.program = program
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self, *options: str) -> RedisServer:
        """Start it, and wait until it answers. It has no data, since it saves none."""
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no", "--daemonize", "no", *options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while True:
            client = connected(self.url)
            try:
                client.ping()
                return self
            except Exception:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
            finally:
                client.connection_pool.disconnect()

    def call(self, *command: Any) -> Any:
        """Send a command."""
        client = connected(self.url)
        try:
            return client.execute_command(*command)
        finally:
            client.connection_pool.disconnect()

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it without ending it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
