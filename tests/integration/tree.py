#!/usr/bin/env python3
"""Prints what is below a folder: type, mode, size, sha256, path; tab-separated."""
import hashlib
import os
import stat
import sys


def walk(root, below):
    with os.scandir(os.path.join(root, below)) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = os.path.join(below, name)
        full = os.path.join(root, path)
        info = os.lstat(full)
        mode = f"{stat.S_IMODE(info.st_mode):o}"
        if stat.S_ISDIR(info.st_mode):
            yield "d", mode, "-", "-", path
            yield from walk(root, path)
        elif stat.S_ISREG(info.st_mode):
            with open(full, "rb") as file:
                data = file.read()
            assert len(data) == info.st_size, path
            yield "f", mode, str(info.st_size), hashlib.sha256(data).hexdigest(), path
        else:
            yield "?", mode, "-", "-", path


for row in walk(sys.argv[1], ""):
    sys.stdout.buffer.write(os.fsencode("\t".join(row)) + b"\n")
