"""Blocking calls over a line: subscribe, unsubscribe, request. Each ends with what happened."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Callable, Mapping, Optional, Sequence

from ...core.session.registry import Call
from ...core.session.requests import Reply, Request
from ...core.wire import messages
from ...core.wire.channels import Ask, Key
from ...errors import ConnectionLost, ReplyTimeout, SubscriptionRefused
from ..deadline import lock_timeout
from ..streams import Stream
from ..transport import Transport
from .line import Line

FRAMES, BOOK, TABLE, LOOKUP = "frames", "book", "table", "lookup"
"""What a subscription may be for."""


class Connection(Line):
    """A line, with the calls that callers wait for. Any thread."""

    def subscribe(
        self,
        ask: Ask,
        deadline: Optional[float],
        *,
        stream: Optional[Stream] = None,
        holder: object = None,
        kind: str = FRAMES,
        req_id: Optional[int] = None,
    ) -> Call:
        """Subscribe and wait for every symbol's answer. All or nothing.

        ``stream`` gets the frames. ``holder``, an object of the caller's own, holds the subscription
        without a stream, until it is given to :meth:`release`. ``kind`` tells what is wished for.

        Raises:
            SubscriptionRefused: naming each refused symbol; what was added is undone.
            ReplyTimeout: no answer in time; what was added is undone.
        """
        keys = ask.keys()
        with self.changed:
            self.check_usable()
            wishes = self.session.registry.wishes
            spare = [
                key
                for key in keys
                if key in wishes and not wishes[key].leaves_for_good and not self._holds.any(key)
            ]
            if kind == BOOK:
                call = self.session.subscribe_book(ask)
            elif kind == TABLE:
                call = self.session.subscribe_table(ask)
            else:
                call = self.session.subscribe(ask, req_id, raw=kind == FRAMES)
            if not call.refused:
                if stream is not None:
                    frames = [frame for key in keys for frame in self.session.primer(key, ask)]
                    stream.prime(dict.fromkeys(frames))
                for key in keys:
                    self._holds.add(key, stream, holder)
        if call.refused:
            raise SubscriptionRefused(ask.channel.name, call.refused, req_id=req_id)
        try:
            self._pump_and_wait(call, deadline, f"subscribe to {ask.channel.name}")
            if call.refused:
                raise SubscriptionRefused(ask.channel.name, call.refused, req_id=req_id)
        except BaseException:
            with self.changed:
                self.session.abandon(call)
            self.release(keys, stream, holder, spare=spare)
            raise
        return call

    def unsubscribe(self, ask: Ask, deadline: Optional[float], req_id: Optional[int] = None) -> Call:
        """End subscriptions for everybody, and wait for the exchange to confirm.

        Raises:
            SubscriptionRefused: something in it is not subscribed; nothing was changed.
            ReplyTimeout: no confirmation in time; it stays unsubscribed here.
        """
        keys = ask.keys()
        with self.changed:
            self.check_usable()
            call = self.session.unsubscribe(keys, req_id)
            ended = [] if call.refused else [s for key in keys for s in self._holds.forget(key)]
            self.changed.notify_all()
        if call.refused:
            raise SubscriptionRefused(ask.channel.name, call.refused, method="unsubscribe", req_id=req_id)
        for key in keys:
            for stream in ended:
                stream.end(None, key)
        self._pump_and_wait(call, deadline, f"unsubscribe from {ask.channel.name}")
        return call

    def release(
        self, keys: Sequence[Key], stream: Optional[Stream], holder: object, spare: Sequence[Key] = ()
    ) -> None:
        """A stream, and ``holder``, hold ``keys`` no more.

        What nobody holds is unsubscribed, but for ``spare``. Does not block.
        """
        if self.closed:
            return
        with self.changed:
            for key in keys:
                held = self._holds.drop(key, stream, holder) or key in spare
                self.session.release(key, held=held, frames=self._holds.wants_frames(key))
            self.changed.notify_all()
        self.pump()

    def request(self, message: Mapping[str, Any], deadline: Optional[float]) -> Reply:
        """Send a request and wait for its reply.

        Raises:
            ReplyTimeout: no reply in time.
            ConnectionLost: the connection ended before the reply came, or before it was sent.
        """
        request, started = Request(str(message.get("method"))), time.monotonic()
        try:
            self.ask(message, request, deadline)
        finally:
            self.forget(request)
        if request.replies:
            return request.replies[0]
        if request.lost is not None:
            raise ConnectionLost(
                f"{request.method} was sent, but the connection ended before the reply: {request.lost}"
            )
        waited = time.monotonic() - started
        raise ReplyTimeout(f"no reply to {request.method} within {waited:.1f} s", waited=waited)

    def ask(
        self,
        message: Mapping[str, Any],
        request: Request,
        deadline: Optional[float],
        done: Callable[[], bool] = lambda: False,
        allowed: Callable[[], None] = lambda: None,
    ) -> None:
        """Send a request, and wait until it is done, ``done()`` says so, or ``deadline`` has passed.

        ``allowed()`` is asked right before it leaves, and raises if it may not. Whatever this raises,
        ``request.sent`` tells whether any part of it may have left.
        """
        messages.encode(message)  # what cannot be sent must raise before anything is expected

        def send(transport: Transport) -> None:
            if deadline is not None and time.monotonic() >= deadline:
                raise ReplyTimeout("the time was over before it could be sent")
            allowed()
            with self.changed:
                self.session.expect(request, message.get("req_id"), time.monotonic())
                frame = messages.encode(self._with_token({**message, "req_id": request.req_id}))
            request.sent = True
            try:
                transport.send(frame, self._send_timeout(deadline))
            except ConnectionLost as error:
                request.sent = error.sent
                raise

        self._send_over(deadline, send)
        with self.changed:
            self.wait(lambda: request.done or done(), deadline)

    def _with_token(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """What goes out instead of ``message``."""
        return message

    def forget(self, request: Request) -> None:
        """Nobody is interested in ``request`` any more."""
        with self.changed:
            self.session.forget(request)

    def send_raw(self, message: Mapping[str, Any], deadline: Optional[float]) -> None:
        """Send a message as it is and expect nothing."""
        frame = messages.encode(message)
        self._send_over(deadline, lambda transport: transport.send(frame, self._send_timeout(deadline)))

    def _send_over(self, deadline: Optional[float], send: Callable[[Transport], None]) -> None:
        """``send(transport)``, with its send lock held, once requests can go out."""
        while True:
            with self.changed:
                self.check_usable()
                if not self.wait(lambda: self.session.ready, deadline):
                    raise ConnectionLost(
                        f"there is no connection to {self.target} ({self.trouble or 'still connecting'})",
                        sent=False,
                    )
                transport = self._transport
            assert transport is not None
            send_now = partial(self._send_if_current, transport, send)
            sent = transport.exclusively(lock_timeout(deadline), send_now)
            if sent is None:
                raise ReplyTimeout("other messages were in the way for too long")
            if sent:
                return

    def _send_if_current(self, transport: Transport, send: Callable[[Transport], None]) -> bool:
        with self.changed:
            current = self._transport is transport and self.session.ready
        if current:
            send(transport)
        return current

    def _send_timeout(self, deadline: Optional[float]) -> float:
        if deadline is None:
            return self.timing.send_timeout
        return max(0.01, min(self.timing.send_timeout, deadline - time.monotonic()))

    def _pump_and_wait(self, call: Call, deadline: Optional[float], what: str) -> None:
        started = time.monotonic()
        self.pump()
        with self.changed:
            if self.wait(lambda: call.done, deadline):
                return
            self.session.abandon(call)
            missing = ", ".join(sorted(key.symbol for key in call.waiting if key.symbol))
            trouble, refused = self.trouble, dict(call.refused)
        waited = time.monotonic() - started
        text = f"no answer to {what}{f' for {missing}' if missing else ''} within {waited:.1f} s"
        if refused:
            text += f"; refused: {refused}"
        if call.trouble:
            text += f"; the exchange said {call.trouble!r}, so it was asked again more slowly"
        elif trouble is not None:
            text += f"; there is no connection ({trouble})"
        raise ReplyTimeout(text, waited=waited) from trouble
