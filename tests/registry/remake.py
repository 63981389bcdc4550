#!/usr/bin/env python3
"""Makes another kit of one in a layout: what other tools do to it, or would have made.

    remake.py LAYOUT TAG NEW-TAG strip
        without the annotations of the tables of contents, and their layer
    remake.py LAYOUT TAG NEW-TAG seekable FRAME [--checksums] [--unsized] [--skip]
        its plain layers in zstd frames of FRAME bytes each, with a seek table; with
        checksums in it; frames without content size; skippable frames between
    remake.py LAYOUT TAG NEW-TAG lie length|bomb|checksum|short [FRAME]
        the same, with a table that says something wrong about its second frame
    remake.py LAYOUT TAG NEW-TAG by FORM COMMAND [ARGUMENT...]
        its plain layers as a command packs them, from stdin to stdout; FORM is what the
        media types say about it: zstd, gzip

What a lie of `bomb` does: the frame holds 1000 times what its entry says.
"""
import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mkkit  # noqa: E402

TOC = "org.kitfs.toc"
TOC_LAYER = "application/vnd.kitfs.toc.v1"
SKIPPABLE = struct.pack("<II", 0x184D2A51, 13) + b"passed over, "


def compress(pieces, unsized=False):
    """A frame each, by the zstd program."""
    if unsized:
        return [subprocess.run(["zstd", "-q", "-c"], input=piece, check=True,
                               stdout=subprocess.PIPE).stdout for piece in pieces]
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, f"{number:06d}") for number in range(len(pieces))]
        for name, piece in zip(names, pieces):
            pathlib.Path(name).write_bytes(piece)
        for first in range(0, len(names), 1000):
            subprocess.run(["zstd", "-q", *names[first:first + 1000]], check=True)
        return [pathlib.Path(name + ".zst").read_bytes() for name in names]


def seek_table(entries, checksums):
    step = "<III" if checksums else "<II"
    rows = b"".join(struct.pack(step, *entry[:3 if checksums else 2]) for entry in entries)
    return (struct.pack("<II", 0x184D2A5E, len(rows) + 9) + rows +
            struct.pack("<IBI", len(entries), 0x80 if checksums else 0, 0x8F92EAB1))


def lie(entries, what):
    stored, length, checksum = entries[1]
    entries[1] = {"length": (stored, length + 1, checksum),
                  "bomb": (stored, max(1, length // 1000), checksum),
                  "checksum": (stored, length, checksum ^ 1),
                  "short": (stored - 1, length, checksum)}[what]
    if what == "short":
        entries[0] = (entries[0][0] + 1, *entries[0][1:])


def seekable(data, args):
    """The bytes of a seekable zstd file."""
    cuts = range(0, len(data), args.frame)
    pieces = [data[at:at + args.frame] for at in cuts] or [b""]
    frames, entries, parts = compress(pieces, args.unsized), [], []
    for number, (piece, frame) in enumerate(zip(pieces, frames)):
        checksum = struct.unpack("<I", frame[-4:])[0]
        if args.skip and number % 3 == 1:
            entries.append((len(SKIPPABLE), 0, 0))
            parts.append(SKIPPABLE)
        elif args.skip and number % 3 == 2:
            frame = SKIPPABLE + frame
        entries.append((len(frame), len(piece), checksum))
        parts.append(frame)
    if args.what:
        lie(entries, args.what)
    return b"".join(parts) + seek_table(entries, args.checksums or args.what == "checksum")


def packed(data, args):
    if args.verb == "by":
        return subprocess.run([args.command, *args.arguments], input=data, check=True,
                              stdout=subprocess.PIPE).stdout
    return seekable(data, args)


class Kit:
    def __init__(self, layout, tag):
        self.layout = mkkit.Layout(layout)
        index = json.loads((self.layout.folder / "index.json").read_text())
        name = "org.opencontainers.image.ref.name"
        digest = next(row["digest"] for row in index["manifests"]
                      if row.get("annotations", {}).get(name) == tag)
        self.manifest = json.loads(self.blob(digest))
        self.config = self.blob(self.manifest["config"]["digest"])

    def blob(self, digest):
        return (self.layout.blobs / digest[7:]).read_bytes()

    def strip(self):
        self.manifest["layers"] = [layer for layer in self.manifest["layers"]
                                   if layer["mediaType"] != TOC_LAYER]
        for layer in self.manifest["layers"]:
            layer.get("annotations", {}).pop(TOC, None)

    def change_layers(self, args):
        self.strip()
        for layer in self.manifest["layers"]:
            digest, size = self.layout.put([packed(self.blob(layer["digest"]), args)])
            # A blob's digest stands in the config, and again as what it unpacks to.
            self.config = self.config.replace(
                f'"digest":"{layer["digest"]}"'.encode(), f'"digest":"{digest}"'.encode())
            layer.update(digest=digest, size=size, mediaType=f"{layer['mediaType']}+{args.form}")

    def store(self, tag):
        digest, size = self.layout.put([self.config])
        self.manifest["config"].update(digest=digest, size=size)
        digest, size = self.layout.put([mkkit.encode(self.manifest)])
        self.layout.tag(tag, digest, size)
        return digest


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("layout")
    options.add_argument("tag")
    options.add_argument("new_tag")
    verbs = options.add_subparsers(dest="verb", required=True)
    verbs.add_parser("strip")
    honest = verbs.add_parser("seekable")
    honest.add_argument("frame", type=mkkit.parse_size)
    liar = verbs.add_parser("lie")
    liar.add_argument("what", choices=["length", "bomb", "checksum", "short"])
    liar.add_argument("frame", type=mkkit.parse_size, nargs="?", default=1 << 16)
    for flag in ("checksums", "unsized", "skip"):
        honest.add_argument("--" + flag, action="store_true")
        liar.set_defaults(**{flag: False})
    honest.set_defaults(what=None, form="zstd")
    liar.set_defaults(form="zstd")
    command = verbs.add_parser("by")
    command.add_argument("form")
    command.add_argument("command")
    command.add_argument("arguments", nargs=argparse.REMAINDER)
    args = options.parse_args()
    kit = Kit(args.layout, args.tag)
    if args.verb == "strip":
        kit.strip()
    else:
        kit.change_layers(args)
    print(kit.store(args.new_tag))


if __name__ == "__main__":
    main()
