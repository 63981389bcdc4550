#!/usr/bin/env python3
"""compare.py SEED: whether stdin is what the rule of tests/registry/content.py says."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../registry"))
import content  # noqa: E402

seed, offset = int(sys.argv[1]), 0
while data := sys.stdin.buffer.read(1 << 20):
    if data != content.pattern_bytes(seed, offset, len(data)):
        sys.exit(f"wrong bytes in {len(data)} at {offset}")
    offset += len(data)
