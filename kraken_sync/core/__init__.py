"""The decisions of this library, free of threads, sockets, queues, clocks and the environment.

The time is always an argument, ``now``.
"""
