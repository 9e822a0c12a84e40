"""Standard libraries that gevent or eventlet have replaced.

A program that is patched as a whole, before this library is imported, works: its threads are greenlets. One
that is patched in part has queues and sockets that wait on an event loop which its threads do not run.
"""

from __future__ import annotations

import queue
import select
import socket
import threading
from typing import Any, Tuple

from ..errors import ConnectFailed


def check_patches() -> None:
    """Raise ConnectFailed if the standard library was patched in part, so that threads would hang."""
    # Looked up now and not when this module was imported, which may have been before the patching.
    threads, waiting = _is_green(threading.Lock), _is_green(getattr(select, "poll", None) or select.select)
    queues = _is_green(queue.SimpleQueue) or _is_green(socket.socket)
    if threads and not waiting:
        parts = "threads, but not the select module, so that one thread that waits for data stops all others"
    elif queues and not threads:
        parts = "queues and sockets, but not threads, which would wait for each other for ever"
    else:
        return
    raise ConnectFailed(
        f"gevent or eventlet has replaced {parts}. Call gevent.monkey.patch_all() or eventlet.monkey_patch() "
        "without leaving anything out, or patch nothing, before importing kraken_sync",
        step="thread",
        permanent=True,
    )


def shut_down(sock: Any) -> None:
    """End a connection in both directions, so that every thread that uses it notices. Never blocks.

    Raises:
        OSError: it is not connected any more.
    """
    # Not SSLSocket.shutdown(), which first drops the TLS object, so that a send() in another thread would be
    # transmitted unencrypted; but the method of the class below it, which may be gevent's.
    kinds: Tuple[Any, ...] = type(sock).__mro__
    for kind in kinds:
        if "SSL" not in kind.__name__ and "shutdown" in vars(kind):
            kind.shutdown(sock, socket.SHUT_RDWR)
            return
    sock.shutdown(socket.SHUT_RDWR)  # eventlet's sockets without TLS have it as an attribute


def _is_green(part: Any) -> bool:
    return str(getattr(part, "__module__", "")).startswith(("gevent", "eventlet"))
