"""What the registry serves: repositories with tags, manifests and blobs."""
import base64
import json
import os
import pathlib
import threading

import content
import mkkit


class Repository:
    def __init__(self):
        self.tags = {}        # tag -> digest
        self.manifests = {}   # digest -> bytes
        self.blobs = {}       # digest -> blob of content.py, or the path of a file
        self.lock = threading.Lock()

    def manifest(self, reference):
        """(digest, bytes) or None."""
        digest = self.tags.get(reference, reference)
        data = self.manifests.get(digest)
        return None if data is None else (digest, data)

    def blob(self, digest):
        with self.lock:
            blob = self.blobs.get(digest)
            if isinstance(blob, pathlib.Path):
                blob = self.blobs[digest] = content.FileBlob(blob)
            return blob


def kit_store_tags(folder):
    """kit's local store keeps tags per repository, in <base64 of the name>-tags.json."""
    for file in folder.glob("*-tags.json"):
        name = base64.b64decode(file.name.removesuffix("-tags.json")).decode()
        for tag, descriptor in json.loads(file.read_text()).items():
            yield name.rpartition("/")[2] + "-" + tag, descriptor["digest"]


def open_layout(folder):
    """A layout folder, or kit's store (whose tags become `repository-tag`)."""
    folder, repository = pathlib.Path(folder), Repository()
    for file in (folder / "blobs" / "sha256").iterdir():
        repository.blobs["sha256:" + file.name] = file
    for row in json.loads((folder / "index.json").read_text())["manifests"]:
        digest = row["digest"]
        path = repository.blobs.get(digest)
        if path is None:
            continue
        repository.manifests[digest] = path.read_bytes()
        tag = row.get("annotations", {}).get("org.opencontainers.image.ref.name")
        if tag:
            repository.tags[tag] = digest
    repository.tags.update(kit_store_tags(folder))
    return repository


def open_synthetic(spec, tag):
    """A kit that is only described (mkkit.py's spec). Nobody hashes a terabyte: its layer
    digests are those of the descriptions, so only readers that do not check whole plain
    layers can use it."""
    repository = Repository()
    layers = mkkit.spec_layers(spec)
    for number, layer in enumerate(layers):
        blob = content.JoinedBlob(layer.parts())
        layer.digest = mkkit.digest_of(json.dumps([number, spec]).encode())
        layer.size = blob.size
        repository.blobs[layer.digest] = blob
    config, manifest = mkkit.documents(spec.get("package", "synthetic"), layers)
    repository.blobs[mkkit.digest_of(config)] = content.MemoryBlob(config)
    digest = mkkit.digest_of(manifest)
    repository.manifests[digest] = manifest
    repository.tags[tag] = digest
    return repository


def load(layouts, synthetics):
    """{name: Repository} from NAME=DIR and NAME:TAG=SPEC.json arguments."""
    repositories = {}
    for text in layouts:
        name, _, folder = text.partition("=")
        repositories[name] = open_layout(os.path.abspath(folder))
    for text in synthetics:
        name, _, file = text.partition("=")
        name, _, tag = name.partition(":")
        spec = json.loads(pathlib.Path(file).read_text())
        repositories[name] = open_synthetic(spec, tag or "v1")
    return repositories
