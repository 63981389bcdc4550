#!/usr/bin/env python3
"""Makes a ModelKit of one packed model layer in an OCI image layout, as kit writes it.

    packed_kit.py LAYOUT TAG FORM BLOB UNPACKED [--path PATH]

FORM is tar+gzip, raw+zstd ...; the digest of UNPACKED becomes the diffId. A raw layer is
one file and needs its PATH. Prints the manifest's digest.
"""
import argparse
import hashlib
import json
import pathlib

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def put(layout, data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest[7:]).write_bytes(data)
    return {"digest": digest, "size": len(data)}


def main():
    parser = argparse.ArgumentParser()
    for name in "layout", "tag", "form", "blob", "unpacked":
        parser.add_argument(name)
    parser.add_argument("--path", default="m")
    args = parser.parse_args()
    layout = pathlib.Path(args.layout)
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    digest = sha256_of(args.blob)
    (layout / "blobs/sha256" / digest[7:]).write_bytes(pathlib.Path(args.blob).read_bytes())
    layer = {"mediaType": f"application/vnd.kitops.modelkit.model.v1.{args.form}",
             "digest": digest, "size": pathlib.Path(args.blob).stat().st_size}
    if args.form.startswith("raw"):
        layer["annotations"] = {"org.cncf.model.filepath": args.path}
    config = {"manifestVersion": "1.0.0", "package": {"name": "packed"},
              "model": {"path": args.path, "digest": digest,
                        "diffId": sha256_of(args.unpacked)}}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                "config": {"mediaType": "application/vnd.kitops.modelkit.config.v1+json",
                           **put(layout, json.dumps(config).encode())},
                "layers": [layer]}
    entry = {"mediaType": MANIFEST, **put(layout, json.dumps(manifest).encode()),
             "annotations": {"org.opencontainers.image.ref.name": args.tag}}
    index_file = layout / "index.json"
    index = (json.loads(index_file.read_text()) if index_file.exists()
             else {"schemaVersion": 2, "manifests": []})
    index["manifests"] = [old for old in index["manifests"]
                          if old["annotations"]["org.opencontainers.image.ref.name"] != args.tag]
    index["manifests"].append(entry)
    index_file.write_text(json.dumps(index))
    print(entry["digest"])


main()
