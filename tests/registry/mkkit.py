#!/usr/bin/env python3
"""Makes a ModelKit of plain tar layers in an OCI image layout, as kit >= 1.10 writes it.

    mkkit.py LAYOUT TAG [--context DIR] [--package NAME] [--modelpack|--before-0.5] LAYER...
    mkkit.py LAYOUT TAG --spec SPEC.json

A LAYER is KIND:PATH (kinds: model part code dataset docs), taken from below the context
folder, or KIND:PATH:SIZE, one file whose content is made up by the rule of content.py
(SIZE with K, M, G; seed = number of the layer, from 1). A spec is that as JSON:

    {"layers": [{"kind": "model", "path": "model", "files": [
        {"path": "model/w.bin", "size": 9663676416, "seed": 1},
        {"path": "model/f%06d.bin", "size": 1000, "count": 100000}]}]}

With --before-0.5 it is as kit wrote it then: no digests in the config, no annotations, names
relative to the parent of the layer's path. An existing layout keeps its other tags. Prints the manifest's digest.
"""
import argparse
import hashlib
import json
import os
import pathlib
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import content  # noqa: E402
import kittar  # noqa: E402

KITOPS = "application/vnd.kitops.modelkit."
CNCF = "application/vnd.cncf.model."
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# kind -> (KitOps base, ModelPack base, Kitfile list; the model's parts are inside of it)
KINDS = {
    "model": ("model", "weight", None),
    "part": ("modelpart", "weight.config", None),
    "code": ("code", "code", "code"),
    "dataset": ("dataset", "dataset", "datasets"),
    "docs": ("docs", "doc", "docs"),
    "mcp": ("mcpb", None, "mcpServers"),
}
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


def parse_size(text):
    shift = UNITS.get(text[-1].upper())
    return int(text[:-1]) << shift if shift else int(text)


def with_parents(path, entries):
    """The folders above `path` come first, each with an entry of its own."""
    parts = path.strip("/").split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        yield "/".join(parts[:depth]), 0o755, None
    yield from entries


def walk(context, path):
    """A path below the context folder in kit's order: parents first, names as bytes."""
    full = pathlib.Path(context, path)
    mode = full.stat().st_mode & 0o7777
    if full.is_file():
        yield path, mode, full
    elif full.is_dir():
        if path != ".":
            yield path, mode, None
        for name in sorted(os.listdir(full), key=os.fsencode):
            yield from walk(context, name if path == "." else f"{path}/{name}")


def spec_entries(layer):
    """The entries of a layer of a spec, folders included."""
    known, seed = {""}, 0
    for file in layer["files"]:
        for number in range(file.get("count", 1)):
            path = file["path"] % number if "count" in file else file["path"]
            seed = file.get("seed", seed + 1)
            for entry in with_parents(path, ()):
                if entry[0] not in known:
                    known.add(entry[0])
                    yield entry
            yield path, file.get("mode", 0o644), (seed, file["size"])


class Layer:
    def __init__(self, kind, path, entries):
        self.kind = kind
        self.path = path
        self.entries = list(entries)
        self.form = "tar"
        self.digest = None
        self.diff_id = None  # of what it unpacks to, where that is something else
        self.size = 0

    def parts(self):
        return kittar.archive(self.entries)


def spec_layers(spec):
    return [Layer(layer["kind"], layer["path"], spec_entries(layer))
            for layer in spec["layers"]]


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value):
    """JSON as Go writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode()


def kitfile(package, layers, old=False):
    """The Kitfile with the digests of its layers, as kit's config blob holds it."""
    config = {"manifestVersion": "1.0.0", "package": {"name": package}}
    parts = []
    for layer in layers:
        tail = {} if old else {"digest": layer.digest,
                                "diffId": layer.diff_id or layer.digest}
        entry = {"path": layer.path, **tail}
        if layer.kind == "model":
            config["model"] = {"path": layer.path, "parts": parts, **tail}
        elif layer.kind == "part":
            parts.append(entry)
        else:
            config.setdefault(KINDS[layer.kind][2], []).append(entry)
    if "model" in config and not parts:
        del config["model"]["parts"]
    return config


def modelpack_config(package, layers):
    return {"descriptor": {"createdAt": "2026-01-01T00:00:00Z", "name": package},
            "modelfs": {"type": "layers",
                        "diffIds": [layer.diff_id or layer.digest for layer in layers]},
            "config": {}}


