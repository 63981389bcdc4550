#!/usr/bin/env python3
"""tryread.py FILE SEED OFFSET LENGTH: one pread(2); prints OK, WRONG, SHORT or the name of
the error, and the milliseconds that it took."""
import errno
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../registry"))
import content  # noqa: E402

path, seed, offset, length = sys.argv[1], *map(int, sys.argv[2:5])
fd = os.open(path, os.O_RDONLY)
began = time.monotonic()
try:
    data = os.pread(fd, length, offset)
    verdict = ("SHORT" if len(data) < length else
               "OK" if data == content.pattern_bytes(seed, offset, length) else "WRONG")
except OSError as problem:
    verdict = errno.errorcode[problem.errno]
print(verdict, int((time.monotonic() - began) * 1000))
