"""The subcommands that show the account. They read only. Their docstrings are the texts of ``--help``."""

from __future__ import annotations

from decimal import Decimal
from shutil import get_terminal_size
from typing import Any, Dict, List, Sequence

import click

from ..core.orders.order import Order
from ..core.wire.numbers import EXACT
from .feed import Feed, connection_options, feed_options, form_options, running
from .lines import COLUMNS, LIVE, TEXT, aligned, print_text
from .loops import print_items


def _once(command: Any) -> Any:
    return click.command()(connection_options(form_options(command)))


@_once
def balances(**options: Any) -> None:
    """The account's balances, with what open orders hold.

    \b
    KRAKEN_API_KEY=... KRAKEN_API_SECRET=... kraken-sync balances
    kraken-sync balances --csv > balances.csv

    The key needs the permissions "WebSocket interface", "Funds - Query" and "Query open orders & trades".
    """
    with running(options, start=False) as feed:
        feed.client.balance.wait_live(feed.timeout)
        feed.connected()
        total, held = feed.client.balance.total, feed.client.balance.held
        rows = [
            {
                "asset": asset,
                "balance": total.get(asset),
                "held": held.get(asset, 0),
                "available": EXACT.subtract(total[asset], held.get(asset, Decimal(0))),
            }
            for asset in sorted(total)
        ]
        _table(feed, "balance", rows, "the account is empty")


@_once
def orders(**options: Any) -> None:
    """The account's open orders.

    \b
    KRAKEN_API_KEY=... KRAKEN_API_SECRET=... kraken-sync orders
    kraken-sync orders --json | jq -r .order_id

    The key needs the permissions "WebSocket interface" and "Query open orders & trades".
    """
    with running(options, start=False) as feed:
        feed.client.orders.wait_live(feed.timeout)
        feed.connected()
        rows = [_order(one) for one in feed.client.orders.open.values()]
        _table(feed, "orders", rows, "no order is open")


def _order(order: Order) -> Dict[str, Any]:
    return {
        "order_id": order.order_id,
        "cl_ord_id": order.cl_ord_id,
        "symbol": order.symbol,
        "side": order.side,
        "order_type": order.order_type,
        "order_qty": order.qty,
        "cum_qty": order.filled,
        "limit_price": order.limit_price,
        "order_status": order.status,
        "timestamp": order.updated,
    }


def _table(feed: Feed, channel: str, rows: List[Dict[str, Any]], none: str) -> None:
    columns: Sequence[str] = COLUMNS[channel]
    if feed.form not in (TEXT, LIVE):
        printed = feed.lines(channel, gaps=False)
        for row in rows:
            printed.item(row)
        return
    shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
    for line in aligned(shown, rows, get_terminal_size().columns) if rows else [none]:
        print_text(line)


@click.command()
@click.option("--snapshot", is_flag=True, help="Begin with the open orders and the last 50 trades.")
@feed_options
def executions(snapshot: bool, **options: Any) -> None:
    """The account's orders and fills as they happen.

    \b
    KRAKEN_API_KEY=... KRAKEN_API_SECRET=... kraken-sync executions
    kraken-sync executions --csv >> fills.csv

    The key needs the permissions "WebSocket interface" and "Query open orders & trades".
    """
    with running(options, start=False) as feed:
        stream = feed.client.executions(
            gaps=True, snap_orders=snapshot, snap_trades=snapshot, timeout=feed.timeout
        )
        feed.connected()
        if feed.form == LIVE:
            feed.form = TEXT  # a log of what happened is read from top to bottom
            click.echo("waiting for orders and fills; Ctrl-C ends", err=True)
        print_items(feed, stream, "executions")
