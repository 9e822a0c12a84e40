"""Tells readers and recorders what has happened to their subscriptions, and the log."""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Sequence, Tuple

from ...core.session.events import Ended, Gap, Note, Notice, StatusChanged
from ...core.wire import messages
from ...errors import SubscriptionRefused
from ..logs import log
from ..streams import Stream
from ..walltime import wall_text
from .room import Room


class Telling:
    """What one connection has to tell.

    Args:
        room: the connection's shared state.
    """

    def __init__(self, room: Room) -> None:
        self._room = room

    def record(self, notes: Sequence[Note]) -> Sequence[Tuple[Note, List[Stream]]]:
        """Record the gaps, and return which streams are to be told what. Requires holding the lock.

        It is done in the same moment as the change of the books, so that nobody sees one without the other.
        """
        room, told = self._room, []
        # Before the loop: a key that has ended has no holders after this, and its streams are told the end.
        ended = {note.key: room.holders.forget(note.key) for note in notes if isinstance(note, Ended)}
        for note in notes:
            streams: List[Stream] = []
            if isinstance(note, Gap):
                room.gaps.append({"channel": note.key.channel, **_gap_frame(note)["data"][0]})
                room.gap_count += 1
            if isinstance(note, (Gap, Ended)):
                streams = ended[note.key] if note.key in ended else room.holders.streams(note.key)
            told.append((note, streams))
        return told

    def tell(self, told: Sequence[Tuple[Note, List[Stream]]]) -> None:
        """Tell what :meth:`record` has returned, without the lock: to streams, to the log, to recorders."""
        for note, streams in told:
            if isinstance(note, Notice):
                log.log(getattr(logging, note.level), "%s: %s", self._room.endpoint, note.text)
            elif isinstance(note, StatusChanged):
                self._room.events.tell(
                    "status", self._room.name, since=wall_text(note.at), status=note.status
                )
            elif isinstance(note, Gap):
                self._tell_gap(note, streams)
            else:
                text = f"{note.key} was ended by the exchange: {note.error}"
                log.error("%s", text)
                for stream in streams:
                    refused = {note.key.symbol: note.error}
                    stream.end(SubscriptionRefused(note.key.channel, refused, text=text), note.key)

    def _tell_gap(self, gap: Gap, streams: Sequence[Stream]) -> None:
        frame = _gap_frame(gap)
        if gap.until is not None:
            missing = gap.until - gap.since
            log.warning("%s is live again; %.1f s are missing (%s)", gap.key, missing, gap.reason)
        for stream in [*streams, *self._room.taps.streams]:
            stream.put_gap(frame)
        self.note({"note": "gap", "channel": gap.key.channel, **frame["data"][0]})

    def note(self, what: Dict[str, Any]) -> None:
        """Put a note about the connection on the tapes of recorders."""
        for tape in self._room.taps.tapes.all:
            tape.note(self._room.line, what)


def _gap_frame(gap: Gap) -> Dict[str, Any]:
    since, until = wall_text(gap.since), wall_text(gap.until)
    return messages.gap_frame(gap.key.channel, gap.key.symbol, gap.reason, since, until)
