#!/usr/bin/env python3
"""Writes a LLaMA model of random weights as GGUF v3: one that llama.cpp really loads.

    make_gguf.py OUT.gguf [--layers N] [--embd N] [--ff N] [--heads N] [--kv-heads N]
                 [--vocab N] [--type f16|f32|q8_0|q4_0] [--size 512M] [--splits N] [--seed N]

The same arguments give the same bytes. --size picks the number of layers so that the file
is about that large; --splits N writes OUT-00001-of-0000N.gguf ..., the names that
llama.cpp expects.
"""
import argparse
import hashlib
import math
import struct
import sys

ALIGN = 32
CHUNK = 1 << 20
U16, U32, I32, F32, STRING, ARRAY = 2, 4, 5, 6, 8, 9
NUMBERS = {U16: "<H", U32: "<I", I32: "<i", F32: "<f"}
# name -> number in the file, elements a block, bytes a block, file type
TYPES = {"f32": (0, 1, 4, 0), "f16": (1, 1, 2, 1), "q8_0": (8, 32, 34, 7),
         "q4_0": (2, 32, 18, 2)}
# Bits of random bytes that are kept and bits that are set, so that weights are sane:
# f32 |w| in 2^-7 .. 2^-3; q8_0 scale 2^-11 .. 2^-10; q4_0 scale 2^-7 .. 2^-6.
SHAPES = {
    "f32": (b"\xff\xff\xff\x81", b"\x00\x00\x00\x3c"),
    "f16": (b"\xff\x8f", b"\x00\x20"),
    "q8_0": (b"\xff\x03" + b"\xff" * 32, b"\x00\x10" + b"\x00" * 32),
    "q4_0": (b"\xff\x03" + b"\xff" * 16, b"\x00\x20" + b"\x00" * 16),
}


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def field(key, kind, value):
    head = string(key) + struct.pack("<I", kind)
    if kind == STRING:
        return head + string(value)
    if kind != ARRAY:
        return head + struct.pack(NUMBERS[kind], value)
    element, items = value
    body = (b"".join(map(string, items)) if element == STRING else
            struct.pack(f"<{len(items)}{NUMBERS[element][1]}", *items))
    return head + struct.pack("<IQ", element, len(items)) + body


def tensor_bytes(kind, dims):
    _, elements, size, _ = TYPES[kind]
    return math.prod(dims) // elements * size


