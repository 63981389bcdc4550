#!/usr/bin/env python3
"""Reads a packed kit by docs/formats/layer.md alone, with the programs of others.

    readkit.py LAYOUT TAG             checks everything; prints what must never change
    readkit.py --chunks LAYOUT TAG    length and sha256 of each chunk

What is printed: form, diffId, files with their content ids, and chunks of each layer. Not
the digests of blobs, since zstd may compress differently from version to version. Sparse
checks are no use here: all of a layer is in memory.
"""
import argparse
import hashlib
import io
import json
import pathlib
import struct
import subprocess
import tarfile

FRAME = b"\x28\xb5\x2f\xfd"
TOC_FRAME = 0x184D2A5A
SEEK_FRAME = 0x184D2A5E
SEEK_MAGIC = 0x8F92EAB1
END_MARK = bytes(1024)
CARRIERS = {"tar+zstd": 1, "tar": 2, "raw": 3}
NO_FILE = 0xFFFFFFFF
INLINE_LIMIT = 64
SLICED_FILE = 16 << 20
CUT_FILE = 64 << 10
KINDS = {tarfile.REGTYPE: 0, tarfile.DIRTYPE: 5}


def sha256(data):
    return hashlib.sha256(data).digest()


def unzstd(data):
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


class Layout:
    def __init__(self, folder, tag):
        self.blobs = pathlib.Path(folder, "blobs", "sha256")
        index = json.loads(pathlib.Path(folder, "index.json").read_bytes())
        found = [row for row in index["manifests"] if
                 row["annotations"]["org.opencontainers.image.ref.name"] == tag]
        assert len(found) == 1, f"{len(found)} manifests are called {tag}"
        self.manifest = json.loads(self.blob(found[0]))
        self.config = json.loads(self.blob(self.manifest["config"]))

    def blob(self, descriptor):
        data = (self.blobs / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert len(data) == descriptor["size"], descriptor
        assert "sha256:" + sha256(data).hex() == descriptor["digest"], descriptor
        return data


class Root:
    """The root of a table of contents, decompressed."""

    def __init__(self, data):
        (magic, major, minor, header, sections, self.carrier, digest, zero, self.length,
         self.stored, self.chunk_count, self.file_count, self.chunk_size,
         self.largest, self.slices_length) = struct.unpack_from("<8s2HII2BH2Q4IQ", data)
        assert (magic, major, minor, header, digest, zero) == (b"KITFSTOC", 1, 0, 64, 1, 0)
        self.sections = {}
        end = 64 + 24 * sections
        for at in range(64, end, 24):
            kind, flags, offset, length = struct.unpack_from("<4sIQQ", data, at)
            assert offset % 8 == 0 and flags in (0, 1) and kind not in self.sections
            assert offset >= end and not any(data[end:offset]), "order and gaps"
            self.sections[kind] = data[offset:offset + length]
            assert len(self.sections[kind]) == length
            end = offset + length
        assert len(data) == (end + 7) // 8 * 8 and not any(data[end:])

    def records(self, kind, form):
        data = self.sections.get(kind, b"")
        assert len(data) % struct.calcsize(form) == 0
        return list(struct.iter_unpack(form, data))

    def files(self):
        names = self.sections[b"NAME"]
        for offset, size, mtime, at, length, mode, kind, pad, zero in \
                self.records(b"FILE", "<QQqIIIB3sQ"):
            assert pad == bytes(3) and zero == 0
            yield names[at:at + length], offset, size, mtime, mode, kind


class Layer:
    """One layer whose tables agree with its bytes."""

    def __init__(self, layout, descriptor, toc_layer):
        self.form = descriptor["mediaType"].rpartition(".")[2]
        self.media_type = descriptor["mediaType"]
        self.blob = layout.blob(descriptor)
        self.unpacked = unzstd(self.blob) if self.form == "tar+zstd" else self.blob
        if self.form != "raw":
            assert self.unpacked.endswith(END_MARK)
        self.stream = self.unpacked if self.form == "raw" else self.unpacked[:-1024]
        self.members = self.check_tar() if self.form != "raw" else []
        self.slices, self.rows, self.root = [], [], None
        link = descriptor.get("annotations", {}).get("org.kitfs.toc")
        if link:
            self.read_toc(link.split(";"), toc_layer)

    def check_tar(self):
        """What an independent reader finds there: names, places, attributes."""
        found = []
        with tarfile.open(fileobj=io.BytesIO(self.unpacked), mode="r:") as tar:
            for member in tar:
                assert (member.uid, member.gid, member.mtime) == (1000, 0, 0), member
                assert member.uname == member.gname == "", member
                if self.form == "tar" and member.size >= CUT_FILE and member.isreg():
                    assert member.offset_data % 4096 == 0, member
                found.append((member.name.encode(errors="surrogateescape"),
                              member.offset_data if member.isreg() else 0, member.size, 0,
                              member.mode, KINDS[member.type]))
            assert tar.offset + 1024 >= len(self.unpacked), "something follows the end"
        return found

    def read_toc(self, fields, toc_layer):
        version, digest, where, *numbers = fields
        offset, stored, raw, area = map(int, numbers)
        assert version == "1" and (where == "-") == (self.form == "tar+zstd")
        holder = self.blob if where == "-" else toc_layer
        if where == "-":
            assert struct.unpack_from("<II", holder, offset - 8) == (TOC_FRAME, area)
        packed = holder[offset:offset + stored]
        assert "sha256:" + sha256(packed).hex() == digest
        data = unzstd(packed)
        assert len(data) == raw
        self.root = Root(data)
        assert self.root.carrier == CARRIERS[self.form]
        assert (self.root.length, self.root.file_count) == \
            (len(self.stream), len(self.root.sections[b"FILE"]) // 48)
        assert stored + self.root.slices_length == area
        self.read_slices(holder[offset + stored:offset + area])
        self.check_chunks(offset, area)
        self.check_files()

    def read_slices(self, external):
        at = inline_at = external_at = where_to = 0
        inline = self.root.sections.get(b"ROWS", b"")
        for file, first, count, flags, begin, stored, where, digest, content in \
                self.root.records(b"SLIC", "<IIIIQQQ32s32s"):
            assert (first, begin, stored) == (len(self.rows), at, where_to)
            if flags & 1:
                assert count <= INLINE_LIMIT and where == inline_at
                assert digest == bytes(32)
                data = inline[where:where + 40 * count]
                inline_at += 40 * count
            else:
                assert where == external_at
                data = external[where:where + 40 * count]
                assert sha256(data) == digest
                external_at += 40 * count
            rows = list(struct.iter_unpack("<II32s", data))
            assert len(rows) == count > 0
            ids = b"".join(struct.pack("<I", length) + digest for _, length, digest in rows)
            assert content == (sha256(ids) if file != NO_FILE else bytes(32))
            self.rows += rows
            self.slices.append((file, begin, content.hex()))
            where_to += sum(row[0] for row in rows)
            at += sum(row[1] for row in rows)
        assert (at, where_to) == (self.root.length, self.root.stored)
        assert (inline_at, external_at) == (len(inline), len(external))

    def check_chunks(self, area_offset, area):
        assert len(self.rows) == self.root.chunk_count
        assert max((row[1] for row in self.rows), default=0) == self.root.largest
        at = blob_at = 0
        for stored, length, digest in self.rows:
            assert sha256(self.stream[at:at + length]) == digest, f"chunk at {at}"
            if self.form == "tar+zstd":
                assert self.blob[blob_at:blob_at + 4] == FRAME
            else:
                assert stored == length
            at += length
            blob_at += stored
        if self.form == "tar+zstd":
            assert area_offset == blob_at + 8
            self.check_seek_table(area)

    def check_seek_table(self, area):
        count, flags, magic = struct.unpack("<IBI", self.blob[-9:])
        if magic != SEEK_MAGIC:
            return  # --no-seek-table
        assert flags == 0
        length = 8 * count + 9
        assert struct.unpack_from("<II", self.blob, len(self.blob) - length - 8) == \
            (SEEK_FRAME, length)
        table = list(struct.iter_unpack("<II", self.blob[-length:-9]))
        assert table[:-2] == [row[:2] for row in self.rows]
        assert table[-2] == (area + 8, 0) and table[-1][1] == 1024
        assert sum(row[0] for row in table) + length + 8 == len(self.blob)

    def check_files(self):
        files = list(self.root.files())
        borders = {0}
        at = 0
        for row in self.rows:
            at += row[1]
            borders.add(at)
        if self.form == "raw":
            assert files == [(b"", 0, len(self.stream), 0, 0, 0)]
        else:
            assert files == sorted(self.members), "the table and the tar differ"
        large = [(number, file[1]) for number, file in enumerate(files)
                 if file[2] >= SLICED_FILE]
        assert sorted(row[:2] for row in self.slices if row[0] != NO_FILE) == large
        for _, offset, size, *_ in files:
            if size >= CUT_FILE:
                assert offset in borders and offset + size in borders

    def print(self):
        print("layer", self.media_type)
        print("diffId", hashlib.sha256(self.unpacked).hexdigest())
        names = [file[0] for file in self.root.files()] if self.root else []
        for name, offset, size, _, mode, kind in sorted(self.members):
            print(f"{'dir' if kind else 'file'} {offset} {size} {mode:o}", ascii(name)[1:])
        for file, _, content in self.slices:
            if file != NO_FILE:
                print("content", content, ascii(names[file])[1:])
        self.print_chunks("chunk ")

    def print_chunks(self, before=""):
        for _, length, digest in self.rows:
            print(f"{before}{length} {digest.hex()}")


def layers_of(layout):
    descriptors = list(layout.manifest["layers"])
    toc_layer = None
    if descriptors and descriptors[-1]["mediaType"] == "application/vnd.kitfs.toc.v1":
        toc_layer = layout.blob(descriptors.pop())
    config = json.dumps(layout.config)
    for descriptor in descriptors:
        layer = Layer(layout, descriptor, toc_layer)
        assert "sha256:" + hashlib.sha256(layer.unpacked).hexdigest() in config, "diffId"
        yield layer


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--chunks", action="store_true")
    options.add_argument("layout")
    options.add_argument("tag")
    args = options.parse_args()
    for layer in layers_of(Layout(args.layout, args.tag)):
        if args.chunks:
            layer.print_chunks()
        else:
            layer.print()


if __name__ == "__main__":
    main()
