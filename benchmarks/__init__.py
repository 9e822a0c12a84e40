"""What this library costs, beside what others cost: ``python -m benchmarks`` from the project's root.

Every figure is a ratio of two things that are measured in turn, in one run and on one machine. Servers and
clients of the end-to-end rows are processes of their own, over TLS on the loopback interface.
"""
