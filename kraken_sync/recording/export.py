"""Writes the rows of recordings to CSV, Parquet or SQLite."""

from __future__ import annotations

import contextlib
import csv
import os
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Union

from ..io.logs import log
from .files import PathLike, paths_of
from .rows import INTEGER, NUMBER, TABLES, TIME, Extractor, Row, Table
from .source import Source, nanoseconds

SCALE = 18
"""The digits after the point of numbers in Parquet, which has 38 digits in all."""
NAMES = {
    "trade": "trades",
    "best": "best",
    "book": "best",
    "bbo": "best",
    "depth": "depth",
    "candle": "candles",
    "ohlc": "candles",
    "gap": "gaps",
}
"""What a file is to contain, by a word in its name."""
ENDINGS = (".csv", ".parquet", ".sqlite", ".db")


class Writer(Protocol):
    """Where rows are written to."""

    counts: Dict[str, int]
    """The number of rows that were written, by table."""

    def write(self, table: str, rows: Sequence[Row]) -> None:
        """Write rows of a table."""

    def close(self) -> None:
        """Finish everything."""

    def abandon(self) -> None:
        """Stop in the middle."""


class _File:
    """A file that appears under its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.part = path.with_name(path.name + ".part")

    def done(self) -> None:
        os.replace(self.part, self._path)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self.part.unlink()


class _Csv:
    def __init__(self, path: Path, table: Table) -> None:
        self._whole = _File(path)
        self._file = open(self._whole.part, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = csv.writer(self._file)
        self._writer.writerow(table.columns)
        self.counts = {table.name: 0}

    def write(self, table: str, rows: Sequence[Row]) -> None:
        self.counts[table] += len(rows)
        self._writer.writerows([_plain(value) for value in row] for row in rows)

    def close(self) -> None:
        self._file.close()
        self._whole.done()

    def abandon(self) -> None:
        self._file.close()
        self._whole.abandon()


class _Parquet:
    def __init__(self, path: Path, table: Table) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError('Parquet needs pyarrow: pip install "kraken-sync[parquet]"') from error
        self._arrow: Any = pyarrow
        types = {
            INTEGER: pyarrow.int64(),
            NUMBER: pyarrow.decimal128(38, SCALE),
            TIME: pyarrow.timestamp("ns", tz="UTC"),
        }
        self._columns = table.columns
        self._schema = pyarrow.schema(
            [(name, types.get(kind, pyarrow.string())) for name, kind in table.columns.items()]
        )
        self._whole = _File(path)
        self._writer = pyarrow.parquet.ParquetWriter(self._whole.part, self._schema, compression="zstd")
        self.counts = {table.name: 0}

    def write(self, table: str, rows: Sequence[Row]) -> None:
        self.counts[table] += len(rows)
        arrays = []
        for field, kind, values in zip(self._schema, self._columns.values(), zip(*rows)):
            converted = [nanoseconds(value) for value in values] if kind == TIME else list(values)
            arrays.append(self._arrow.array(converted, field.type))
        if arrays:
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._whole.done()

    def abandon(self) -> None:
        self._writer.close()
        self._whole.abandon()


class _Sqlite:
    """Numbers are text with all their digits; a row that is there already is not written again."""

    def __init__(self, path: Path, tables: Sequence[Table]) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._statements: Dict[str, str] = {}
        for table in tables:
            columns = ", ".join(
                f'"{name}" {"INTEGER" if kind == INTEGER else "TEXT"}' for name, kind in table.columns.items()
            )
            # Rows of one moment may differ in anything; NULLs would all be different.
            unique = ", ".join(f"COALESCE(\"{name}\", '')" for name in table.key or table.columns)
            self._database.execute(f'CREATE TABLE IF NOT EXISTS "{table.name}" ({columns})')
            self._database.execute(
                f'CREATE UNIQUE INDEX IF NOT EXISTS "one {table.name}" ON "{table.name}" ({unique})'
            )
            places = ", ".join("?" * len(table.columns))
            insert = f'INSERT INTO "{table.name}" VALUES ({places}) ON CONFLICT ({unique}) DO '
            if table.name == "candles":  # the one that has seen more trades is the newer state
                changed = ", ".join(
                    f'"{name}" = excluded."{name}"' for name in table.columns if name not in table.key
                )
                insert += f'UPDATE SET {changed} WHERE excluded."trades" >= "candles"."trades"'
            else:
                insert += "NOTHING"
            self._statements[table.name] = insert
        self._database.commit()
        self.counts = {table.name: 0 for table in tables}

    def write(self, table: str, rows: Sequence[Row]) -> None:
        before = self._database.total_changes
        with self._database:  # one transaction for each batch
            self._database.executemany(
                self._statements[table], ([_plain(value) for value in row] for row in rows)
            )
        self.counts[table] += self._database.total_changes - before

    def close(self) -> None:
        self._database.close()

    abandon = close


class _Candles:
    """Keeps the last state of each candle, for files in which a row cannot be replaced."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._latest: Dict[Any, Row] = {}
        self.counts = writer.counts

    def write(self, table: str, rows: Sequence[Row]) -> None:
        for row in rows:
            self._latest[row[:3]] = row

    def close(self) -> None:
        self._writer.write("candles", list(self._latest.values()))
        self._writer.close()

    def abandon(self) -> None:
        self._writer.abandon()


