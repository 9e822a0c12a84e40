"""The log of kraken_sync in a file that is rotated, warnings also on the terminal."""

from __future__ import annotations

import logging.config
import os
import sys
from typing import Any, Dict

from kraken_sync import SpotWSClient


def settings(path: str) -> Dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.handlers.RotatingFileHandler",
                "filename": path,
                "maxBytes": 10_000_000,
                "backupCount": 5,
                "formatter": "plain",
            },
            "terminal": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "plain"},
        },
        "loggers": {"kraken_sync": {"level": "DEBUG", "handlers": ["file", "terminal"]}},
    }


def main(path: str = "kraken.log") -> None:
    logging.config.dictConfig(settings(path))
    with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
        print(client.book("BTC/USD").spread)


if __name__ == "__main__":
    main(*sys.argv[1:])
