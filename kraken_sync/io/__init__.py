"""Acts: threads, sockets, queues. Decisions are asked of :mod:`kraken_sync.core`."""
