#!/usr/bin/env python3
"""bytes.py FILE SEED OFFSET LENGTH: whether a range of a file is what the rule of
tests/registry/content.py says. LENGTH 0: to the end, which must be the end of the file."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../registry"))
import content  # noqa: E402

path, seed, offset, length = sys.argv[1], *map(int, sys.argv[2:5])
with open(path, "rb", buffering=0) as file:
    length = length or os.fstat(file.fileno()).st_size - offset
    end = offset + length
    while offset < end:
        data = os.pread(file.fileno(), min(1 << 20, end - offset), offset)
        if not data:
            sys.exit(f"{path}: end of file at {offset}, not {end}")
        if data != content.pattern_bytes(seed, offset, len(data)):
            sys.exit(f"{path}: wrong bytes in {len(data)} at {offset}")
        offset += len(data)
