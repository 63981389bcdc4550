#!/usr/bin/env python3
"""Packs standard input in many pieces, as no single call of a packer does.

    members.py          gzip members of many lengths, empty ones between, with FEXTRA
    members.py zstd     frames without content sizes, skippable ones between
    members.py bomb     reads nothing: a zstd frame of 1 MiB that stands for 32 GiB
    members.py zeros    reads nothing: gzip of 512 KiB that stands for 512 MiB, as much as it can
"""
import gzip
import struct
import subprocess
import sys
import zlib

EMPTY_WITH_FIELD = (b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", 6) + b"kf\x02\0ab" +
                    b"\x03\0" + bytes(8))


def pieces(data):
    at, number = 0, 0
    while at < len(data):
        length = 1 + (number * 1000003) % (3 << 20)
        yield data[at:at + length]
        at += length
        number += 1


def zstd(data):
    return subprocess.run(["zstd", "-q", "-1", "-c"], input=data, check=True,
                          stdout=subprocess.PIPE).stdout


def bomb():
    count = 1 << 18
    blocks = (struct.pack("<I", 131072 << 3 | 2 | (i + 1 == count))[:3] + b"\0"
              for i in range(count))
    return b"\x28\xb5\x2f\xfd\0\x38" + b"".join(blocks)


def zeros():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = bytes(1 << 20)
    return b"".join([packer.compress(piece) for _ in range(512)] + [packer.flush()])


def main():
    out = sys.stdout.buffer
    if sys.argv[1:] in (["bomb"], ["zeros"]):
        out.write(bomb() if sys.argv[1] == "bomb" else zeros())
        return
    for number, piece in enumerate(pieces(sys.stdin.buffer.read())):
        if sys.argv[1:] == ["zstd"]:
            out.write(struct.pack("<II", 0x184D2A50 + number % 16, number % 7) + bytes(number % 7))
            out.write(zstd(piece))
        else:
            out.write(EMPTY_WITH_FIELD + gzip.compress(piece, 1, mtime=0))
    out.write(struct.pack("<II", 0x184D2A50, 0) if sys.argv[1:] == ["zstd"]
              else gzip.compress(b"", mtime=0))


main()
