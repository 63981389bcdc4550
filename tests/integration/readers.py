#!/usr/bin/env python3
"""readers.py same|apart FILE SEED THREADS PLACE LENGTH: threads that read one piece each,
all at PLACE (same) or PLACE apart (apart), at the same time, and check it."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../registry"))
import content  # noqa: E402

how, path = sys.argv[1:3]
seed, count, place, length = map(int, sys.argv[3:])
start = threading.Barrier(count)
wrong = []


def read(number):
    offset = place if how == "same" else place * number
    fd = os.open(path, os.O_RDONLY)
    start.wait()
    try:
        if os.pread(fd, length, offset) != content.pattern_bytes(seed, offset, length):
            wrong.append(f"wrong bytes at {offset}")
    except OSError as problem:
        wrong.append(f"at {offset}: {problem}")
    os.close(fd)


threads = [threading.Thread(target=read, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if wrong:
    sys.exit("\n".join(wrong))
