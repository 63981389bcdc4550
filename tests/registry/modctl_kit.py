#!/usr/bin/env python3
"""Makes a ModelPack of the files in a folder in an OCI image layout, as modctl does.

    modctl_kit.py LAYOUT TAG FOLDER [--tar] [--old]

One layer a file, raw, or in a tar of one member without its folders; owner, mode and times
as they are. No Kitfile. With --old the names of before model-spec 0.0.7, which modctl went
back to. Prints the manifest's digest.
"""
import argparse
import datetime
import io
import os
import pathlib
import sys
import tarfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mkkit  # noqa: E402

# What a name ends with -> what modctl takes the file for; the order of its layers.
BASES = {"weight.config": (".json", ".txt"), "weight": (".safetensors", ".bin"),
         "code": (".py", ".sh"), "doc": (".md", "LICENSE")}


def metadata(path):
    info = path.stat()
    zone = datetime.timezone(datetime.timedelta(hours=2))
    whole = datetime.datetime.fromtimestamp(info.st_mtime_ns // 10**9, zone)
    mtime = whole.strftime(f"%Y-%m-%dT%H:%M:%S.{info.st_mtime_ns % 10**9:09d}+02:00")
    return {"name": path.name, "mode": info.st_mode & 0o777, "uid": info.st_uid,
            "gid": info.st_gid, "size": info.st_size, "mtime": mtime, "typeflag": 0}


def tar_of(path, name):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = archive.gettarinfo(path, name)
        member.mtime = int(member.mtime)
        with open(path, "rb") as file:
            archive.addfile(member, file)
        end = archive.offset + 1024
    return out.getvalue()[:end]


def layers(layout, args):
    folder = pathlib.Path(args.folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for base, endings in BASES.items():
        for path in files:
            if not path.name.endswith(endings):
                continue
            name = str(path.relative_to(folder))
            digest, size = layout.put([tar_of(path, name) if args.tar else path])
            yield {"mediaType": f"{mkkit.CNCF}{base}.v1.{'tar' if args.tar else 'raw'}",
                   "digest": digest, "size": size, "annotations": {
                       "org.cncf.model.file.metadata+json":
                           mkkit.encode(metadata(path)).decode(),
                       "org.cncf.model.filepath": name}}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in "layout", "tag", "folder":
        options.add_argument(name)
    options.add_argument("--tar", action="store_true")
    options.add_argument("--old", action="store_true")
    args = options.parse_args()
    layout = mkkit.Layout(args.layout)
    rows = list(layers(layout, args))
    config = mkkit.encode({
        "descriptor": {"createdAt": "2026-05-01T10:00:00.123456789+02:00", "family": "sample",
                       "name": args.tag},
        "modelfs": {"type": "layers", "diffIds": [row["digest"] for row in rows]},
        "config": {"architecture": "transformer", "format": "safetensors", "paramSize": "1b"}})
    digest, size = layout.put([config])
    manifest = mkkit.encode({
        "schemaVersion": 2, "mediaType": mkkit.MANIFEST,
        "artifactType": mkkit.CNCF + "manifest.v1+json",
        "config": {"mediaType": mkkit.CNCF + "config.v1+json", "digest": digest, "size": size},
        "layers": rows,
        "annotations": {"org.cncf.modctl.modelfile": "NAME sample\nMODEL *.safetensors\n"}})
    if args.old:
        manifest = manifest.replace(b"vnd.cncf.", b"vnd.cnai.").replace(b"org.cncf.model.",
                                                                        b"org.cnai.model.")
    digest, size = layout.put([manifest])
    layout.tag(args.tag, digest, size)
    print(digest)


if __name__ == "__main__":
    main()
