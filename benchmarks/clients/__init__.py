"""The client processes of the end-to-end rows; each prints one line of JSON."""
