#!/bin/bash
# Kits that refer to other kits: packing them, and what is mounted of them.
. "$(dirname "$0")/lib.sh"
OUT=$TMP/out

# A kit as kit packs it, in $TMP/base: model, part, code, docs and a dataset.
make_base() { # TAG
    local tree=$TMP/base-tree
    mkdir -p "$tree/model/sub" "$tree/src" "$tree/data"
    echo "weights of $1" >"$tree/model/w.bin"
    echo deep >"$tree/model/sub/deep"
    echo tokenizer >"$tree/tokenizer.json"
    echo code >"$tree/src/main.py"
    echo '# base' >"$tree/README.md"
    echo 1,2 >"$tree/data/d.csv"
    python3 "$rig/mkkit.py" "$TMP/base" "$1" --context "$tree" model:./model/ \
        part:tokenizer.json code:src dataset:data docs:README.md >"$TMP/base-digest"
}

child() { # FOLDER REFERENCE: a folder to pack whose model is another kit
    mkdir -p "$TMP/$1/lora"
    echo lora >"$TMP/$1/lora/a.bin"
    cat >"$TMP/$1/Kitfile" <<EOF
manifestVersion: 1.0.0
package: {name: $1}
model: {path: "$2"}
code:
- path: .
EOF
}

pack() { # FOLDER REF [OPTIONS]: layers as kit packs them; the kit's digest
    local folder=$1 ref=$2
    shift 2
    kit pack "$TMP/$folder" -t "$ref" --plain-http --compression none --toc none -q "$@" \
        2>"$TMP/stderr" || {
        cat "$TMP/stderr" >&2
        fail "pack $folder $ref"
    }
}

# A child of REFERENCE at $REG/NAME:TAG whose code is the folder lora.
push_child() { # NAME TAG REFERENCE
    child "$1-$2" "$3"
    sed -i 's/path: \./path: lora/' "$TMP/$1-$2/Kitfile"
    pack "$1-$2" "$REG/$1:$2" --push
}

members() { # LAYOUT: what its only layer holds
    local manifest
    manifest=$1/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' "$1/index.json")
    equal "$(jq '.layers | length' "$manifest")" 1 "layers"
    tar tf "$1/blobs/sha256/$(jq -r '.layers[0].digest[7:]' "$manifest")" | tr '\n' ' '
}

# --- packing ----------------------------------------------------------------------------

# What the parent has is left out of the layer above it; manifest and config are all that is
# asked for.
case_pack_leaves_out_what_the_parent_has() {
    make_base v1
    registry_start --layout "team/base=$TMP/base"
    child new "$REG/team/base:v1"
    cp -r "$TMP/base-tree/." "$TMP/new"
    echo mine >"$TMP/new/src/mine.py"
    echo more >"$TMP/new/model-v2"
    kit pack "$TMP/new" -t "oci:$OUT:v1" --plain-http --compression none --toc none \
        >"$TMP/summary" 2>"$TMP/warnings"
    equal "$(members "$OUT")" "lora lora/a.bin model-v2 " "members"
    for lost in src data README.md; do
        equal "$(grep -c "^\[WARN \] '$lost' is left out: the kit referred to" "$TMP/warnings")" 1 \
            "warnings of $lost"
    done
    equal "$(grep -c 'is left out' "$TMP/warnings")" 3 "warnings"
    equal "$(requests)" 2 "requests"
    equal "$(requests path='/v2/team/base/manifests/v1$')" 1 "manifests"
}

# The paths of all kits of a chain; what cannot be reached is an error, before anything is
# made.
case_pack_looks_through_the_chain() {
    make_base v1
    registry_start --layout "base=$TMP/base" --uploads
    push_child middle v1 "$REG/base:v1"
    child new "$REG/middle:v1"
    cp -r "$TMP/base-tree/." "$TMP/new"
    pack new "oci:$OUT:v1"
    equal "$(members "$OUT")" "" "members: lora is the middle's, the rest the base's"
    # A parent that has become its own child's.
    control tag base v1 "$(push_child base v2 "$REG/middle:v1")"
    refused "lead back: oci:$OUT:v2 -> $REG/middle:v1 -> $REG/base:v1 -> $REG/middle:v1" \
        kit pack "$TMP/new" -t "oci:$OUT:v2" --plain-http
}

case_pack_without_the_parent() {
    make_base v1
    registry_start --layout "base=$TMP/base"
    child new "$REG/base:v2"
    refused "the model is another kit: oci:$OUT:v1 -> $REG/base:v2: no such tag 'v2'" \
        kit pack "$TMP/new" -t "oci:$OUT:v1" --plain-http
    child new "$REG/other:v1"
    refused "the model is another kit: .* -> $REG/other:v1: no such repository" \
        kit pack "$TMP/new" -t "oci:$OUT:v1" --plain-http
    child new "$REG/base:v1"
    refused "the model is another kit: $REG/base:v1 -> $REG/base:v1|lead back" \
        kit pack "$TMP/new" -t "$REG/base:v1" --push --plain-http
    child new "team/base:v1"
    refused "the model is another kit: .* -> localhost/team/base:v1: .*store" \
        kit pack "$TMP/new" -t "oci:$OUT:v1"
    registry_stop
    child new "$REG/base:v1"
    refused "the model is another kit: .* -> $REG/base:v1: .*$REG" \
        kit pack "$TMP/new" -t "oci:$OUT:v1" --plain-http
    [ ! -e "$OUT" ] || fail "something was made"
}

run_case "$@"
