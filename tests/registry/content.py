"""What blobs are made of: files, memory, and bytes made up by a rule.

A blob has a `size` and gives `pieces(offset, length)`: memoryviews, in order, of at most
1 MiB. Content made by a rule costs no disk, so a kit of a terabyte can be served, and a
test can compute what any byte of it must be.

The rule ("pattern"): block k of 1 MiB of the content with seed s is the 16 bytes
(s, k) as little-endian 64-bit numbers and then noise[r : r + 1 MiB - 16], where
r = (40503 k + 7919 s) mod 1 MiB and noise is the first 2 MiB of SHAKE128("kitfs").
"""
import bisect
import functools
import hashlib
import mmap
import os
import struct

BLOCK = 1 << 20
HEAD = 16
BLOCK_STEP = 40503
SEED_STEP = 7919
SMALL = 4096


@functools.lru_cache(maxsize=1)
def noise():
    return memoryview(hashlib.shake_128(b"kitfs").digest(2 * BLOCK))


def pattern(seed, offset, length):
    """The pieces of a range of the content with this seed."""
    source = noise()
    while length > 0:
        block, skip = divmod(offset, BLOCK)
        take = min(length, BLOCK - skip)
        if skip < HEAD:
            take = min(take, HEAD - skip)
            yield memoryview(struct.pack("<QQ", seed, block))[skip:skip + take]
        else:
            start = (block * BLOCK_STEP + seed * SEED_STEP) % BLOCK + skip - HEAD
            yield source[start:start + take]
        offset += take
        length -= take


def pattern_bytes(seed, offset, length):
    return b"".join(pattern(seed, offset, length))


class MemoryBlob:
    def __init__(self, data):
        self.data = memoryview(data)
        self.size = len(data)

    def pieces(self, offset, length):
        while length > 0:
            take = min(length, BLOCK)
            yield self.data[offset:offset + take]
            offset += take
            length -= take


class FileBlob:
    """A file; `fd` lets a plain socket take its bytes by sendfile."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size
        self.map = mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) if self.size else b""
        self.view = memoryview(self.map)

    def pieces(self, offset, length):
        while length > 0:
            take = min(length, BLOCK)
            yield self.view[offset:offset + take]
            offset += take
            length -= take


def gather(pieces):
    """Joins small pieces: sending each would cost more than copying."""
    held, length = [], 0
    for piece in pieces:
        if len(piece) <= SMALL and length < BLOCK // 2:
            held.append(piece)
            length += len(piece)
            continue
        if held:
            yield memoryview(b"".join(held))
            held, length = [], 0
        yield piece
    if held:
        yield memoryview(b"".join(held))


class JoinedBlob:
    """Parts one behind the other: bytes, or (seed, size) for content by the rule."""

    def __init__(self, parts):
        self.parts = []
        self.starts = []
        self.size = 0
        for part in parts:
            length = len(part) if isinstance(part, bytes) else part[1]
            if length == 0:
                continue
            self.parts.append(part)
            self.starts.append(self.size)
            self.size += length

    def pieces(self, offset, length):
        return gather(self.raw_pieces(offset, length))

    def raw_pieces(self, offset, length):
        index = bisect.bisect_right(self.starts, offset) - 1
        while length > 0:
            part, skip = self.parts[index], offset - self.starts[index]
            if isinstance(part, bytes):
                take = min(length, len(part) - skip)
                yield memoryview(part)[skip:skip + take]
            else:
                take = min(length, part[1] - skip)
                yield from pattern(part[0], skip, take)
            offset += take
            length -= take
            index += 1
