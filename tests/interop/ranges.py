#!/usr/bin/env python3
"""Random access into a packed layer, and what it must give.

    ranges.py make SIZE COUNT           ranges within SIZE bytes, "OFFSET LENGTH" a line
    ranges.py READER FILE <RANGES       the sha256 of each range
    ranges.py write FRAME <STREAM       on stdout, packed by pyzstd in frames of FRAME bytes

A READER is `plain` (the file itself), or a Python package for the seekable zstd format:
`pyzstd` or `indexed_zstd` (libzstd-seek).
"""
import hashlib
import random
import sys

LONGEST = 3 << 20
SEED = 20


def make(size, count):
    """At the ends, and all over: most are short, as those of a file system are."""
    dice = random.Random(SEED)
    print(0, min(size, LONGEST))
    print(max(0, size - 100), min(size, 100))
    for _ in range(count):
        offset = dice.randrange(size)
        longest = dice.choice((1, 4096, 128 << 10, LONGEST))
        print(offset, min(longest, size - offset))


def reader(name, path):
    if name == "plain":
        return open(path, "rb")
    if name == "pyzstd":
        import pyzstd  # pylint: disable=import-outside-toplevel
        return pyzstd.SeekableZstdFile(path, "r")
    import indexed_zstd  # pylint: disable=import-outside-toplevel
    return indexed_zstd.IndexedZstdFile(path)


def write(frame):
    import pyzstd  # pylint: disable=import-outside-toplevel
    with pyzstd.SeekableZstdFile(sys.stdout.buffer, "w",
                                 max_frame_content_size=frame) as file:
        file.write(sys.stdin.buffer.read())


def main():
    if sys.argv[1] == "write":
        write(int(sys.argv[2]))
        return
    if sys.argv[1] == "make":
        make(int(sys.argv[2]), int(sys.argv[3]))
        return
    with reader(sys.argv[1], sys.argv[2]) as file:
        for line in sys.stdin:
            offset, length = map(int, line.split())
            file.seek(offset)
            data = b""
            while len(data) < length and (piece := file.read(length - len(data))):
                data += piece
            if len(data) != length:
                sys.exit(f"{len(data)} bytes of {length} at {offset}")
            print(hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    main()
