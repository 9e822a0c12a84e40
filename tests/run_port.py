"""Runs an example of ``examples/porting`` as it stands, against another exchange, until it has said enough.

The hosts are class constants, which is all that is changed; a Ctrl-C comes when ``time.sleep`` has been
called and enough lines were printed.
"""

from __future__ import annotations

import builtins
import runpy
import sys
import threading
import time

from kraken_sync import SpotWSClient


def main() -> None:
    """``run_port.py EXAMPLE WS_URL AUTH_WS_URL REST_URL LINES``"""
    example, SpotWSClient.WS_URL, SpotWSClient.AUTH_WS_URL, SpotWSClient.REST_URL, lines = sys.argv[1:]
    enough, printed, real = threading.Event(), [0], builtins.print

    def counted(*args: object, **kwargs: object) -> None:
        real(*args, **kwargs)
        printed[0] += 1
        if printed[0] >= int(lines):
            enough.set()

    def sleep(seconds: float) -> None:
        enough.wait(30)
        raise KeyboardInterrupt

    builtins.print, time.sleep = counted, sleep
    runpy.run_path(example, run_name="__main__")


if __name__ == "__main__":
    main()
