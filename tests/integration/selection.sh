#!/bin/bash
# Which part of a kit is seen, and that nothing is asked for of the rest: --filter, --subdir,
# --label; kits of before kit 0.5.
# as root, but for filtered_mount|subdir|unpack
# limit: 120
. "$(dirname "$0")/lib.sh"

# Model and docs with tables of contents, so that their roots could be fetched early; served
# as kit:v1. Sets MODEL and DOCS, the digests.
serve_packed() { # [OPTIONS of registry.py]
    local layers
    mkdir -p "$TMP/source/docs/deep" "$TMP/source/model"
    printf '%s\n' 'manifestVersion: 1.0.0' 'package: {name: sample}' \
        'model: {name: weights, path: ./model}' 'docs: [{path: docs}]' >"$TMP/source/Kitfile"
    head -c 3000000 /dev/urandom >"$TMP/source/model/w.bin"
    echo readme >"$TMP/source/docs/README.md"
    echo deep >"$TMP/source/docs/deep/er"
    within 50 "$KITFS" pack "$TMP/source" -t "oci:$TMP/layout:v1" -q >"$TMP/digest"
    registry_start --layout "kit=$TMP/layout" "$@"
    KIT=$REG/kit:v1
    layers=$TMP/layout/blobs/sha256/$(cut -d : -f 2 "$TMP/digest")
    MODEL=$(jq -r '.layers[0].digest[7:]' "$layers")
    DOCS=$(jq -r '.layers[1].digest[7:]' "$layers")
}

ls_new() { # OPTIONS: with an empty cache
    kit ls -R --plain-http --cache-dir "$TMP/cache.$RANDOM$RANDOM" "$@" "$KIT"
}

case_nothing_is_asked_of_what_is_left_out() {
    local mark
    serve_packed
    ls_new >"$TMP/all"
    [ "$(requests "path=$MODEL")" -gt 0 ] || fail "the model is not asked for at all"
    for filter in docs docs:docs kitfile,docs; do
        mark=$(control mark)
        ls_new --filter "$filter" >"$TMP/listed"
        equal "$(grep -c README.md "$TMP/listed")" 1 "docs with $filter"
        equal "$(requests "from=$mark" "path=$MODEL")" 0 "requests for the model, $filter"
        [ "$(requests "from=$mark" "path=$DOCS")" -gt 0 ] || fail "no request for the docs"
    done
    mark=$(control mark)
    equal "$(ls_new --filter kitfile)" Kitfile "the Kitfile alone"
    equal "$(requests "from=$mark" "path=$MODEL|$DOCS")" 0 "requests for layers"
}

case_filtered_mount() {
    serve_packed
    mount_kit "$KIT" --filter model:weights
    equal "$(cd "$MNT" && find . | sort | tr '\n' ' ')" ". ./model ./model/w.bin " "names"
    cmp "$MNT/model/w.bin" "$TMP/source/model/w.bin"
    equal "$(requests "path=$DOCS")" 0 "requests for the docs"
    umount_kit
    mount_kit "$KIT" -o filter=docs,filter=kitfile
    equal "$(ls "$MNT" | tr '\n' ' ')" "Kitfile docs " "names with two filters"
    umount_kit
    equal "$(kit cat --plain-http --filter docs:docs "$KIT" docs/README.md)" readme "cat"
    refused "no 'model/w.bin' in it" kit cat --plain-http --filter docs "$KIT" model/w.bin
}

case_filter_that_matches_nothing() {
    serve_packed
    ls_new --filter model:./weights,weight 2>"$TMP/warned" >"$TMP/listed"
    [ ! -s "$TMP/listed" ] || fail "something is listed"
    equal "$(grep -c "Nothing in it matches the filter" "$TMP/warned")" 1 "warnings"
    equal "$(wc -l <"$TMP/warned")" 1 "lines"
    mount_kit "$KIT" --filter prompts 2>"$TMP/warned"
    equal "$(grep -c "Nothing in it matches the filter" "$TMP/warned")" 1 "warnings of mount"
    equal "$(ls -A "$MNT")" "" "an empty mount"
    umount_kit
}

case_filters_that_are_none() {
    local types="kitfile, model, datasets, code, prompts, docs, mcpservers"
    for verb in ls verify; do
        refused "invalid filter type 'weights' \(must be one of $types\)" \
            kit "$verb" "oci:$TMP/none:v1" --filter weights
    done
    refused "invalid filter type 'config'" kit mount "oci:$TMP/none:v1" "$MNT" --filter config
    refused 'should be in format' kit cat "oci:$TMP/none:v1" f --filter model:a:b
    refused 'no option' kit info "oci:$TMP/none:v1" --filter model
}

