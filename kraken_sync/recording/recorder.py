"""Records what a client receives and sends, raw, on a thread of its own."""

from __future__ import annotations

import atexit
import os
import time
from pathlib import Path
from typing import List, Optional

from ..client import SpotWSClient
from ..errors import KrakenError
from ..io.logs import log
from ..io.tape import LIMIT, Record, Tape
from ..io.threads import GuardedThread
from ..io.waiting import Event
from .files import PathLike
from .manifest import check_name
from .writer import Writer

ROUND = 0.1
"""Seconds between two looks at what is to be written."""
FLUSH = 1.0
"""Seconds after which what was compressed can be read in the file."""


class Recorder:
    """Records everything that a client receives and sends: every frame with its own bytes, and its times.

    ::

        with SpotWSClient() as client, Recorder(client, "btc.jsonl.gz") as recorder:
            book = client.book("BTC/USD")
            time.sleep(3600)

    The file has one JSON object a line; see the page "Recordings" of the documentation. What was subscribed
    before begins with what is known of it, so that books are verified from their first message on. Tokens are
    never in it.

    A frame is in the file about 0.1 s after it has come (1 s in a compressed file). A recorder that is killed
    leaves everything before that: readers take all whole lines, and say that the end is missing. The
    connections never wait for the disk: if it cannot follow, or is full, records are dropped once 64 MiB are
    waiting. That is logged, counted in :attr:`dropped`, and noted in the file where they are missing.

    When a file is finished, an entry with its counts, its gaps and its SHA-256 is added to the manifest
    ``NAME.manifest.jsonl`` beside it; :func:`verify_archive` checks files against it.

    Any thread may use it. Stop it by ``with`` or :meth:`close`; otherwise it stops when the interpreter ends.
    Closing the client does not close it, and a client that is started again is recorded further.

    Args:
        client: any client, before it is started or after.
        path: where; ends in ``.jsonl``, ``.jsonl.gz``, or ``.jsonl.zst`` (with ``kraken-sync[zstd]``).
        max_bytes: begin another file when this one has so many bytes. The files are then called
            ``NAME-2026-11-29-000001.jsonl``, with the day (UTC) of their first record and a number.
        daily: begin another file at midnight UTC; the files are called the same.
        private: record the private connection, too: your orders and balances are then in the file.

    Raises:
        ValueError: it has another ending, or ``max_bytes`` is not valid.
        FileExistsError: there is such a file; a recording is never overwritten.
        OSError: it cannot be written.
        ImportError: the library for ``.zst`` is missing.
        ConnectFailed: the thread cannot be started.
    """

    def __init__(
        self,
        client: SpotWSClient,
        path: PathLike,
        *,
        max_bytes: Optional[int] = None,
        daily: bool = False,
        private: bool = False,
        _limit: int = LIMIT,
    ) -> None:
        if not isinstance(client, SpotWSClient):
            raise TypeError(f"client must be a SpotWSClient, not {client!r:.80}")
        if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
            raise ValueError(f"max_bytes must be a number of bytes, 1 or more, not {max_bytes!r}")
        check_name(Path(path))
        self.path = Path(path).absolute()  # the working directory may change
        self.error: Optional[BaseException] = None
        """Why nothing can be written at the moment, or None."""
        self._pid = os.getpid()
        self._closed = False
        self._runtime = client._ks_runtime
        self._tape = Tape(private, _limit)
        self._waiting: List[Record] = []
        self._stop, self._thread = Event(), GuardedThread("recorder", self._run, self._died)
        self._writer = Writer(self.path, max_bytes, daily, self._tell_state)
        self._runtime.tapes.add(self._tape)
        self._tell_state()
        try:
            self._thread.begin()
        except BaseException:
            self._detach()
            self._writer.abandon()
            raise
        atexit.register(self.close)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "recording"
        if self.error is not None:
            state = f"failing: {self.error}"
        return f"<Recorder {self.path} {state}, {self.records} records, {self.dropped} dropped>"

    @property
    def files(self) -> List[Path]:
        """The files so far, oldest first."""
        return list(self._writer.files)

    @property
    def records(self) -> int:
        """The number of records in all files so far."""
        return self._writer.records

    @property
    def book_messages(self) -> int:
        """The number of messages of books in all files that are finished."""
        return self._writer.book_messages

    @property
    def dropped(self) -> int:
        """The number of records that are missing because the disk was too slow, or full."""
        return self._tape.dropped

    def close(self, timeout: float = 10.0) -> None:
        """Write what is left, and finish the file. Blocks up to ``timeout`` seconds.

        Closing again has no effect.

        Raises:
            OSError: the rest could not be written.
        """
        if self._closed or os.getpid() != self._pid:
            return  # a forked child has neither the thread nor the records
        self._closed = True
        atexit.unregister(self.close)
        self._detach()
        self._stop.set()
        self._thread.finish(timeout)
        if self._thread.is_alive():
            raise OSError(f"{self.path}: the rest could not be written within {timeout:g} s")
        if self.error is not None:
            raise OSError(f"{self.path}: the rest could not be written: {self.error}") from self.error

    def _detach(self) -> None:
        self._runtime.tapes.remove(self._tape)

    def _tell_state(self) -> None:
        try:
            for connection in self._runtime.connections:
                connection.tell_state(self._tape)
        except KrakenError:
            pass  # the client was closed meanwhile

    # -- the recorder's thread ---------------------------------------------------------------

    def _run(self) -> None:
        flushed = time.monotonic()
        stopping = False
        while not stopping:
            stopping = self._stop.wait(ROUND)
            try:
                # While nothing can be written, nothing is taken from the tape, which is bounded.
                if self.error is None or stopping:
                    self._take()
                self._writer.write(self._waiting)
                if time.monotonic() - flushed >= FLUSH:
                    flushed = time.monotonic()
                    self._writer.flush()
                if stopping:
                    self._writer.end()
                if self.error is not None:
                    log.warning("%s: the recording goes on", self.path)
                self.error = None
            except OSError as error:
                if self.error is None:
                    log.error("%s: the recording cannot be written: %s", self.path, error)
                self.error = error
        if self.error is not None:
            self._writer.abandon()

    def _take(self) -> None:
        records, lost = self._tape.take()
        self._waiting += records
        if lost:
            log.error(
                "%s: the disk cannot follow; %d records are missing, and the file notes where",
                self.path,
                lost,
            )
            self._tell_state()  # so that books can be verified again after the hole

    def _died(self, error: BaseException) -> None:
        self.error = error
        self._detach()
        log.critical("a fault of kraken_sync itself, a recorder has died: %r", error, error=error)
