"""The rows, by name."""