# What is damaged in a layer that is not wanted is not found, since it is not looked at.
case_verify_with_a_filter() {
    serve_packed
    python3 - "$TMP/layout/blobs/sha256/$MODEL" <<'END'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(1000)
    byte = file.read(1)[0]
    file.seek(1000)
    file.write(bytes([byte ^ 1]))
END
    kit verify --plain-http --filter docs "$KIT" | grep -q '^what was chosen of sha256' ||
        fail "not verified"
    equal "$(requests "path=$MODEL")" 0 "requests for the model"
    refused 'wrong' kit_verify_quiet
}

kit_verify_quiet() {
    kit verify --plain-http "$KIT" >"$TMP/problems"
}

# As kit unpack, with its letters; nothing is asked for of the rest.
case_unpack() {
    serve_packed
    kit unpack --plain-http --cache-dir "$TMP/new" "$KIT" -d "$TMP/out" -f docs -f kitfile
    equal "$(cd "$TMP/out" && find . -type f | sort | tr '\n' ' ')" \
        "./Kitfile ./docs/README.md ./docs/deep/er " "files"
    equal "$(requests "path=$MODEL")" 0 "requests for the model"
    kit unpack --plain-http "$KIT" -d "$TMP/out" --filter model:weights
    cmp "$TMP/out/model/w.bin" "$TMP/source/model/w.bin"
    refused "invalid filter type 'all'" kit unpack "$KIT" -d "$TMP/out2" -f all
    kit unpack --plain-http "$KIT" -d "$TMP/out2" -f docs:none 2>"$TMP/warned"
    equal "$(grep -c "Nothing in it matches the filter" "$TMP/warned")" 1 "warnings"
    equal "$(find "$TMP/out2" -type f)" "" "files of nothing"
}

case_subdir() {
    serve_packed
    mount_kit "$KIT" --subdir ./docs/
    equal "$(cd "$MNT" && find . | sort | tr '\n' ' ')" ". ./README.md ./deep ./deep/er " \
        "names"
    equal "$(cat "$MNT/README.md" "$MNT/deep/er" | tr '\n' ' ')" "readme deep " "bytes"
    equal "$(status_of last_error)" null "last error"
    umount_kit
    mount_kit "$KIT" -o subdir=model
    cmp "$MNT/w.bin" "$TMP/source/model/w.bin"
    umount_kit
    equal "$(kit ls --plain-http --subdir docs/deep "$KIT")" er "ls"
    equal "$(kit cat --plain-http --subdir docs "$KIT" deep/er)" deep "cat"
    refused "there is no folder 'nothing' in it" kit ls --plain-http --subdir nothing "$KIT"
    refused "'docs/README.md' is a file" \
        kit mount --plain-http --subdir docs/README.md "$KIT" "$MNT"
    refused "there is no folder 'docs' in it" \
        kit ls --plain-http --subdir docs --filter model "$KIT"
    ! mounted || fail "mounted"
}

# An index as `kit index` writes it, of the tags q4 and q8, as the tag all.
make_index() {
    python3 - "$TMP/layout" <<'END'
import hashlib, json, pathlib, sys
layout = pathlib.Path(sys.argv[1])
name = "org.opencontainers.image.ref.name"
outer = json.loads((layout / "index.json").read_text())
entries = []
for row in outer["manifests"]:
    tag = row["annotations"][name]
    entries.append({**row, "annotations": {"ml.kitops.modelkit.original-tag": tag},
                    "modelMetadata": {"quantization": tag, "bits": int(tag[1:])}})
data = json.dumps({"schemaVersion": 2,
                   "mediaType": "application/vnd.oci.image.index.v1+json",
                   "artifactType": "application/vnd.kitops.modelkit.index.v1+json",
                   "manifests": entries}).encode()
digest = hashlib.sha256(data).hexdigest()
(layout / "blobs/sha256" / digest).write_bytes(data)
outer["manifests"].append({"mediaType": "application/vnd.oci.image.index.v1+json",
                           "digest": "sha256:" + digest, "size": len(data),
                           "annotations": {name: "all"}})
(layout / "index.json").write_text(json.dumps(outer))
END
}

