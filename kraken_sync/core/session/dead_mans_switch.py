"""When to renew the dead man's switch, and when to raise the alarm. Times are monotonic seconds.

Source: Kraken, "cancel_after" page: the exchange cancels all orders of the account ``timeout`` seconds after
the last ``cancel_all_orders_after``; recommended are 60 s, renewed every 15 to 30 s; 0 disarms.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from ..wire.messages import error_text
from .requests import Request


class SwitchRenewals:
    """The renewals of one switch.

    Args:
        timeout: seconds after which the exchange cancels, if not renewed.
        stuck_after: stop renewing when :meth:`feed` was not called for so long; None to renew anyway.
        armed_at: when it was armed by hand, and the owner was alive.
        on_failure: what the owner wants to be called when renewals fail; only kept here.
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
        """Why the last renewal failed; empty while all is well."""
        self.alarmed = False
        """Whether the alarm of this episode was raised."""
        self._interval = timeout / 3
        self._fed_at = self._asked_at = self._armed_at = armed_at
        self._requests: List[Request] = []
        self._failures = 0

    def feed(self, now: float) -> None:
        """The owner is alive."""
        self._fed_at = now

    def stuck(self, now: float) -> bool:
        """Whether the owner has not been heard of for too long."""
        return self.stuck_after is not None and now - self._fed_at > self.stuck_after

    def due(self, now: float) -> bool:
        """Whether a renewal should go out now."""
        if self.stuck(now):
            return False
        wait = self._interval
        if self.failure:
            wait = min(wait, 2.0 ** min(self._failures - 1, 10))
        return now - self._asked_at >= wait

    def asked(self, request: Request, now: float) -> None:
        """A renewal was sent."""
        self._requests.append(request)
        self._asked_at = now

    def armed(self, sent_at: float) -> None:
        """The exchange confirmed a renewal that was sent at ``sent_at``."""
        self._armed_at = max(sent_at, self._armed_at)
        self.failure, self.alarmed, self._failures = "", False, 0

    def look(self) -> None:
        """Take note of the replies to renewals that have come."""
        done = [request for request in self._requests if request.done]
        self._requests = [request for request in self._requests if not request.done]
        for request in done:
            if request.replies and request.replies[0].envelope.success is True:
                self.armed(request.sent_at)
                continue
            self._failures += 1
            self.failure = request.lost or error_text(request.replies[0].envelope.error)

    def left(self, now: float) -> float:
        """Seconds until the exchange cancels everything."""
        return max(0.0, self._armed_at + self.timeout - now)

    def alarm(self, now: float) -> Optional[str]:
        """What is wrong, once per episode: a third of the time before the orders go."""
        if self.alarmed or self.left(now) > self._interval:
            return None
        self.alarmed = True
        why = "its owner is stuck" if self.stuck(now) else self.failure or "renewals are not confirmed"
        return (
            f"the dead man's switch is not being renewed ({why}): the exchange cancels all orders in "
            f"{self.left(now):.0f} s"
        )
