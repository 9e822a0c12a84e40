"""A window with a price. Tk's own timer reads the book, so no callback of another thread touches a widget."""

from __future__ import annotations

import os
import sys
import tkinter

from kraken_sync import BookNotLive, SpotWSClient


def main(seconds: float = 0) -> None:
    root = tkinter.Tk()
    root.title("BTC/USD")
    price = tkinter.StringVar(value="...")
    tkinter.Label(root, textvariable=price, font=("TkFixedFont", 40), padx=30, pady=20).pack()
    with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
        book = client.book("BTC/USD")

        def refresh() -> None:
            try:
                price.set(f"{book.mid}")
            except BookNotLive as error:
                price.set(f"{error.state}")
            root.after(200, refresh)

        refresh()
        if seconds:
            root.after(int(seconds * 1000), root.destroy)
        root.mainloop()
        print("closed")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
