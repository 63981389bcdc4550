#!/usr/bin/env python3
"""Other tensors for safetensors files: as models have them, or random.

    weights.py bf16|random FILE...

Headers stay. bf16: gaussian values, of which zstd leaves about 0.78, as of real weights;
random: nothing to gain.
"""
import math
import os
import random
import sys

STEP = 1 << 20
SIGMA = 0.02


def upper_bytes():
    """256 upper bytes of bfloat16 (sign, seven bits of exponent), each as often among them
    as a gaussian has it."""
    def below(value):
        return math.erf(value / SIGMA / math.sqrt(2))
    shares = []
    for exponent in range(128):  # of a half of the values: two powers of two
        first = 2.0 ** (2 * exponent - 127)
        shares.append(below(4 * first) - below(first))
    table, owed = bytearray(), 0.0
    for exponent, share in enumerate(shares):
        owed += share * 128
        while owed >= 0.5 and len(table) < 256:
            table += bytes((exponent, exponent | 0x80))
            owed -= 1
    return bytes(table.ljust(256, table[-1:]))


def tensors(kind, dice, size):
    data = dice.randbytes(size)
    if kind == "random":
        return data
    mixed = bytearray(data)
    mixed[1::2] = data[1::2].translate(upper_bytes())
    return mixed


def remake(path, kind):
    dice = random.Random(os.path.basename(path))
    with open(path, "r+b") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        file.seek(start)
        for offset in range(start, size, STEP):
            file.write(tensors(kind, dice, min(STEP, size - offset)))


if __name__ == "__main__":
    for name in sys.argv[2:]:
        remake(name, sys.argv[1])
