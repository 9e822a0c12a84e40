"""Runs the command as ``python -m kraken_sync``."""

from .cli.main import main

if __name__ == "__main__":
    main()