class Noise:
    """Bytes that do not compress or repeat, shaped into weights."""

    def __init__(self, seed):
        self.seed = seed

    def chunks(self, name, kind, total):
        keep, force = SHAPES[kind]
        step = CHUNK // len(keep) * len(keep)
        keep = int.from_bytes(keep * (step // len(keep)), "little")
        force = int.from_bytes(force * (step // len(SHAPES[kind][1])), "little")
        number = 0
        while total > 0:
            label = b"%d/%s/%d" % (self.seed, name.encode(), number)
            raw = int.from_bytes(hashlib.shake_128(label).digest(step), "little")
            yield ((raw & keep) | force).to_bytes(step, "little")[:min(step, total)]
            total -= step
            number += 1


def vocabulary(size):
    tokens, kinds = ["<unk>", "<s>", "</s>"], [2, 3, 3]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [6] * 256
    words = ["\u2581"] + [f"\u2581w{number:x}" for number in range(1, size)]
    tokens += words[:size - len(tokens)]
    kinds += [1] * (size - len(kinds))
    return tokens, kinds


def layer_tensors(number, args):
    prefix, gqa = f"blk.{number}.", args.embd // args.heads * args.kv_heads
    shapes = {"attn_norm": None, "attn_q": [args.embd, args.embd],
              "attn_k": [args.embd, gqa], "attn_v": [args.embd, gqa],
              "attn_output": [args.embd, args.embd], "ffn_norm": None,
              "ffn_gate": [args.embd, args.ff], "ffn_up": [args.embd, args.ff],
              "ffn_down": [args.ff, args.embd]}
    return [(f"{prefix}{name}.weight", args.type if dims else "f32", dims or [args.embd])
            for name, dims in shapes.items()]


def all_tensors(args):
    tensors = [("token_embd.weight", args.type, [args.embd, args.vocab])]
    for number in range(args.layers):
        tensors += layer_tensors(number, args)
    return tensors + [("output_norm.weight", "f32", [args.embd]),
                      ("output.weight", args.type, [args.embd, args.vocab])]


def metadata(args):
    tokens, kinds = vocabulary(args.vocab)
    return [
        field("general.architecture", STRING, "llama"),
        field("general.name", STRING, f"random-{args.seed}"),
        field("general.alignment", U32, ALIGN),
        field("general.file_type", U32, TYPES[args.type][3]),
        field("llama.context_length", U32, args.ctx),
        field("llama.embedding_length", U32, args.embd),
        field("llama.block_count", U32, args.layers),
        field("llama.feed_forward_length", U32, args.ff),
        field("llama.attention.head_count", U32, args.heads),
        field("llama.attention.head_count_kv", U32, args.kv_heads),
        field("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        field("llama.rope.dimension_count", U32, args.embd // args.heads),
        field("llama.rope.freq_base", F32, 10000.0),
        field("llama.vocab_size", U32, args.vocab),
        field("tokenizer.ggml.model", STRING, "llama"),
        field("tokenizer.ggml.pre", STRING, "default"),
        field("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        field("tokenizer.ggml.scores", ARRAY, (F32, [-float(i) for i in range(len(tokens))])),
        field("tokenizer.ggml.token_type", ARRAY, (I32, kinds)),
        field("tokenizer.ggml.bos_token_id", U32, 1),
        field("tokenizer.ggml.eos_token_id", U32, 2),
        field("tokenizer.ggml.unknown_token_id", U32, 0),
    ]


def write(path, fields, tensors, noise):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields)
    offset = 0
    for name, kind, dims in tensors:
        head += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims,
                                           TYPES[kind][0], offset)
        offset += -(-tensor_bytes(kind, dims) // ALIGN) * ALIGN
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGN))
        for name, kind, dims in tensors:
            size = tensor_bytes(kind, dims)
            if name.endswith("norm.weight"):
                file.write(struct.pack("<f", 1.0) * dims[0])
            else:
                for chunk in noise.chunks(name, kind, size):
                    file.write(chunk)
            file.write(bytes(-size % ALIGN))
        print(path, file.tell(), "bytes,", len(tensors), "tensors")


def parse():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("out")
    for name, value in (("layers", 2), ("embd", 256), ("ff", 0), ("heads", 4),
                        ("kv-heads", 0), ("vocab", 512), ("ctx", 2048), ("splits", 1),
                        ("seed", 1)):
        options.add_argument("--" + name, type=int, default=value)
    options.add_argument("--type", choices=TYPES, default="f16")
    options.add_argument("--size", default="")
    args = options.parse_args()
    args.ff = args.ff or args.embd * 4
    args.kv_heads = args.kv_heads or args.heads
    if args.embd % 32 or args.ff % 32 or args.embd % args.heads or args.vocab < 260:
        sys.exit("embd and ff must be multiples of 32, heads must divide embd, vocab >= 260")
    return args


def main():
    args = parse()
    if args.size:
        shift = {"K": 10, "M": 20, "G": 30}.get(args.size[-1].upper())
        want = int(args.size[:-1]) << shift if shift else int(args.size)
        layer = sum(tensor_bytes(kind, dims) for _, kind, dims in layer_tensors(0, args))
        ends = 2 * tensor_bytes(args.type, [args.embd, args.vocab])
        args.layers = max(1, round((want - ends) / layer))
    tensors, noise = all_tensors(args), Noise(args.seed)
    share = math.ceil(len(tensors) / args.splits)
    for number in range(args.splits):
        path, fields = args.out, metadata(args) if number == 0 else []
        if args.splits > 1:
            base = args.out.removesuffix(".gguf")
            path = f"{base}-{number + 1:05d}-of-{args.splits:05d}.gguf"
            fields += [field("split.no", U16, number), field("split.count", U16, args.splits),
                       field("split.tensors.count", I32, len(tensors))]
        write(path, fields, tensors[number * share:(number + 1) * share], noise)


main()