def documents(package, layers, modelpack=False, old=False):
    """(config bytes, manifest bytes) for layers whose digests are known."""
    base, prefix = (1, CNCF) if modelpack else (0, KITOPS)
    description = kitfile(package, layers, old)
    config = encode(modelpack_config(package, layers) if modelpack else description)
    annotations = {"ml.kitops.modelkit.cli-version": "kitfs-tests"}
    if modelpack:
        annotations["ml.kitops.modelkit.kitfile"] = encode(description).decode()
    manifest = {
        "schemaVersion": 2,
        "artifactType": prefix + "manifest.v1+json",
        "config": {"mediaType": prefix + "config.v1+json", "digest": digest_of(config),
                   "size": len(config)},
        "layers": [{"mediaType": f"{prefix}{KINDS[layer.kind][base]}.v1.{layer.form}",
                    "digest": layer.digest, "size": layer.size,
                    "annotations": {"org.cncf.model.filepath": os.path.normpath(layer.path)}}
                   for layer in layers],
        "annotations": annotations,
    }
    if old:
        del manifest["artifactType"]
        for layer in manifest["layers"]:
            del layer["annotations"]
    return config, encode(manifest)


def pieces(part):
    if isinstance(part, bytes):
        yield part
    elif isinstance(part, tuple):
        yield from content.pattern(part[0], 0, part[1])
    else:
        with open(part, "rb") as file:
            while data := file.read(content.BLOCK):
                yield data


class Layout:
    """An OCI image layout folder, made when missing."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.blobs = self.folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(self, parts):
        """Stores the parts as one blob: its digest and size."""
        sha, size = hashlib.sha256(), 0
        making = self.blobs / f"making.{os.getpid()}"
        with open(making, "wb", buffering=1 << 20) as file:
            for part in parts:
                for piece in pieces(part):
                    sha.update(piece)
                    file.write(piece)
                    size += len(piece)
        making.rename(self.blobs / sha.hexdigest())
        return "sha256:" + sha.hexdigest(), size

    def tag(self, tag, digest, size):
        path = self.folder / "index.json"
        index = json.loads(path.read_text()) if path.exists() else {
            "schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        name = "org.opencontainers.image.ref.name"
        index["manifests"] = [row for row in index["manifests"]
                              if row.get("annotations", {}).get(name) != tag]
        index["manifests"].append({"mediaType": MANIFEST, "digest": digest, "size": size,
                                   "annotations": {name: tag}})
        path.write_text(json.dumps(index))


def store(layout, tag, package, layers, modelpack=False, old=False):
    """Writes a kit into a layout; the digest of its manifest."""
    layout = Layout(layout)
    for layer in layers:
        layer.digest, layer.size = layout.put(layer.parts())
    config, manifest = documents(package, layers, modelpack, old)
    layout.put([config])
    digest, size = layout.put([manifest])
    layout.tag(tag, digest, size)
    return digest


def parse_layer(text, number, context, old=False):
    kind, _, rest = text.partition(":")
    path, _, size = rest.partition(":")
    if kind not in KINDS or not path:
        raise SystemExit(f"mkkit: '{text}' is not KIND:PATH[:SIZE]")
    clean = os.path.normpath(path)
    entries = ([(clean, 0o644, (number, parse_size(size)))] if size
               else walk(context, clean))
    if old:
        return Layer(kind, path, ((os.path.relpath(name, os.path.dirname(clean) or "."),
                                   mode, content) for name, mode, content in entries))
    return Layer(kind, path, with_parents(clean, entries))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("layout")
    options.add_argument("tag")
    options.add_argument("layers", nargs="*", metavar="KIND:PATH[:SIZE]")
    options.add_argument("--context", default=".")
    options.add_argument("--package", default="sample")
    options.add_argument("--modelpack", action="store_true")
    options.add_argument("--before-0.5", dest="old", action="store_true")
    options.add_argument("--spec")
    args = options.parse_intermixed_args()
    layers = [parse_layer(text, number, args.context, args.old)
              for number, text in enumerate(args.layers, 1)]
    if args.spec:
        layers += spec_layers(json.loads(pathlib.Path(args.spec).read_text()))
    print(store(args.layout, args.tag, args.package, layers, args.modelpack,
                args.old))


if __name__ == "__main__":
    main()