def export(
    files: Union[PathLike, Sequence[PathLike]],
    to: PathLike,
    *,
    what: Optional[str] = None,
    every_ms: int = 1000,
    levels: int = 10,
    progress: Callable[[int], None] = lambda read: None,
) -> Dict[str, int]:
    """Write recordings to a table, and return the number of rows that were written, by table.

    In a SQLite file a candle that is written again, in a later state, counts again.

    Numbers keep all their digits: they are text in CSV and SQLite, and decimals with 18 places in Parquet.
    Times are UTC: ``received`` is when the recorder got the message, ``timestamp`` the exchange's own. A book
    has rows only while it is verified. The tables are:

    * ``trades``: every trade once;
    * ``best``: the best bid and ask whenever one of them changes;
    * ``depth``: the best ``levels`` of each side, every ``every_ms``;
    * ``candles``: the last state of each candle of the ``ohlc`` channel;
    * ``gaps``: where something is missing.

    Args:
        files: one or more recordings, in their order, in any form that ``kraken-sync verify`` reads.
        to: ends in ``.csv``, ``.parquet`` (needs ``pip install "kraken-sync[parquet]"``), or ``.sqlite``. A
            CSV or Parquet file has one table, and is replaced when the new one is whole. A SQLite file (in
            WAL mode) has all tables; exporting the same recording again changes nothing.
        what: the table. None for all of them in SQLite, and for what the file's name says otherwise:
            ``trades.csv``, ``books.parquet`` (which is ``best``), ``candles.csv``.
        every_ms: see above, in milliseconds.
        levels: see above.
        progress: called now and then with the number of bytes that were read.

    Raises:
        ValueError: the name of ``to`` does not tell what it is to be, an argument is not valid, or
            there is no market data in the files.
        OSError: a file cannot be read or written.
        ImportError: pyarrow is missing.
    """
    target = Path(to)
    names = _tables(target, what)
    if type(every_ms) is not int or every_ms < 1 or type(levels) is not int or levels < 1:
        raise ValueError(f"every_ms and levels must be 1 or more, not {every_ms!r} and {levels!r}")
    source = Source(paths_of(files))
    extractor = Extractor(source, names, every_ms, levels)
    try:
        writer = _writer(target, [TABLES[name] for name in names])
    except sqlite3.Error as error:
        raise OSError(f"{target}: {error}") from error
    try:
        for rows in extractor.rows():
            for name, new in rows.items():
                if new:
                    writer.write(name, new)
            progress(source.read)
        if not extractor.messages:
            raise ValueError(f"there is no market data in {source}")
        writer.close()
    except BaseException as error:
        writer.abandon()
        if isinstance(error, sqlite3.Error):
            raise OSError(f"{target}: {error}") from error
        raise
    if extractor.unreadable:
        log.warning("%d messages cannot be read, or did not verify, and are left out", extractor.unreadable)
    for text in source.cut:
        log.warning("%s; everything before it was exported", text)
    return writer.counts


def _tables(target: Path, what: Optional[str]) -> List[str]:
    if target.suffix not in ENDINGS:
        raise ValueError(f"{target.name} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if what is not None:
        if what not in TABLES:
            raise ValueError(f"what must be one of {', '.join(TABLES)}, not {what!r}")
        return [what]
    if target.suffix in (".sqlite", ".db"):
        return list(TABLES)
    for word, table in NAMES.items():
        if word in target.stem.lower():
            return [table]
    raise ValueError(
        f"{target.name} does not tell what it is to contain. Call it after one of {', '.join(TABLES)}, or "
        "say it with what= (--what)"
    )


def _writer(target: Path, tables: Sequence[Table]) -> Writer:
    if target.suffix in (".sqlite", ".db"):
        return _Sqlite(target, tables)
    (table,) = tables
    writer: Writer = _Csv(target, table) if target.suffix == ".csv" else _Parquet(target, table)
    return _Candles(writer) if table.name == "candles" else writer


def _plain(value: Any) -> Any:
    return format(value, "f") if isinstance(value, Decimal) else value
