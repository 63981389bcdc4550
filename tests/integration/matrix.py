#!/usr/bin/env python3
"""Makes kits of which every layer is packed in another way, in an OCI image layout.

    matrix.py kinds LAYOUT
        tags `modelkit`, `cncf` and `cnai` (the last two without a Kitfile): every kind of
        layer times every content that it can hold
    matrix.py tools LAYOUT FOLDER
        tag `v1`: layers as the programs of others make them, of what it puts into FOLDER
    matrix.py huge LAYOUT
        tags `gzip`, `zstd`: a file of more than 8 GiB between small ones, in a small blob

`kinds` prints what a mount must show, without the Kitfile, as tree.py prints it: content
lies below KIND/CONTENT.
"""
import argparse
import gzip
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
from types import SimpleNamespace

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../registry"))
import content  # noqa: E402
import kittar  # noqa: E402
import mkkit  # noqa: E402
import remake  # noqa: E402

LARGE = 20 << 20
MEMBERS = [sys.executable, os.path.join(HERE, "../registry/members.py")]
NAME_255 = "ü" + 253 * "n"  # 255 bytes
LONG = "/".join([NAME_255, 100 * "a", 101 * "b", NAME_255, "end"])


def by(*command):
    return lambda data: subprocess.run(command, input=data, check=True,
                                       stdout=subprocess.PIPE).stdout


def seekable(data):
    return remake.seekable(data, SimpleNamespace(frame=1 << 20, unsized=False, skip=False,
                                                 what=None, checksums=True))


# What packs a stream: name -> (what media types say, how)
PACKERS = {
    "": ("", bytes),
    "+gzip": ("+gzip", gzip.compress),
    "+gzip-members": ("+gzip", by(*MEMBERS)),
    "+zstd": ("+zstd", by("zstd", "-q", "-1", "-c")),
    "+zstd-frames": ("+zstd", by(*MEMBERS, "zstd")),
    "+zstd-seekable": ("+zstd", seekable),
}
# name -> {path: (mode, bytes)}; what ends with a slash is a folder without files.
CONTENTS = {
    "small": {"a.json": (0o644, b"{}"), "run.sh": (0o755, b"#!/bin/sh\n"), "empty/": (0o700, b""),
              "sub/größe 模型.csv": (0o600, b"1,2\n" * 3000)},
    "large": {"w.bin": (0o644, content.pattern_bytes(7, 0, LARGE))},
    "no-entries": {},
    "empty-file": {"nothing": (0o640, b"")},
    "600-files": {f"d{number % 7}/{number:03d}.bin": (0o644, b"%d," % number * (number % 300))
                  for number in range(600)},
    "long-path": {LONG: (0o644, b"far below\n")},
}


def tar_of(folder, files):
    known, entries = set(), []
    for path, (mode, data) in files.items():
        path = f"{folder}/{path}"
        if path.endswith("/"):
            entries += mkkit.with_parents(path[:-1], [(path[:-1], mode, None)])
        else:
            entries += mkkit.with_parents(path, [(path, mode, data)])
    once = [entry for entry in entries if not (entry[0] in known or known.add(entry[0]))]
    return b"".join(kittar.archive(once))


class Maker:
    """A kit in the making; the kinds of its layers take turns."""

    def __init__(self, layout):
        self.layout = mkkit.Layout(layout)
        self.layers = []

    def add(self, form, path, data, packed, kind=None):
        turn = ("part", "code", "dataset", "docs")[len(self.layers) % 4]
        layer = mkkit.Layer(kind or (turn if self.layers else "model"), path, [])
        layer.form = form
        layer.diff_id = mkkit.digest_of(data)
        layer.digest, layer.size = self.layout.put([packed])
        self.layers.append(layer)

    def store(self, tag, change=lambda config, manifest: (config, manifest), **options):
        config, manifest = change(*mkkit.documents(tag, self.layers, **options))
        self.layout.put([config])
        self.layout.tag(tag, *self.layout.put([manifest]))


def raw_contents():
    """What a layer of one file can be, each of the 600 in a layer of its own."""
    return {name: {path: file for path, file in files.items() if not path.endswith("/")}
            for name, files in CONTENTS.items()}


def add_kinds(maker, rows):
    for name, (suffix, pack) in PACKERS.items():
        for content_name, files in CONTENTS.items():
            folder = f"tar{name}/{content_name}"
            data = tar_of(folder, files)
            maker.add("tar" + suffix, folder, data, pack(data))
            rows.update((f"{folder}/{path}", file) for path, file in files.items())
        for content_name, files in raw_contents().items():
            if content_name == "600-files" and name not in ("", "+gzip"):
                continue
            for path, (mode, data) in files.items():
                path = f"raw{name}/{content_name}/{path}"
                maker.add("raw" + suffix, path, data, pack(data))
                rows[path] = (0o644, data)


def add_bundles(maker, rows):
    for name in ("small", "large", "long-path"):
        for path, (_, data) in raw_contents()[name].items():
            path = f"mcpb/{name}/{path}.mcpb".replace(NAME_255, "n")
            maker.add("raw", path, data, data, "mcp")
            rows[path] = (0o644, data)


def print_tree(rows):
    folders = {os.path.dirname(path) for path in rows}
    for folder in set(folders):
        folders.update(map(str, pathlib.Path(folder).parents))
    tree = [("d", "755", "-", "-", folder) for folder in folders if folder not in (".", "")
            and folder + "/" not in rows]
    for path, (mode, data) in rows.items():
        if path.endswith("/"):
            tree.append(("d", f"{mode:o}", "-", "-", path[:-1]))
        else:
            tree.append(("f", f"{mode:o}", str(len(data)), hashlib.sha256(data).hexdigest(), path))
    for row in tree:
        sys.stdout.buffer.write(("\t".join(row) + "\n").encode())


