"""Threads, sockets, HTTP, queues and locks. The decisions are made by :mod:`kraken_sync.core`."""
