"""A recording as an exchange, in process."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from ..client import SpotWSClient
from ..recording.files import PathLike, paths_of
from ..recording.source import Source
from ..simulator.faults import Faults
from ..simulator.rest import RestServer
from ..simulator.serving import Serving
from .contents import Contents
from .exchange import ReplayedExchange
from .rest import ReplayedRest
from .server import FULL_SPEED, ReplayServer

MAX = "max"
KEY, SECRET = "REPLAY-KEY", "bm90IGEgc2VjcmV0OiBhIHJlcGxheSBoYXMgbm8gYWNjb3VudA=="


class Replay:
    """Serves recordings over the WebSocket protocol: yesterday's data for the clients of today.

    ::

        with Replay("btc.jsonl.gz", speed="max", paused=True) as day, day.client() as client:
            trades = client.trades("BTC/USD")
            day.play()
            for trade in trades:
                ...

    Its messages are the recorded ones, with their own times, digits and checksums. Who subscribes before the
    recording plays, or in its middle, gets a snapshot made for that moment. A ``book`` is served in every
    depth, with true checksums; one that is deeper than the recorded depth has no more levels than that.

    Where the recording misses something (its connection was lost, or its disk was too slow), the connections
    of the replay are closed, as the exchange's was; clients reconnect, and a client of this library tells the
    gap. ``Time`` and pings have the present time, not the recorded one. There is no account: orders and
    private channels are refused.

    The files are read once when the replay is made, to know what is in them. Needs
    ``pip install "kraken-sync[simulator]"``.

    Args:
        files: one or more recordings, in the order in which they follow one another; in any form that
            ``kraken-sync verify`` reads. A recording of others has the pace of the times in its messages.
        speed: how many times as fast as it was recorded, or ``"max"``: as fast as the slowest connection
            takes it.
        paused: begin with :meth:`play`, so that everything can be subscribed first; otherwise it begins with
            the first subscription.
        host: where to listen.
        port: WebSocket here and REST at ``port + 1``; 0 for any free ports.
        progress: called with each file before it is read.

    Raises:
        ValueError: there is no market data in the files, or ``speed`` is not valid.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        files: Union[PathLike, Sequence[PathLike]],
        *,
        speed: Union[float, str] = 1.0,
        paused: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        progress: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.files: Tuple[Path, ...] = paths_of(files)
        self.speed = _speed(speed)
        contents = Contents(Source(self.files, progress))
        self.begin: datetime = _time(contents.begin)
        """The time of the first message."""
        self.end: datetime = _time(contents.end)
        """The time of the last message."""
        self.messages = contents.messages
        """The number of messages of market data in the recording."""
        self.symbols: Tuple[str, ...] = contents.symbols
        """All symbols that were recorded."""
        self._host = host
        self._exchange = ReplayedExchange(contents)
        self._source = Source(self.files)
        self._server = ReplayServer(self._exchange, self._source, host, port, self.speed, paused)
        self._serving = Serving(self._server, host, port + 1 if port else 0, self._rest)

    # -- life --------------------------------------------------------------------------------

    def start(self) -> Replay:
        """Start serving. A replay is started once. Raises OSError if a port is taken."""
        self._serving.start()
        return self

    def stop(self, code: int = 1001) -> None:
        """Stop serving; every connection is closed with this code."""
        self._serving.stop(code)

    def _rest(self, port: int) -> RestServer:
        answers = ReplayedRest(self._exchange)
        return RestServer(self._host, port, answers, answers.private, self._server.call, Faults())

    def __enter__(self) -> Replay:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        names = ", ".join(path.name for path in self.files[:3])
        return f"<Replay {names} {self.begin:%Y-%m-%d %H:%M:%S} to {self.end:%H:%M:%S}, at {self.position}>"

    # -- the recording -----------------------------------------------------------------------

    def play(self) -> None:
        """Begin, or go on after :meth:`pause`."""
        self._server.play()

    def pause(self) -> None:
        """Let nothing more happen until :meth:`play`; connections stay up."""
        self._server.pause()

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Block until everything was sent, up to ``timeout`` seconds, and return whether it was.

        What was sent last may still be on its way to the clients. Returns at once when the replay is stopped.
        """
        self._server.over.wait(timeout)
        return self.finished

    @property
    def finished(self) -> bool:
        """Whether everything was sent."""
        return self._server.finished.is_set()

    @property
    def position(self) -> Optional[datetime]:
        """The recorded time of what was sent last; None before the first message."""
        at = self._server.position
        return _time(at) if at else None

    @property
    def errors(self) -> List[BaseException]:
        """Faults of the replay itself; there should be none."""
        return self._server.errors

    @property
    def cut(self) -> List[str]:
        """The files that were found to end in the middle, so far."""
        return list(self._source.cut)

    # -- addresses ---------------------------------------------------------------------------

    @property
    def ws_url(self) -> str:
        """Public market data."""
        return self._serving.ws_url

    @property
    def level3_ws_url(self) -> str:
        """The level3 channel."""
        return self._serving.level3_ws_url

    @property
    def auth_ws_url(self) -> str:
        """Where private connections are accepted, and every request is refused."""
        return self._serving.auth_ws_url

    @property
    def rest_url(self) -> str:
        """``Time``, ``SystemStatus``, ``AssetPairs``, ``Assets``, ``Depth``, and tokens."""
        return self._serving.rest_url

    @property
    def options(self) -> Dict[str, str]:
        """The arguments of a client that is to use this replay for everything; its key is good for level3."""
        return self._serving.options(KEY, SECRET)

    def client(self, **more: Any) -> SpotWSClient:
        """Return a client of this replay; ``more`` are further arguments, which take precedence."""
        return SpotWSClient(**{**self.options, **more})


def _speed(speed: Union[float, str]) -> float:
    if speed == MAX:
        return FULL_SPEED
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not speed > 0:
        raise ValueError(f'speed must be a number above 0, or "max", not {speed!r}')
    return float(speed)


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc)
