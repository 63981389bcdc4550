#!/usr/bin/env python3
"""Makes folders to pack: the same name gives the same bytes everywhere.

    maketree.py NAME DIR [--order SEED] [--mtime SECONDS]

--order creates the files in another order and --mtime dates them; neither may change what
is packed. Names: those of TREES, below.
"""
import argparse
import json
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../registry"))
import content  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
EXPONENTS = bytes(0x38 | byte & 7 for byte in range(256))
GGUF_ALIGNMENT = 32


def noise(seed, size):
    """What does not compress."""
    return content.pattern_bytes(seed, 0, size)


def weights(seed, size):
    """Like bf16: every second byte is one of few."""
    data = bytearray(noise(seed, size))
    data[1::2] = data[1::2].translate(EXPONENTS)
    return bytes(data)


def text(size):
    line = "".join(f"{number}: the quick brown fox jumps over {number * number}\n"
                   for number in range(size // 30 + 1))
    return line.encode()[:size]


def safetensors(tensors, metadata="x"):
    """Tensors are (name, bytes)."""
    header, at = {"__metadata__": {"format": metadata}}, 0
    for name, data in tensors:
        header[name] = {"dtype": "BF16", "shape": [len(data) // 2],
                        "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + b"".join(data for _, data in tensors)


def gguf(tensors):
    def string(value):
        return struct.pack("<Q", len(value)) + value

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    head += string(b"general.architecture") + struct.pack("<I", 8) + string(b"test")
    body = b""
    for name, data in tensors:
        head += string(name.encode()) + struct.pack("<IQIQ", 1, len(data) // 4, 0, len(body))
        body += data + bytes(-len(data) % GGUF_ALIGNMENT)
    return head + bytes(-len(head) % GGUF_ALIGNMENT) + body


def kitfile(**parts):
    """JSON is YAML, too."""
    return json.dumps({"manifestVersion": "1.0.0", "package": {"name": "test"}, **parts},
                      indent=1).encode()


def few_tensors():
    return [("large", weights(20, 3 * MIB + 10)), ("small", weights(21, 3000)),
            ("exact", noise(22, MIB)), ("tail", weights(23, MIB + 4))]


def mixed():
    """Every kind of file, in layers of every kind; what is not weights is small."""
    whole, whole_gguf = safetensors(few_tensors()), gguf(few_tensors()[:3])
    long_name = "n" * 251 + ".txt"
    return {
        "Kitfile": kitfile(
            model={"name": "m", "path": "model", "parts": [{"path": "part.gguf"}]},
            code=[{"path": "src"}], prompts=[{"path": "prompts/system.md"}],
            datasets=[{"path": "sizes"}, {"path": "empty.txt"}, {"path": "empty"},
                      {"path": "one.txt"}, {"path": "same.txt"}],
            docs=[{"path": "README.md"}, {"path": "names"}]),
        "model/w.safetensors": whole,
        "model/short-header.safetensors": whole[:100],
        "model/cut.safetensors": whole[:2 * MIB],
        "model/lies.safetensors": struct.pack("<Q", 1 << 40) + whole[8:300000],
        "model/no-json.safetensors": whole[:8] + b"{]" + whole[10:200000],
        "model/w.gguf": whole_gguf,
        "model/cut.gguf": whole_gguf[:MIB + 5],
        "model/lies.gguf": whole_gguf[:8] + b"\xff" * 16 + whole_gguf[24:100000],
        "model/config.json": b"{}\n",
        "model/tokenizer.json": text(300000),
        "part.gguf": whole_gguf[::-1],
        "src/main.py": b"print(1)\n",
        "src/run.sh": (b"#!/bin/sh\n", 0o755),
        "src/private": (b"", 0o600),
        "src/sub/folder/deep.txt": text(100),
        "prompts/system.md": b"Be kind.\n",
        "sizes/0": b"",
        "sizes/1": b"x",
        "sizes/64k-1": text(64 * KIB - 1),
        "sizes/64k": text(64 * KIB),
        "sizes/64k+1": noise(1, 64 * KIB + 1),
        "sizes/1m-1": noise(2, MIB - 1),
        "sizes/1m": noise(3, MIB),
        "sizes/1m+1": weights(4, MIB + 1),
        "sizes/16m-1": weights(5, 16 * MIB - 1),
        "sizes/16m": noise(6, 16 * MIB),
        "sizes/16m+1": noise(7, 16 * MIB + 1),
        "empty.txt": b"",
        "empty": None,
        "one.txt": b"1",
        "same.txt": b"1",
        "README.md": b"# A kit\n",
        f"names/{long_name}": b"long\n",
        "names/" + "/".join(["d" * 100] * 10) + "/deep.txt": b"deep\n",
        "names/\u00e9\u4e2d\U0001f600 and spaces.txt": b"not ASCII\n",
        "names/quote'\"\\ $x.txt": b"odd\n",
        "names/a.b/x": b"", "names/a/x": b"", "names/a-b/x": b"",
    }


def golden():
    """Small, so that its chunks can be read."""
    return {
        "Kitfile": kitfile(model={"path": "model"}, code=[{"path": "src"}],
                           docs=[{"path": "README.md"}]),
        "model/config.json": b"{}\n",
        "model/w.safetensors": safetensors(few_tensors()),
        "model/w.gguf": gguf(few_tensors()[:2]),
        "model/large.bin": noise(8, 16 * MIB + 1),
        "src/\u00e9.py": (text(70000), 0o755),
        "src/sub/empty": b"",
        "README.md": b"# A kit\n",
    }


def many():
    files = {f"data/{number % 100:02}/f{number:05}.txt": text(number % 300)
             for number in range(10000)}
    return {"Kitfile": kitfile(datasets=[{"path": "data"}]), **files}


def nothing():
    return {"Kitfile": kitfile()}


def empty_folder():
    return {"Kitfile": kitfile(model={"path": "."})}


def small():
    """For what a test does to one file."""
    return {"Kitfile": kitfile(model={"path": "model"}, docs=[{"path": "README.md"}]),
            "model/config.json": b"{}\n",
            "model/w.bin": weights(9, 5 * MIB + 17),
            "model/large.bin": noise(10, 17 * MIB),
            "README.md": b"# A kit\n"}


def large():
    return {"Kitfile": kitfile(model={"path": "w.bin"}), "w.bin": noise(11, 192 * MIB)}


# --- versions of one kit ----------------------------------------------------------------

def layers(first, last):
    return [(f"layer.{number}", noise(100 + number, 2 * MIB + 64 * number))
            for number in range(first, last)]


def version(files, vocabulary=20000):
    words = b"".join(b"token-%d\n" % number for number in range(vocabulary))
    return {"Kitfile": kitfile(model={"path": "model"}), "model/vocab.txt": words,
            "model/config.json": b"{}\n", **files}


def version_1():
    return version({"model/w.safetensors": safetensors(layers(0, 30))})


def header_edited():
    return version({"model/w.safetensors": safetensors(layers(0, 30), "y" * 128)})


def sharded():
    return version({"model/w-1.safetensors": safetensors(layers(0, 13)),
                    "model/w-2.safetensors": safetensors(layers(13, 30))})


def one_token_more():
    return version({"model/w.safetensors": safetensors(layers(0, 30))}, 20001)


TREES = {make.__name__: make for make in (
    mixed, golden, many, nothing, empty_folder, small, large,
    version_1, header_edited, sharded, one_token_more)}


def write(folder, name, value, mtime):
    path = os.path.join(folder, name)
    if value is None:
        os.makedirs(path)
        return
    data, mode = value if isinstance(value, tuple) else (value, 0o644)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    if mtime is not None:
        os.utime(path, (mtime, mtime))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("name", choices=TREES)
    options.add_argument("folder")
    options.add_argument("--order", type=int)
    options.add_argument("--mtime", type=int)
    args = options.parse_args()
    files = list(TREES[args.name]().items())
    if args.order is not None:
        random.Random(args.order).shuffle(files)
    for name, value in files:
        write(args.folder, name, value, args.mtime)


if __name__ == "__main__":
    main()
