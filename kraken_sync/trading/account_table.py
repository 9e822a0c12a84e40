"""What ``client.orders`` and ``client.balance`` have in common: a table of the account, up to date or not."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Tuple, TypeVar

from ..core.copying import refuse_copy
from ..core.html import badge, table
from ..core.orders.tables import Diff
from ..core.session import account_views
from ..core.session.account_views import TableOf
from ..core.wire.channels import channel_params
from ..errors import AccountNotLive, KrakenError
from ..io.connection.connection import Connection
from ..io.connection.subscriptions import TABLE
from ..io.waiting import deadline_of
from ..io.walltime import wall_text

TABLE_TIMEOUT = 10.0
"""Seconds for which the first read waits for the connection, and again for the first snapshot."""
SHOW_TIMEOUT = 3.0
"""The same for a notebook that shows a table."""
Value = TypeVar("Value")
Connect = Callable[[Optional[float]], Connection]
"""Returns the private connection, opened within a timeout in seconds."""


class AccountTable(Mapping[str, Value], Generic[Value]):
    """A table of the account, up to date or not. Any thread."""

    name = ""
    channel = ""
    _table: TableOf
    __reduce__ = refuse_copy("pickle dict(...) of it, which is a value")

    def __init__(self, connect: Connect, *, stale: bool = False) -> None:
        self._connect = connect
        self._stale = stale

    def _status(self, timeout: Optional[float] = TABLE_TIMEOUT) -> account_views.TableStatus:
        return self._connect(timeout).read(partial(account_views.table_status, table_of=self._table))

    @property
    def state(self) -> str:
        """``SYNCING``, ``LIVE``, ``STALE``, ``RESYNCING`` or ``CLOSED``.

        Opens the private connection if there is none, which blocks up to 10 seconds; never blocks after that.
        """
        return self._status().state

    @property
    def diffs(self) -> List[Dict[str, Any]]:
        """What fresh snapshots have changed after something was missed, oldest first.

        Each is a dict of ``reason``, ``since`` and ``until`` (RFC 3339, UTC, by this machine's clock) and the
        ids (or assets) that ``appeared``, have ``changed``, or were ``missing`` from the snapshot. Blocks as
        :attr:`state` does.
        """
        found = self._connect(TABLE_TIMEOUT).read(partial(account_views.diffs, table_of=self._table))
        return [_diff(diff) for diff in found]

    def wait_live(self, timeout: Optional[float] = TABLE_TIMEOUT) -> None:
        """Block until the table is up to date, subscribing if that has not been done.

        Args:
            timeout: seconds, None to wait for ever.

        Raises:
            PermissionRefused: the API key lacks the permission to see it.
            AccountNotLive: it was not up to date in time.
        """
        deadline = deadline_of(timeout)
        connection = self._connect(timeout)
        self._subscribe(connection, deadline)
        if not connection.wait(partial(account_views.is_live, table_of=self._table), deadline):
            status = connection.read(partial(account_views.table_status, table_of=self._table))
            raise AccountNotLive(self.name, status.state, status.reason)

    def __repr__(self) -> str:
        try:
            read = partial(account_views.read_table, table_of=self._table, read=self._summary, stale=True)
            status, summary = self._connect(0.0).read(read)  # 0.0: a repr does not wait for a connection
            if not status.begun:
                return f"<{self.name} not read yet; wait_live() and every read fetch it>"
            return f"<{self.name} {status.state}: {summary}>"
        except Exception:
            # A repr must not raise: debuggers and notebooks call it in every state.
            return f"<{self.name}: no connection>"

    def _repr_html_(self) -> str:
        # A notebook that shows a table wants to see what is in it, so this waits for it as a first read does.
        try:
            if not self._stale and not self._status(SHOW_TIMEOUT).begun:
                self.wait_live(SHOW_TIMEOUT)
            read = partial(account_views.read_table, table_of=self._table, read=self._rows, stale=True)
            status, rows = self._connect(SHOW_TIMEOUT).read(read)
        except KrakenError as error:
            return table((self.name, badge("not there")), (), (), str(error))
        return table((self.name, badge(str(status.state))), self._columns, rows, status.reason)

    _columns: Tuple[str, ...] = ()

    @staticmethod
    @abstractmethod
    def _rows(table: Any) -> List[Tuple[Any, ...]]:
        """Return the rows of the table for notebooks; the columns are ``_columns``."""

    @staticmethod
    @abstractmethod
    def _summary(table: Any) -> str:
        """Return the size of the table in words, for the repr."""

    def _subscribe(self, connection: Connection, deadline: Optional[float]) -> None:
        wanted = channel_params({"channel": self.channel})
        if not connection.read(lambda session: account_views.is_subscribed(session, wanted)):
            connection.subscriptions.subscribe(wanted, deadline, holder=object(), kind=TABLE)

    def _read(self, read: Callable[[Any], Any]) -> Any:
        """Return ``read(table)`` once the table is up to date, or at once for a stale view.

        ``read`` must be a function of this module: it runs with the session's lock held.
        """
        question = partial(account_views.read_table, table_of=self._table, read=read, stale=self._stale)
        status, value = self._connect(TABLE_TIMEOUT).read(question)
        if self._stale or status.live:
            return value
        # A table that was up to date raises at once, since a trading loop must not wait. One that never
        # was is being read for the first time, and is waited for.
        if status.blind:
            raise AccountNotLive(self.name, status.state, status.reason)
        self.wait_live()
        return self._connect(TABLE_TIMEOUT).read(partial(question, stale=True)).value


def _diff(diff: Diff) -> Dict[str, Any]:
    return {
        "reason": diff.reason,
        "since": wall_text(diff.since),
        "until": wall_text(diff.until),
        "appeared": list(diff.appeared),
        "changed": list(diff.changed),
        "missing": list(diff.missing),
    }
