"""When to renew the dead man's switch, and when to raise the alarm. Times are monotonic seconds.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_after: the exchange cancels
all orders of the account ``timeout`` seconds after the last ``cancel_all_orders_after`` request. It
recommends a timeout of 60 seconds, renewed every 15 to 30 seconds; a timeout of 0 disarms.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence, Set

from ..wire.announcements import Announcement
from ..wire.messages import error_text
from .requests import Request


class SwitchRenewals:
    """The renewals of one dead man's switch. Not thread-safe, except for :meth:`feed`.

    Args:
        timeout: seconds after which the exchange cancels all orders, if the switch is not renewed.
        stuck_after: seconds without a call of :meth:`feed` after which renewing stops; None to always renew.
        armed_at: when the owner armed the switch.
        on_failure: the owner's callback for failing renewals; only kept here.
    """

    def __init__(
        self,
        timeout: int,
        stuck_after: Optional[float],
        armed_at: float,
        on_failure: Optional[Callable[[str], Any]] = None,
    ) -> None:
        self.timeout = timeout
        self.stuck_after = stuck_after
        self.on_failure = on_failure
        self.failure = ""
        """Why the last renewal failed; empty if it succeeded."""
        self.alarmed = False
        """Whether the alarm has been raised since the last successful renewal."""
        self.elsewhere = False
        """Whether a renewal is under way in another way than over this session's connection."""
        self.doubtful = False
        """Whether such a renewal was not answered, so that it may arrive at the exchange at any time."""
        # A third of the timeout: with 60 s that is the middle of the recommended 15 to 30 s, and one
        # renewal may be lost without any harm.
        self._interval = timeout / 3
        self._fed_at = self._asked_at = self._armed_at = armed_at
        self._announced: Set[Announcement] = set()
        self._requests: List[Request] = []
        self._failures = 0

    def feed(self, now: float) -> None:
        """Note that the owner is alive."""
        self._fed_at = now

    def stuck(self, now: float) -> bool:
        """Return whether :meth:`feed` has not been called for more than ``stuck_after`` seconds."""
        return self.stuck_after is not None and now - self._fed_at > self.stuck_after

    def due(self, now: float) -> bool:
        """Return whether a renewal should be sent now."""
        if self.stuck(now):
            return False
        wait = self._interval
        if self.failure:
            # After a failure retry sooner (1 s, 2 s, 4 s and so on), but never later than the usual
            # interval.
            wait = min(wait, 2.0 ** min(self._failures - 1, 10))
        return now - self._asked_at >= wait

    def asked(self, request: Request, now: float) -> None:
        """Note that a renewal was sent."""
        self._requests.append(request)
        self._asked_at = now

    def asked_elsewhere(self, now: float) -> None:
        """Note that a renewal is being sent in another way than over this session's connection."""
        self._asked_at, self.elsewhere = now, True

    def ended_elsewhere(self, sent_at: float, failure: Optional[str], answered: bool) -> None:
        """Note how such a renewal ended.

        Args:
            sent_at: when it was sent.
            failure: why it failed; None if it succeeded.
            answered: whether the exchange answered; if not, it may still arrive there.
        """
        self.elsewhere, self.doubtful = False, self.doubtful or not answered
        if failure is None:
            self.armed(sent_at)
        else:
            self.failed(failure)

    def failed(self, why: str) -> None:
        """Note that a renewal failed."""
        self._failures += 1
        self.failure = why

    def armed(self, sent_at: float) -> None:
        """Note that the exchange confirmed a renewal that was sent at ``sent_at``."""
        # The exchange counts from when it received the request. Counting from the sending is earlier, so
        # the alarm errs on the safe side; max(), because confirmations may arrive out of order.
        self._armed_at = max(sent_at, self._armed_at)
        self.failure, self.alarmed, self._failures = "", False, 0

    def look(self) -> None:
        """Process the replies to renewals that have arrived."""
        done = [request for request in self._requests if request.done]
        self._requests = [request for request in self._requests if not request.done]
        for request in done:
            if request.replies and request.replies[0].envelope.success is True:
                self.armed(request.sent_at)
                continue
            self.failed(request.lost or error_text(request.replies[0].envelope.error))

    def left(self, now: float) -> float:
        """Return the seconds until the exchange cancels all orders; 0 if that time has passed."""
        return max(0.0, self._armed_at + self.timeout - now)

    def warning(self, announced: Sequence[Announcement]) -> Optional[str]:
        """Return a warning about a maintenance that is near, once for each, else None."""
        for one in announced:
            if one.concerns_orders and one.near and one not in self._announced:
                self._announced.add(one)
                return (
                    f"the exchange announces: {one}; if the dead man's switch is armed when its engine "
                    "returns, it cancels all orders; leave the block before"
                )
        return None

    def alarm(self, now: float) -> Optional[str]:
        """Return a warning when a third of the timeout is left, once until a renewal succeeds, else None."""
        if self.alarmed or self.left(now) > self._interval:
            return None
        self.alarmed = True
        why = "its owner is stuck" if self.stuck(now) else self.failure or "renewals are not confirmed"
        return (
            f"the dead man's switch is not being renewed ({why}): the exchange cancels all orders in "
            f"{self.left(now):.0f} s"
        )
