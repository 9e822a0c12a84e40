"""What a paper client subscribes to."""

from __future__ import annotations

from typing import Optional

from ..core.wire.channels import ChannelParams
from ..errors import KrakenError
from ..io.connection.connection import Connection
from ..market.data import MarketData


class PaperData(MarketData):
    """The data of a real market, and of the paper account."""

    def connection_of(self, wanted: ChannelParams, deadline: Optional[float]) -> Connection:
        """Return the connection that a subscription belongs to; blocks until it is up.

        Raises:
            KrakenError: it is ``level3``.
        """
        if wanted.channel.name == "level3":
            raise KrakenError(
                "a PaperClient has no level3: the paper exchange knows how much stands at a price, and not "
                "in how many orders"
            )
        return super().connection_of(wanted, deadline)
