#!/usr/bin/env python3
"""hostile.py LAYOUT: a kit for each way in which a layer's tar can be wrong or odd, tagged
with its name; each has one layer. Those of `odd` are fine: file a.txt = "hi\\n"."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../registry"))
import kittar  # noqa: E402
import mkkit  # noqa: E402

END = bytes(1024)
HI = b"hi\n"


def entry(name, kind=b"0", data=b"", size=None, **changes):
    """One entry; `changes` overwrite header fields: name=(offset, bytes)."""
    head = bytearray(kittar.block(name, 0o644, 1000, len(data) if size is None else size,
                                  kind))
    for offset, value in changes.values():
        head[offset:offset + len(value)] = value
    if changes:
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % 512)


def pax(*records, kind=b"x", size=None):
    data = b"".join(record if isinstance(record, bytes) else kittar.pax_record(*record)
                    for record in records)
    return entry(b"PaxHeaders.0/x", kind, data, size)


def gnu_long(name):
    return entry(b"././@LongLink", b"L", name + b"\0")


good = entry(b"a.txt", data=HI)
bad_checksum = bytearray(good)
bad_checksum[0] ^= 1

hostile = {
    "absolute": entry(b"/etc/passwd", data=HI),
    "parent": entry(b"../a.txt", data=HI),
    "parent-inside": entry(b"d/../../a.txt", data=HI),
    "parent-pax": pax((b"path", b"../../a.txt")) + entry(b"a.txt", data=HI),
    "two-dots-in-a-name": entry(b"x..y", data=HI),
    "symlink": entry(b"link", b"2", target=(157, b"/etc/passwd")),
    "hardlink": good + entry(b"link", b"1", target=(157, b"a.txt")),
    "character-device": entry(b"null", b"3"),
    "block-device": entry(b"disk", b"4"),
    "fifo": entry(b"pipe", b"6"),
    "global-header": pax((b"comment", b"x"), kind=b"g") + good,
    "duplicate": good + good,
    "file-and-folder": entry(b"a", data=HI) + entry(b"a/b", data=HI),
    "negative-size": entry(b"a.txt", size=0, number=(124, b"\xff" * 12)),
    "negative-size-octal": entry(b"a.txt", size=0, number=(124, b"-0000000001\0")),
    "size-beyond-blob": entry(b"a.txt", size=1 << 30),
    "size-overflows": entry(b"a.txt", size=0,
                            number=(124, b"\x80\0\0\0\x7f" + b"\xff" * 7)),
    "pax-size-beyond-blob": pax((b"size", b"99999999999999")) + good,
    "pax-size-overflows": pax((b"size", b"18446744073709551615")) + good,
    "pax-size-negative": pax((b"size", b"-1")) + good,
    "pax-cut": entry(b"PaxHeaders.0/x", b"x", b"12 path=a.t", size=1 << 20),
    "pax-without-entry": pax((b"path", b"a")),
    "pax-bad-length": pax(b"999 path=a\n") + good,
    "pax-huge": entry(b"PaxHeaders.0/x", b"x", size=(1 << 33) - 1),
    "name-with-nul": pax((b"path", b"a\0b")) + good,
    "empty-name": entry(b"", data=HI),
    "long-component": pax((b"path", b"x" * 256)) + good,
    "long-path": pax((b"path", b"x/" * 3000 + b"y")) + good,
    "bad-checksum": bytes(bad_checksum),
    "cut-in-a-header": good + entry(b"b.txt")[:300],
    "cut-in-a-file": entry(b"a.txt", data=bytes(2000))[:1024],
    "no-tar": b"this is no tar archive, but long enough to be looked at" * 20,
    "sparse": entry(b"a.txt", b"S", data=HI),
    "sparse-pax": pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")) + good,
    "folder-then-file": entry(b"a", b"5") + entry(b"a", data=HI),
    "file-then-folder": entry(b"a", data=HI) + entry(b"a", b"5"),
    "file-in-a-file": entry(b"a/b", data=HI) + entry(b"a", data=HI),
    "backslash-parent": entry(b"..\\a.txt", data=HI),
    "folder-with-data": entry(b"a", b"5", data=HI),
    "pax-cut-in-its-padding": pax((b"path", b"a" * 100))[:600],
    "pax-twice": pax((b"path", b"a")) * 2 + good,
    "garbage-between": good + b"garbage " * 64 + good,
}
odd = {
    "gnu-long-name": gnu_long(b"a.txt") + entry(b"other", data=HI),
    "dot-slash": entry(b"./", b"5") + entry(b"./a.txt", data=HI),
    "old-type": entry(b"a.txt", b"\0", data=HI),
    "unknown-pax-keys": pax((b"x.y", b"z"), (b"mtime", b"1.5")) + good,
    "size-as-number": entry(b"a.txt", data=HI, number=(124, b"\x80" + bytes(10) + b"\3")),
    "padded": good + bytes(9000),
    "garbage-behind": good + END + b"garbage " * 1000,
    "archive-behind": good + END + entry(b"../b.txt", data=HI),
}


def layer_of(parts, kind="model"):
    layer = mkkit.Layer(kind, "a.txt", [])
    layer.parts = lambda: parts
    return layer


for name, parts in {**hostile, **odd}.items():
    mkkit.store(sys.argv[1], name, name, [layer_of([parts, END])])
for name in ("cut-in-a-header", "cut-in-a-file", "size-beyond-blob"):
    mkkit.store(sys.argv[1], name, name, [layer_of([hostile[name]])])
mkkit.store(sys.argv[1], "no-end", "no-end", [layer_of([good])])
mkkit.store(sys.argv[1], "two-layers", "two-layers",
            [layer_of([good, END]), layer_of([entry(b"a.txt", data=b"ho\n"), END], "docs")])
with open(os.path.join(sys.argv[1], "hostile"), "w", encoding="ascii") as file:
    file.write("\n".join([*hostile, "two-layers"]) + "\n")
with open(os.path.join(sys.argv[1], "odd"), "w", encoding="ascii") as file:
    file.write("\n".join([*odd, "no-end"]) + "\n")
