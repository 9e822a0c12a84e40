"""As much of RFC 6455 as a stand-in for the exchange, and a bare reader, need."""

from __future__ import annotations

import base64
import hashlib
from typing import Iterable, Iterator, List, Tuple

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole, unmasked message."""
    size, first = len(payload), 0x80 | opcode
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def client_frame(payload: bytes) -> bytes:
    """A short masked message; the mask is zero, which leaves the payload as it is."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + payload


def written(frames: Iterable[bytes], size: int = 16_000) -> Iterator[bytes]:
    """The frames joined to pieces of about this size."""
    pieces: List[bytes] = []
    total = 0
    for frame in frames:
        pieces.append(frame)
        total += len(frame)
        if total >= size:
            yield b"".join(pieces)
            pieces, total = [], 0
    if pieces:
        yield b"".join(pieces)


def split_server(buffer: bytes) -> Tuple[List[bytes], bytes]:
    """The payloads of the whole unmasked messages in a buffer, and what is left of it."""
    payloads, at, end = [], 0, len(buffer)
    while end - at >= 2:
        size, head = buffer[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
        if end - at < head + size:
            break
        payloads.append(buffer[at + head : at + head + size])
        at += head + size
    return payloads, buffer[at:]


def split_client(buffer: bytes) -> Tuple[List[Tuple[int, bytes]], bytes]:
    """The opcodes and payloads of the whole masked messages in a buffer, and what is left of it."""
    messages: List[Tuple[int, bytes]] = []
    while len(buffer) >= 6:
        size, head = buffer[1] & 0x7F, 2
        if size == 126:
            size, head = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < head + 4 + size:
            break
        mask, body = buffer[head : head + 4], buffer[head + 4 : head + 4 + size]
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        plain = (int.from_bytes(body, "big") ^ key).to_bytes(size, "big")
        messages.append((buffer[0] & 0x0F, plain))
        buffer = buffer[head + 4 + size :]
    return messages, buffer


def upgrade(request: bytes) -> bytes:
    """The answer to a handshake."""
    key = next(
        line.split(b":", 1)[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def handshake(host: str) -> bytes:
    """A client's request."""
    return (
        f"GET /v2 HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
