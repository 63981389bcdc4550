#!/usr/bin/env python3
"""Turns a folder of tests/data/kits into an OCI layout with a tag for each name of its
refs.tsv: kits2layout.py KITS-DIR LAYOUT."""
import base64
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mkkit  # noqa: E402


def main(kits, layout):
    kits, made = pathlib.Path(kits).resolve(), mkkit.Layout(layout)
    shutil.copytree(kits / "store" / "blobs", made.folder / "blobs", dirs_exist_ok=True)
    for line in (kits / "refs.tsv").read_text().splitlines():
        name, reference, _ = line.split("\t")
        repository, _, tag = reference.rpartition(":")
        file = base64.b64encode(f"localhost/{repository}".encode()).decode() + "-tags.json"
        descriptor = json.loads((kits / "store" / file).read_text())[tag]
        made.tag(name, descriptor["digest"], descriptor["size"])


main(*sys.argv[1:])
