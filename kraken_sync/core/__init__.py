"""Decides. No thread, socket, queue, clock or environment in here: time comes in as ``now``."""
