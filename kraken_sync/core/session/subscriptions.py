"""What callers want of channels: to subscribe, unsubscribe, share a subscription, or release it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Set

from ..book.sync import BookSync
from ..freshness import BookState
from ..orders.tables import Account
from ..wire.channels import LEVEL3_SYMBOLS, ChannelParams, Key
from ..wire.messages import encode
from .entry import BOOKS, Entry, PendingAck
from .registry import Registry

AT_ONCE = float("-inf")  # a time before every other, for Entry.renew()


def keys_of_level3(entries: Mapping[Key, Entry]) -> Set[Key]:
    """Return the keys of the level3 subscriptions that are wanted."""
    return {key for key, entry in entries.items() if key.channel == "level3" and not entry.leaving}


class Subscriptions:
    """What callers want, written into the registry. Every method requires holding the session's lock.

    Args:
        registry: the existing subscriptions.
        account: the tables that private subscriptions feed.
        private: whether this is a private connection, which feeds those tables.
        check_free: raises if a caller's ``req_id`` is in use.
        proven_at: when the state of the connection was last proven (monotonic seconds).
        lock_held: tells whether the session's lock is held; asserted by every method.
    """

    def __init__(
        self,
        registry: Registry,
        account: Account,
        private: bool,
        check_free: Callable[[int], None],
        proven_at: Callable[[], float],
        lock_held: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._account = account
        self._private = private
        self._check_free = check_free
        self._proven_at = proven_at
        self._lock_held = lock_held

    def subscribe(
        self, wanted: ChannelParams, req_id: Optional[int] = None, *, raw: bool = True
    ) -> PendingAck:
        """Want everything in ``wanted``, or nothing if something conflicts. Requires holding the lock.

        ``raw`` says that the caller wants the frames, with exactly these parameters. Conflicts are in the
        result's ``refused``.
        """
        assert self._lock_held()
        if req_id is not None:
            self._check_free(req_id)
        # All conflicts are found before anything is wanted, so that a refused call leaves nothing behind.
        entries, keys = self._registry.entries, wanted.keys()
        pending = PendingAck(keys)
        for key in keys:
            there = entries.get(key)
            conflict = (
                self._registry.conflict(key, wanted) if raw and there and self._fixed(there, wanted) else None
            )
            if conflict is not None:
                pending.refused[key.symbol] = conflict
        if keys[0].channel == "level3" and len(keys_of_level3(entries) | set(keys)) > LEVEL3_SYMBOLS:
            pending.refuse_all(None, f"the exchange takes {LEVEL3_SYMBOLS} level3 symbols per connection")
        if pending.refused:
            pending.waiting.clear()
            return pending
        for key in keys:
            fresh = key not in entries
            entry = self._registry.want(wanted, key, pending, req_id)
            if raw and entry.internal and not fresh and not entry.leaving:
                self._take_over(entry, wanted, pending, req_id)
            entry.raw, entry.internal = entry.raw or raw, entry.internal and not raw
            if self._private and entry.table is None and not entry.live:
                entry.table = self._account.table(key.channel, entry.params)
            # Even if another caller has subscribed without one: the table of symbols needs the snapshot, and
            # without it no book can be verified.
            if (key.channel == "instrument" or key.channel in BOOKS) and wanted.params.get("snapshot"):
                self._need_snapshot(entry, pending)
        return pending

    def _fixed(self, entry: Entry, wanted: ChannelParams) -> bool:
        """Return whether a subscription cannot get other parameters for a caller that wants the frames.

        One that only feeds tables or books can, but a book must not become smaller than its readers want.
        """
        if not entry.internal or entry.leaving:
            return True
        depth = entry.wanted_params.get("depth", 0) if entry.sync is not None else 0
        return bool(depth > wanted.params.get("depth", depth))

    def _take_over(
        self, entry: Entry, wanted: ChannelParams, pending: PendingAck, req_id: Optional[int]
    ) -> None:
        """Subscribe again, with the caller's parameters, what has only fed a table so far."""
        if entry.sync is not None:
            if entry.wanted_params["depth"] < wanted.params["depth"]:
                self._deepen(entry, wanted, pending)
            return  # otherwise a book's frames are the same for every subscriber
        if entry.table is not None:
            entry.table.leave(BookState.RESYNCING, "being subscribed anew", self._proven_at())
            if self._account.table(entry.key.channel, wanted.params) is None:
                reason = "subscribed with parameters that leave something out"
                entry.table.drop(reason, self._proven_at())
                entry.table = None
        self._wait_for_renewal(entry, pending)
        # The caller's req_id is for the subscribe. If that is still to be sent, it takes the id; otherwise an
        # unsubscribe comes first, under an id of ours.
        not_sent_yet = entry.due_method == "subscribe" and not entry.takes_data
        if not_sent_yet:
            entry.first_id = req_id
        else:
            entry.next_id = req_id
        entry.renew(AT_ONCE, wanted.params)

    def _need_snapshot(self, entry: Entry, pending: PendingAck) -> None:
        """Subscribe again if the existing subscription has no snapshot, for a caller that needs one."""
        if entry.leaving or entry.wanted_params.get("snapshot"):
            return
        self._wait_for_renewal(entry, pending)
        entry.renew(AT_ONCE, {**entry.wanted_params, "snapshot": True})

    def _wait_for_renewal(self, entry: Entry, pending: PendingAck) -> None:
        if entry.live:  # Registry.want() has settled it, but this caller needs the renewal's answer
            pending.waiting.add(entry.key)
            entry.pending.append(pending)

    def subscribe_book(self, wanted: ChannelParams) -> PendingAck:
        """Want a book of at least the given depth; a smaller book of the library is replaced. Requires the
        lock.
        """
        assert self._lock_held()
        # One symbol has one depth per connection: book messages do not name theirs, so two could not be told
        # apart. Facades cut a deeper book to what was asked for.
        key, depth = wanted.keys()[0], wanted.params["depth"]
        entry = self._registry.entries.get(key)
        # An entry that is leaving comes back with the new parameters, so its old ones do not matter.
        if entry is not None and entry.leaving:
            entry = None
        there: Dict[str, Any] = {} if entry is None else dict(entry.wanted_params)
        if entry is not None and entry.raw and (entry.sync is None or there["depth"] < depth):
            how = f"at depth {there['depth']}" if entry.sync else "without a snapshot"
            return PendingAck([]).refuse_all(
                key.symbol,
                f"its frames are subscribed already, {how}; unsubscribe that first, or use a second client",
            )
        pending = self.subscribe(wanted, raw=False)
        if entry is not None and entry.sync is not None and there["depth"] < depth:
            self._deepen(entry, wanted, pending)
        return pending

    def _deepen(self, entry: Entry, wanted: ChannelParams, pending: PendingAck) -> None:
        """Subscribe a book again with a larger depth."""
        assert entry.sync is not None
        depth = wanted.params["depth"]
        self._wait_for_renewal(entry, pending)
        entry.sync.leave(BookState.RESYNCING, f"changing to depth {depth}", self._proven_at())
        entry.lapse(self._proven_at(), f"changed to depth {depth}")
        entry.renew(AT_ONCE, wanted.params)

    def subscribe_table(self, wanted: ChannelParams) -> PendingAck:
        """Want one of the account's tables. Requires holding the lock."""
        assert self._lock_held()
        entry = self._registry.entries.get(wanted.keys()[0])
        if entry is not None and entry.table is None and not entry.leaving:
            return PendingAck([]).refuse_all(
                None,
                "its frames are subscribed with parameters that leave something out of the account; "
                "unsubscribe that first, or use a second client",
            )
        return self.subscribe(wanted, raw=False)

    def unsubscribe(self, keys: List[Key], req_id: Optional[int] = None) -> PendingAck:
        """Stop wanting ``keys``, all of which must be wanted. Requires holding the lock."""
        assert self._lock_held()
        if req_id is not None:
            self._check_free(req_id)
        entries = self._registry.entries
        missing = [key for key in keys if key not in entries]
        pending = PendingAck(keys if not missing else [], leaving=True)
        for key in missing:
            pending.refused[key.symbol] = "Subscription Not Found (this client is not subscribed to it)"
        if not missing:
            for key in keys:
                entry = entries[key]
                self._registry.unwant(key, pending, self._proven_at())
                entry.first_id = req_id
        return pending

    def release(self, key: Key, *, held: bool, frames: bool) -> None:
        """Note that one holder of ``key`` has gone. Requires holding the lock.

        Args:
            key: what it held.
            held: whether other holders remain.
            frames: whether one of them reads its frames.
        """
        assert self._lock_held()
        entry = self._registry.entries.get(key)
        if entry is None:
            return
        if not held:
            self._registry.unwant(key, None, self._proven_at())
        entry.raw = entry.raw and frames  # without a reader of frames, the library may change the depth

    def limit_age(self, key: Key, max_age: Optional[float]) -> None:
        """Subscribe anew whenever the data of ``key`` are older than this, in seconds. Requires the lock."""
        assert self._lock_held()
        entry = self._registry.entries.get(key)
        if entry is not None:
            entry.max_age = max_age

    def abandon(self, pending: PendingAck) -> None:
        """Remove ``pending`` from all entries, because its caller has given up. Requires holding the lock."""
        assert self._lock_held()
        for entry in self._registry.entries.values():
            if pending in entry.pending:
                entry.pending.remove(pending)

    def book(self, key: Key) -> Optional[BookSync[Any]]:
        """Return the book that ``key`` feeds, if it is wanted. Requires holding the lock."""
        assert self._lock_held()
        entry = self._registry.entries.get(key)
        return entry.sync if entry is not None else None

    def primer(self, key: Key, wanted: ChannelParams) -> List[bytes]:
        """Return the frames that bring a further reader of a live subscription up to date.

        The list is empty if the reader does not want a snapshot. Requires holding the lock.
        """
        assert self._lock_held()
        entry = self._registry.entries.get(key)
        if entry is None or not entry.live or wanted.params.get("snapshot") is False:
            return []
        if entry.sync is not None:
            # The exchange sends no second snapshot for the same subscription, so it is made from the book.
            return [entry.sync.book.snapshot_frame()] if entry.sync.live else []
        if entry.table is not None:
            fills = bool(entry.params.get("snap_trades"))
            return [self._account.snapshot_frame(key.channel, fills)] if entry.table.live else []
        return entry.priming()

    def state(self, key: Key) -> List[bytes]:
        """Return what a recording that begins now has to know of a subscription: its acknowledgement, and the
        frames that bring a reader up to date. Requires holding the lock.
        """
        entry = self._registry.entries.get(key)
        if entry is None or not entry.live:
            return []
        channel: Dict[str, Any] = {"channel": key.channel}
        symbol = {"symbol": key.symbol} if key.symbol is not None else {}
        result = {
            **channel,
            **{name: value for name, value in entry.params.items() if name != "token"},
            **symbol,
        }
        ack = encode({"method": "subscribe", "result": result, "success": True})
        return [ack, *self.primer(key, ChannelParams(entry.channel, None, {}))]

    def unheld(self, keys: List[Key], held: Callable[[Key], bool]) -> List[Key]:
        """Return those of ``keys`` that are wanted although nobody holds them. Requires holding the lock."""
        assert self._lock_held()
        entries = self._registry.entries
        return [key for key in keys if key in entries and not entries[key].leaving and not held(key)]
