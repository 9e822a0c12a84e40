"""The log of kraken_sync in a file that is rotated, warnings also on the terminal."""

from __future__ import annotations

import logging.config
import os
import sys

from kraken_sync import SpotWSClient

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "file": {
            "class": "logging.handlers.RotatingFileHandler",
            "filename": "kraken.log",
            "maxBytes": 10_000_000,
            "backupCount": 5,
            "formatter": "plain",
        },
        "terminal": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "plain"},
    },
    "loggers": {"kraken_sync": {"level": "DEBUG", "handlers": ["file", "terminal"]}},
}


def main(path: str = "kraken.log") -> None:
    LOGGING["handlers"]["file"]["filename"] = path  # type: ignore[index]
    logging.config.dictConfig(LOGGING)
    with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
        print(client.book("BTC/USD").spread)


if __name__ == "__main__":
    main(*sys.argv[1:])
