"""Measures the gateway against its peers, in one run on one machine: `python -m benchmarks.run --help`.

Absolute figures of a shared machine mean little, so every goal of speed is a ratio to a peer that was measured in turns
with the gateway, and every figure of memory or time comes from a process started for it. A figure counts only if the
process that was started owns the port that answered, and if what it answered is the document, byte for byte.
"""
