"""Files of recordings: plain, gzip or Zstandard by the ending of their name.

A file that a killed recorder has left is read up to its last whole line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Optional, Protocol, Sequence, Tuple, Union

PathLike = Union[str, "os.PathLike[str]"]
CHUNK = 2**18
"""The number of bytes read at once."""
OWN = b'{"wall_ns":'
"""How a line of our own recordings begins."""


def paths_of(files: Union[PathLike, Sequence[PathLike]]) -> Tuple[Path, ...]:
    """Return the paths of one file or several."""
    given = [files] if isinstance(files, (str, os.PathLike)) else files
    return tuple(Path(one) for one in given)


class Compressor(Protocol):
    """Makes the bytes of a file; what :meth:`flush` has returned can be read without what comes later."""

    def add(self, data: bytes) -> bytes:
        """Return what can be written by now."""

    def flush(self) -> bytes:
        """Return everything up to here, such that it can be read."""

    def end(self) -> bytes:
        """Return the rest."""


class _Plain:
    def add(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""

    end = flush


class _Gzip:
    def __init__(self) -> None:
        self._made = zlib.compressobj(6, wbits=31)  # 31: with the header and trailer of gzip

    def add(self, data: bytes) -> bytes:
        return self._made.compress(data)

    def flush(self) -> bytes:
        return self._made.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._made.flush()


class _Zstd:
    def __init__(self) -> None:
        self._library = _zstandard()
        self._made = self._library.ZstdCompressor(level=6).compressobj()

    def add(self, data: bytes) -> bytes:
        return bytes(self._made.compress(data))

    def flush(self) -> bytes:
        return bytes(self._made.flush(self._library.COMPRESSOBJ_FLUSH_BLOCK))

    def end(self) -> bytes:
        return bytes(self._made.flush())


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ImportError('.zst files need zstandard: pip install "kraken-sync[zstd]"') from error
    return zstandard


def compressor(path: PathLike) -> Compressor:
    """Return the compressor for a file of this name. Raises ImportError if its library is missing."""
    ending = Path(path).suffix
    return _Gzip() if ending == ".gz" else _Zstd() if ending == ".zst" else _Plain()


class Sink:
    """A new file, to which bytes are appended. One thread at a time.

    Args:
        path: where; there must be no such file.

    Raises:
        FileExistsError: there is; a recording is never overwritten.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115 (closed by end())
        self._pending = b""
        self._hash = hashlib.sha256()
        self.size = 0
        """The number of bytes in the file, and of those that are still to be written."""

    def add(self, data: bytes) -> None:
        """Note bytes to be written by the next :meth:`push`."""
        self._pending += data
        self.size += len(data)

    def push(self) -> None:
        """Write what was noted. Raises OSError; the next call goes on at the same byte."""
        while self._pending:
            written = self._file.write(self._pending) or 0
            self._hash.update(self._pending[:written])
            self._pending = self._pending[written:]

    def end(self) -> str:
        """Write everything to the disk, close the file, and return the SHA-256 of its content as hex digits.

        Raises OSError; the next call goes on.
        """
        if not self._file.closed:
            self.push()
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Close the file without what could not be written. Never raises."""
        with contextlib.suppress(OSError):
            self._file.close()


class LineReader:
    """The whole lines of a file, of any size, without their ends. Iterate over it once.

    Args:
        path: a file with the ending ``.gz`` or ``.zst`` is decompressed.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.cut = ""
        """After the last line: why it may not be the last that was written; empty if the file is whole."""
        self.read = 0
        """The number of bytes of the file that were read so far."""

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for chunk in self._chunks():
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield from lines
        if rest and self.cut:
            return  # the reason is known already
        # A file of others may end without a line end, but one of ours always has it.
        if rest and (rest.startswith(OWN) or OWN.startswith(rest)):
            self.cut = "its last line is not whole"
        elif rest:
            yield rest

    def _chunks(self) -> Iterator[bytes]:
        ending = self.path.suffix
        with open(self.path, "rb") as file:
            if ending not in (".gz", ".zst"):
                while True:
                    chunk = file.read(CHUNK)
                    if not chunk:
                        return
                    self.read += len(chunk)
                    yield chunk
            # Several compressed parts may follow one another in a file.
            inflater: Optional[Any] = None
            began = inflated = 0
            while True:
                data = file.read(CHUNK)
                self.read += len(data)
                if not data:
                    break
                while data:
                    if inflater is None:
                        inflater, began, inflated = _inflater(ending), self.read - len(data), 0
                    try:
                        chunk = inflater.decompress(data)
                    except Exception as error:  # each library has errors of its own
                        self.cut = f"it is damaged: {error}"
                        file.seek(began)
                        yield from _up_to_damage(file, ending, self.read - len(data) - began, inflated)
                        return
                    inflated += len(chunk)
                    yield chunk
                    data = inflater.unused_data
                    if inflater.eof:
                        inflater = None
            if inflater is not None or not self.read:
                self.cut = "its end is missing"


def _up_to_damage(file: BinaryIO, ending: str, sound: int, known: int) -> Iterator[bytes]:
    """Inflate a damaged part of a file again, and yield what comes after the first ``known`` bytes.

    What a library has inflated from one piece before it fails is lost, so the pieces after the first
    ``sound`` bytes are of one byte each.
    """
    inflater = _inflater(ending)
    inflated = 0
    while True:
        data = file.read(min(sound, CHUNK) or 1)
        sound -= min(sound, CHUNK)
        try:
            chunk = inflater.decompress(data)
        except Exception:
            return
        yield chunk[max(known - inflated, 0) :]
        inflated += len(chunk)
        if not data:
            return


def _inflater(ending: str) -> Any:
    return (
        zlib.decompressobj(wbits=31) if ending == ".gz" else _zstandard().ZstdDecompressor().decompressobj()
    )