case_index_by_label() {
    make_kit q4 --package four model:four.bin:1K
    make_kit q8 --package eight model:eight.bin:1K
    make_index
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:all
    mount_kit "$KIT" --label bits=8
    equal "$(ls "$MNT" | tr '\n' ' ')" "Kitfile eight.bin " "names"
    equal "$(status_of digest)" "$(cat "$TMP/manifest-digest")" "digest"
    umount_kit
    equal "$(kit ls --plain-http --filter model --label bits=4 --label quantization=q4 "$KIT")" \
        four.bin "ls by two labels"
    kit info --plain-http --label bits=8 "$KIT" | grep -q 'name: eight' || fail "info"
    kit inspect --plain-http --label bits=8 "$KIT" | grep -q '"eight"' || fail "inspect"
    kit verify --plain-http --label bits=8 "$KIT" >"$TMP/verified"
    kit unpack --plain-http -q -l bits=4 "$KIT" -d "$TMP/out"
    equal "$(ls "$TMP/out" | tr '\n' ' ')" "Kitfile four.bin " "unpack"
    refused 'index of 2 kits; choose with --label, or by digest: q4 \(bits=4, quantization=q4\)' \
        kit ls --plain-http "$KIT"
    refused 'no entry of the index has these labels; it has: q4 .*; q8 ' \
        kit mount --plain-http --label bits=16 "$KIT" "$MNT"
    refused "invalid label 'bits': expected key=value" kit ls --plain-http --label bits "$KIT"
    kit ls --plain-http --label bits=8 "$REG/kit:q4" >"$TMP/listed" 2>"$TMP/warned"
    grep -q labels_ignored "$TMP/warned" || fail "no warning"
}

# Layers that nobody has are skipped with one warning, though roots are fetched early.
case_unknown_layers() {
    serve_packed
    python3 - "$TMP/layout" <<'END'
import hashlib, json, pathlib, sys
layout = pathlib.Path(sys.argv[1])
index = json.loads((layout / "index.json").read_text())
row = index["manifests"][0]
manifest = json.loads((layout / "blobs/sha256" / row["digest"][7:]).read_text())
for kind in ("application/x-new", "application/vnd.kitops.modelkit.docs.v1.tar"):
    manifest["layers"].append({"mediaType": kind, "size": 5,
                               "digest": "sha256:" + hashlib.sha256(kind.encode()).hexdigest()})
data = json.dumps(manifest).encode()
row["digest"], row["size"] = "sha256:" + hashlib.sha256(data).hexdigest(), len(data)
(layout / "blobs/sha256" / row["digest"][7:]).write_bytes(data)
(layout / "index.json").write_text(json.dumps(index))
END
    registry_stop
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:v1
    ls_new >"$TMP/listed" 2>"$TMP/warned"
    equal "$(wc -l <"$TMP/listed")" 7 "names"
    equal "$(wc -l <"$TMP/warned")" 1 "lines of warning"
    grep -q 'event=layers_left_out count=2 .*application/x-new' "$TMP/warned" || fail "which"
}

# Names are relative to the parent of the entry's path, "." gives full names.
is_old_kit() { # FOLDER
    (cd "$1" && find . -type f ! -name Kitfile -exec sha256sum {} +) | sort -k 2 |
        diff "$TMP/expected" - || fail "the tree of $1 differs"
    grep -q 'path: ./models/w.bin' "$1/Kitfile" || fail "no Kitfile in $1"
}

case_kit_of_before_0_5() {
    mkdir -p "$TMP/context/src/lib" "$TMP/context/data/train" "$TMP/context/models"
    echo code >"$TMP/context/src/lib/a.py"
    echo data >"$TMP/context/data/train/x.csv"
    echo weights >"$TMP/context/models/w.bin"
    make_kit v1 --before-0.5 --context "$TMP/context" model:./models/w.bin code:./src \
        dataset:data/train
    python3 "$rig/remake.py" "$TMP/layout" v1 zipped by gzip gzip -1 # kit's default then
    registry_start --layout "kit=$TMP/layout"
    (cd "$TMP/context" && find . -type f -exec sha256sum {} +) | sort -k 2 >"$TMP/expected"
    for tag in v1 zipped; do
        mount_kit "$REG/kit:$tag"
        is_old_kit "$MNT"
        umount_kit
        kit unpack -q --plain-http "$REG/kit:$tag" -d "$TMP/unpacked-$tag"
        is_old_kit "$TMP/unpacked-$tag"
    done
    equal "$(kit ls -R --plain-http --filter datasets:data/train --subdir data "$REG/kit:v1" |
        tr '\n' ' ')" "train/ train/x.csv " "a part of it"
}

run_case "$@"