def without_kitfile(config, manifest):
    value = json.loads(manifest)
    del value["annotations"]
    return config, mkkit.encode(value)


def of_before(config, manifest):
    """As ModelPack was called until 0.0.6."""
    config, manifest = without_kitfile(config, manifest)
    return config, manifest.replace(b"vnd.cncf.", b"vnd.cnai.").replace(b"org.cncf.", b"org.cnai.")


def make_kinds(args):
    maker, rows = Maker(args.layout), {}
    add_kinds(maker, rows)
    maker.store("cncf", without_kitfile, modelpack=True)
    maker.store("cnai", of_before, modelpack=True)
    add_bundles(maker, rows)
    maker.store("modelkit")
    print_tree(rows)


# --- the tools of others ----------------------------------------------------------------

# name -> (how it is called with --file ARCHIVE FOLDER behind, whether it knows long names)
ARCHIVERS = {
    **{f"gnu-tar-{form}": (["tar", f"--format={form}"], form in ("gnu", "oldgnu", "posix"))
       for form in ("v7", "oldgnu", "gnu", "ustar", "posix")},
    **{f"bsdtar-{form}": (["bsdtar", f"--format={form}"], form in ("pax", "gnutar"))
       for form in ("pax", "ustar", "gnutar", "v7")},
    **{f"python-{form}": (form, form != "ustar") for form in ("ustar", "gnu", "pax")},
}
COMPRESSORS = {
    "gzip": ["gzip", "-c"], "gzip-best": ["gzip", "-9c"], "pigz": ["pigz", "-c"],
    "pigz-blocks": ["pigz", "-c", "-p4", "-b128", "-i"], "pigz-zopfli": ["pigz", "-c", "-11", "-F"],
    "zstd": ["zstd", "-qc"], "zstd-threads": ["zstd", "-qcT2", "-B1M"],
    "zstd-long": ["zstd", "-qc", "--long=27"], "zstd-adapt": ["zstd", "-qc", "--adapt"],
    "pzstd": ["pzstd", "-qc", "-p4", "-1"],
}


def fill(folder, long, size=1500000):
    """Files like those of a model, with several modes."""
    source = random.Random(folder.name)
    files = {"config.json": 300, "sub/empty": 0, "sub/weights.bin": size, "sub/öl.txt": 5000,
             "sub/deep/" + 60 * "f": 700}
    if long:
        files.update({LONG: 900, 120 * "l": 3})
    for name, length in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(length // 2) + bytes(length - length // 2))
        path.chmod(0o755 if length == 300 else 0o640)


def archive(how, name, folder, target):
    if isinstance(how, str):
        form = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT,
                "pax": tarfile.PAX_FORMAT}[how]
        with tarfile.open(target, "w", format=form) as file:
            file.add(folder / name, name)
    else:
        subprocess.run([*how, "-C", folder, "-cf", target, name], check=True)
    return target.read_bytes()


def make_tools(args):
    maker, folder = Maker(args.layout), pathlib.Path(args.folder)
    target = folder.with_suffix(".tar")
    for name, (how, long) in ARCHIVERS.items():
        fill(folder / name, long)
        data = archive(how, name, folder, target)
        maker.add("tar", name, data, data)
    for name, command in COMPRESSORS.items():
        fill(folder / name, True, 10000000)
        data = archive(["tar"], name, folder, target)
        packed = by(*command)(data)
        assert name != "pzstd" or packed.count(b"\x28\xb5\x2f\xfd") > 2, "one frame only"
        maker.add("tar+zstd" if "zstd" in name else "tar+gzip", name, data, packed)
    maker.store("v1")


# --- a huge one -------------------------------------------------------------------------

HUGE_PIECE = 16 << 20
HUGE = (8 << 30) + HUGE_PIECE


def make_huge(args):
    """The same 16 MiB for ever: a member or frame of it has to be packed once only."""
    piece = content.pattern_bytes(5, 0, 16 << 10).ljust(HUGE_PIECE, b"\0")
    parts = list(kittar.archive([("a.txt", 0o644, b"first\n")]))
    before = b"".join(parts[:-1]) + kittar.header("w.bin", kittar.TYPE_FILE, 0o644, HUGE)
    behind = b"".join(kittar.archive([("z.txt", 0o644, b"last\n")]))
    for form, pack in (("gzip", gzip.compress), ("zstd", lambda data: remake.compress([data])[0])):
        maker = Maker(args.layout)
        maker.add(f"tar+{form}", ".", b"", b"".join(
            [pack(before), pack(piece) * (HUGE // HUGE_PIECE), pack(behind)]))
        maker.store(form, old=True)  # which has no diffId: it would take longer than all this


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = options.add_subparsers(dest="verb", required=True)
    kinds = verbs.add_parser("kinds")
    kinds.add_argument("layout")
    kinds.set_defaults(make=make_kinds)
    tools = verbs.add_parser("tools")
    tools.add_argument("layout")
    tools.add_argument("folder")
    tools.set_defaults(make=make_tools)
    huge = verbs.add_parser("huge")
    huge.add_argument("layout")
    huge.set_defaults(make=make_huge)
    args = options.parse_args()
    args.make(args)


if __name__ == "__main__":
    main()
