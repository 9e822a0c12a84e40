"""Cutting the frames of a server out of the bytes that have arrived.

A frame in its usual form (one whole text message of less than 64 KiB, not masked) is cut out here, which
costs a fraction of what a general decoder costs. Everything else (fragments, control frames, large frames,
violations) is left to websocket-client.

Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

from typing import List, Tuple

_TEXT = 0x81
"""The first byte of a final text frame without extensions."""
_SIZE_16 = 126
"""The second byte of a frame whose size is in the next two; sizes below stand in the second byte itself."""


def cut(data: bytes, start: int) -> Tuple[List[bytes], int]:
    """Return the payloads of the complete usual frames at ``start``, and the position behind the last.

    >>> cut(bytes.fromhex("810161") + bytes.fromhex("81026263") + bytes.fromhex("8103"), 0)
    ([b'a', b'bc'], 7)
    """
    frames: List[bytes] = []
    end = len(data)
    last = end - 2
    # Every instruction here runs once for every message that the exchange sends.
    while start <= last and data[start] == _TEXT:
        size = data[start + 1]
        body = start + 2
        if size == _SIZE_16 and body <= last:
            size = data[body] << 8 | data[body + 1]
            body += 2
        elif size >= _SIZE_16:
            break
        after = body + size
        if after > end:
            break
        frames.append(data[body:after])
        start = after
    return frames, start


def begins_usual(data: bytes, start: int) -> bool:
    """Return whether what :func:`cut` has left at ``start`` is a usual frame without its end, or nothing."""
    head = data[start : start + 2]
    return head in (b"", b"\x81") or (head[0] == _TEXT and head[1] <= _SIZE_16)
