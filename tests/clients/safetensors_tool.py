#!/usr/bin/env python3
"""Makes safetensors checkpoints and reads them the way real loaders do.

    safetensors_tool.py make DIR [--size 512M] [--shards 4] [--dim 1024] [--seed 1]
    safetensors_tool.py load DIR --how HOW [--threads N] [--rank R --tp N]

HOW  mmap      safe_open, vLLM "lazy": each shard mapped, tensors touched in header order
     alias     the same in the model's layer order, which crosses shards
     eager     vLLM "eager": one read() of the whole file
     prefetch  vLLM, SGLang: threads read blocks of 16 MiB, the mapping follows
     stream    Run:ai streamer: threads, own descriptor each, 2 MiB reads of a share
     threads   transformers, SGLang: threads fault different tensors of the same mappings
     header    the headers alone, through the mapping
     sparse    MADV_RANDOM and one page in every 64 KiB
     tp        a tensor-parallel rank: its slice of every matrix, by rows or columns
     direct    O_DIRECT reads of 16 MiB into an aligned buffer

Prints one sha256 over all tensors in name order, so that two folders can be compared.
"""
import argparse
import hashlib
import json
import math
import mmap
import os
import queue
import struct
import sys
import threading
import time

STEP = 1 << 20
KEEP = int.from_bytes(b"\xff\x8f" * (STEP // 2), "little")
FORCE = int.from_bytes(b"\x00\x20" * (STEP // 2), "little")
ROW_PARALLEL = ("o_proj", "down_proj")
INDEX = "model.safetensors.index.json"


# --- make -------------------------------------------------------------------------------

def noise(seed, name, total):
    """Half floats of sane size that do not compress or repeat."""
    number = 0
    while total > 0:
        raw = hashlib.shake_128(b"%d/%s/%d" % (seed, name.encode(), number)).digest(STEP)
        bits = (int.from_bytes(raw, "little") & KEEP) | FORCE
        yield bits.to_bytes(STEP, "little")[:total]
        total -= STEP
        number += 1


def tensors_of(size, dim):
    """(name, shape) of all tensors in layer order, and the number of layers."""
    shapes = {"self_attn.q_proj": (dim, dim), "self_attn.k_proj": (dim // 4, dim),
              "self_attn.v_proj": (dim // 4, dim), "self_attn.o_proj": (dim, dim),
              "mlp.gate_proj": (4 * dim, dim), "mlp.up_proj": (4 * dim, dim),
              "mlp.down_proj": (dim, 4 * dim), "input_layernorm": (dim,),
              "post_attention_layernorm": (dim,)}
    layer = sum(2 * math.prod(shape) for shape in shapes.values())
    layers = max(1, round(size / layer))
    names = [("model.embed_tokens.weight", (512, dim))]
    for number in range(layers):
        names += [(f"model.layers.{number}.{name}.weight", shape)
                  for name, shape in shapes.items()]
    return names + [("model.norm.weight", (dim,)), ("lm_head.weight", (512, dim))], layers


def write_shard(path, tensors, seed):
    """Headers are sorted, so a file is not in layer order. Returns the bytes of tensors."""
    offset, head = 0, {"__metadata__": {"format": "pt"}}
    for name, shape in tensors:
        size = 2 * math.prod(shape)
        head[name] = {"dtype": "F16", "shape": list(shape),
                      "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            for chunk in noise(seed, name, 2 * math.prod(shape)):
                file.write(chunk)
    return offset


def make(args):
    os.makedirs(args.dir, exist_ok=True)
    shift = {"K": 10, "M": 20, "G": 30}[args.size[-1].upper()]
    names, layers = tensors_of(int(args.size[:-1]) << shift, args.dim)
    share, total, index = math.ceil(len(names) / args.shards), 0, {}
    for number in range(args.shards):
        part = sorted(names[number * share:(number + 1) * share])
        file = (f"model-{number + 1:05d}-of-{args.shards:05d}.safetensors"
                if args.shards > 1 else "model.safetensors")
        total += write_shard(os.path.join(args.dir, file), part, args.seed)
        index.update((name, file) for name, _ in part)
    with open(os.path.join(args.dir, INDEX), "w", encoding="ascii") as file:
        json.dump({"metadata": {"total_size": total},
                   "weight_map": {name: index[name] for name, _ in names}}, file)
    with open(os.path.join(args.dir, "config.json"), "w", encoding="ascii") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "hidden_size": args.dim,
                   "num_hidden_layers": layers}, file)
    print(args.dir, total, "bytes", len(names), "tensors", args.shards, "shards")


# --- load -------------------------------------------------------------------------------

class Tensor:
    def __init__(self, name, file, start, entry):
        first, last = entry["data_offsets"]
        self.name = name
        self.file = file
        self.offset = start + first
        self.size = last - first
        self.shape = entry["shape"]

    def of(self, view):
        return view[self.offset:self.offset + self.size]


class Loader:
    def __init__(self, args):
        self.args = args
        with open(self.path(INDEX), encoding="ascii") as file:
            self.index = json.load(file)["weight_map"]
        with open(self.path("config.json"), encoding="ascii") as file:
            json.load(file)
        self.files = sorted(set(self.index.values()))
        self.digests = {}
        self.lock = threading.Lock()
        self.tensors = {}
        self.maps = {}

    def path(self, file):
        return os.path.join(self.args.dir, file)

    def put(self, name, data):
        digest = hashlib.sha256(data).digest()
        with self.lock:
            self.digests[name] = digest

    def put_all(self, file, view):
        for tensor in self.of_file(file):
            self.put(tensor.name, tensor.of(view))

    def of_file(self, file):
        return [tensor for tensor in self.tensors.values() if tensor.file == file]

    def read_header(self, file):
        with open(self.path(file), "rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            head = json.loads(stream.read(length))
        head.pop("__metadata__", None)
        for name, entry in head.items():
            self.tensors[name] = Tensor(name, file, 8 + length, entry)

    def map(self, file):
        with open(self.path(file), "rb") as stream:
            self.maps[file] = memoryview(mmap.mmap(stream.fileno(), 0, mmap.MAP_PRIVATE,
                                                   mmap.PROT_READ))

    def in_threads(self, count, work):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def load_mmap(self):
        for file in self.files:
            self.put_all(file, self.maps[file])

    def load_alias(self):
        for name, file in self.index.items():
            self.put(name, self.tensors[name].of(self.maps[file]))

    def load_eager(self):
        for file in self.files:
            with open(self.path(file), "rb") as stream:
                self.put_all(file, memoryview(stream.read()))

    def load_prefetch(self):
        todo = queue.SimpleQueue()
        for file in self.files:
            todo.put(file)

        def warm():
            while True:
                try:
                    file = todo.get_nowait()
                except queue.Empty:
                    return
                with open(self.path(file), "rb", buffering=0) as stream:
                    while stream.read(16 << 20):
                        pass
        for _ in range(self.args.threads):
            threading.Thread(target=warm, daemon=True).start()
        self.load_mmap()

    def load_threads(self):
        todo = queue.SimpleQueue()
        for file in self.files:
            for tensor in self.of_file(file):
                todo.put(tensor)

        def fault(_number):
            while True:
                try:
                    tensor = todo.get_nowait()
                except queue.Empty:
                    return
                self.put(tensor.name, tensor.of(self.maps[tensor.file]))
        self.in_threads(self.args.threads, fault)

    def load_header(self):
        for file in self.files:
            view = self.maps[file]
            length = struct.unpack("<Q", view[:8])[0]
            self.put(file, json.dumps(json.loads(bytes(view[8:8 + length]))).encode())

    def load_sparse(self):
        for file in self.files:
            self.maps[file].obj.madvise(mmap.MADV_RANDOM)
            self.put(file, self.maps[file][::65536].tobytes())

    def load_tp(self):
        for tensor in self.tensors.values():
            self.put(tensor.name, self.slice(tensor, tensor.of(self.maps[tensor.file])))

    def slice(self, tensor, data):
        """The rank's part: a band of columns of every row, or one run of rows."""
        if len(tensor.shape) < 2:
            return data
        rank, ranks = self.args.rank, self.args.tp
        if not any(kind in tensor.name for kind in ROW_PARALLEL):
            width = tensor.size // ranks
            return data[rank * width:(rank + 1) * width]
        row = 2 * tensor.shape[1]
        width = row // ranks
        return b"".join(data[at + rank * width:at + (rank + 1) * width]
                        for at in range(0, tensor.size, row))

    def load_stream(self):
        self.read_shares(self.args.threads, 2 << 20, os.O_RDONLY)

    def load_direct(self):
        self.read_shares(1, 16 << 20, os.O_RDONLY | os.O_DIRECT)

    def read_shares(self, threads, block, flags):
        for file in self.files:
            size = os.path.getsize(self.path(file))
            view = memoryview(mmap.mmap(-1, -(-size // 4096) * 4096))  # page aligned
            share = -(-size // threads // 4096) * 4096
            short = []

            def part(number, file=file, size=size, view=view, share=share, short=short):
                at, end = number * share, min(size, (number + 1) * share)
                fd = os.open(self.path(file), flags)
                os.lseek(fd, at, os.SEEK_SET)
                while at < end:
                    want = min(block, end - at)
                    if flags & os.O_DIRECT:
                        want = -(-want // 4096) * 4096
                    got = os.readv(fd, [view[at:at + want]])
                    if got <= 0:
                        short.append(at)
                        break
                    at += got
                os.close(fd)
            self.in_threads(threads, part)
            if short:
                sys.exit(f"short read of {file} at {short[0]}")
            self.put_all(file, view)


def load(args):
    began = time.monotonic()
    loader = Loader(args)
    for file in loader.files:
        if args.how != "header":
            loader.read_header(file)
        if args.how not in ("eager", "stream", "direct"):
            loader.map(file)
    opened = time.monotonic()
    getattr(loader, "load_" + args.how)()
    ended = time.monotonic()
    whole = hashlib.sha256(b"".join(loader.digests[name] for name in sorted(loader.digests)))
    print("sha256", whole.hexdigest(), len(loader.digests), "tensors")
    print(f"how={args.how} open_ms={(opened - began) * 1e3:.0f} "
          f"load_ms={(ended - opened) * 1e3:.0f}", file=sys.stderr)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = options.add_subparsers(dest="verb", required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("dir")
    maker.add_argument("--size", default="64M")
    maker.add_argument("--shards", type=int, default=2)
    maker.add_argument("--dim", type=int, default=1024)
    maker.add_argument("--seed", type=int, default=1)
    reader = verbs.add_parser("load")
    reader.add_argument("dir")
    reader.add_argument("--how", default="mmap", choices=sorted(
        name.removeprefix("load_") for name in dir(Loader) if name.startswith("load_")))
    reader.add_argument("--threads", type=int, default=8)
    reader.add_argument("--rank", type=int, default=0)
    reader.add_argument("--tp", type=int, default=4)
    args = options.parse_args()
    if args.verb == "make":
        make(args)
    else:
        load(args)


main()
