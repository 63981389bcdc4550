#!/bin/bash
# Kits that refer to other kits: packing them, and what is mounted of them.
# as root, but for offline|mount_a_chain_of_two_registries
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

layer_of_base() { # KIND: its digest
    local manifest
    manifest=$TMP/base/blobs/sha256/$(cut -c 8- "$TMP/base-digest")
    jq -r --arg kind ".$1." '.layers[] | select(.mediaType | contains($kind)).digest' "$manifest"
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
    refused "the model is another kit: .* -> team/base:v1: .*store" \
        kit pack "$TMP/new" -t "oci:$OUT:v1"
    registry_stop
    child new "$REG/base:v1"
    refused "the model is another kit: .* -> $REG/base:v1: .*$REG" \
        kit pack "$TMP/new" -t "oci:$OUT:v1" --plain-http
    [ ! -e "$OUT" ] || fail "something was made"
}

# --- reading ----------------------------------------------------------------------------

second_registry() { # ARGUMENTS of registry.py: sets REG2, CONTROL2, PID2
    python3 "$rig/registry.py" --journal "$TMP/journal2" --port-file "$TMP/ports2" "$@" &
    PID2=$!
    until_true 20 test -e "$TMP/ports2" || fail "the second registry does not start"
    REG2=127.0.0.1:$(sed -n 's/^PORT=//p' "$TMP/ports2")
    CONTROL2=$(sed -n 's/^CONTROL=//p' "$TMP/ports2")
}

second() { # FILTER...: requests that the second registry got
    python3 "$rig/ctl.py" "$CONTROL2" count "$@" | cut -d ' ' -f 1
}

names_in() { # DIR: of all files below
    (cd "$1" && find . -type f | sort | sed 's|^\./||' | tr '\n' ' ')
}

# A chain through another repository of the same registry into a second registry.
serve_chain() {
    make_base v1
    second_registry --layout "team/base=$TMP/base"
    registry_start --uploads
    push_child middle v1 "$REG2/team/base:v1" >"$TMP/middle-digest"
    child adapter-v1 "$REG/middle:v1"
    mkdir "$TMP/adapter-v1/docs"
    echo extra >"$TMP/adapter-v1/docs/notes"
    sed -i 's/path: \./path: docs/' "$TMP/adapter-v1/Kitfile"
    pack adapter-v1 "$REG/adapter:v1" --push >"$TMP/adapter-digest"
}

same_as_chain() { # DIR: model and part of the base, code of the adapter alone, its Kitfile
    equal "$(names_in "$1")" \
        "Kitfile docs/notes model/sub/deep model/w.bin tokenizer.json " "files"
    cmp "$1/model/w.bin" "$TMP/base-tree/model/w.bin"
    cmp "$1/tokenizer.json" "$TMP/base-tree/tokenizer.json"
    equal "$(cat "$1/docs/notes")" extra "docs/notes"
    grep -q '^  name: adapter-v1$' "$1/Kitfile" || fail "not the adapter's Kitfile"
    ! grep -q tokenizer "$1/Kitfile" || fail "the base's Kitfile"
}

case_mount_a_chain_of_two_registries() {
    serve_chain
    local first first2
    first=$(control mark)
    first2=$(python3 "$rig/ctl.py" "$CONTROL2" mark)
    mount_kit "$REG/adapter:v1" 2>"$TMP/mounted"
    same_as_chain "$MNT"
    equal "$(status_of digest)" "$(cat "$TMP/adapter-digest")" "digest"
    equal "$(status_of 'references | map(.reference) | join(" ")')" \
        "$REG2/team/base:v1 $REG/middle:v1" "references"
    equal "$(status_of 'references | map(.digest) | join(" ")')" \
        "$(cat "$TMP/base-digest") $(cat "$TMP/middle-digest")" "their digests"
    grep -q "^  refers to $REG2/team/base:v1@sha256:" "$TMP/mounted" || fail "what mount says"
    umount_kit
    # Each manifest and config once, and of layers those that count: docs/notes here, model and
    # part there.
    for name in adapter middle; do
        equal "$(requests from="$first" path="^/v2/$name/manifests/v1$")" 1 "manifests of $name"
    done
    equal "$(second from="$first2" path='^/v2/team/base/manifests/v1$')" 1 "manifests of base"
    for kind in code dataset docs; do
        equal "$(second from="$first2" path="$(layer_of_base $kind)")" 0 \
            "requests for the base's $kind"
    done
    equal "$(requests from="$first" path=/v2/middle/blobs/)" 1 "the middle's config alone"
}

# A filter counts for what is referred to as for the kit itself; what it leaves out is not
# followed.
case_filters() {
    serve_chain
    local first first2
    first=$(control mark)
    first2=$(python3 "$rig/ctl.py" "$CONTROL2" mark)
    equal "$(kit ls -R --plain-http --filter code "$REG/adapter:v1" | tr '\n' ' ')" \
        "docs/ docs/notes " "the code"
    equal "$(requests from="$first" path=/v2/middle/)" 0 "requests for the middle"
    equal "$(second from="$first2")" 0 "requests for the base"
    first=$(control mark)
    equal "$(kit ls -R --plain-http --filter model "$REG/adapter:v1" | tr '\n' ' ')" \
        "model/ model/sub/ model/sub/deep model/w.bin tokenizer.json " "the model"
    equal "$(requests from="$first" path=/v2/adapter/blobs/)" 0 "blobs of the adapter"
    equal "$(kit ls -R --plain-http --filter model:tokenizer.json "$REG/adapter:v1")" \
        tokenizer.json "a part by its path"
    equal "$(kit ls -R --plain-http --filter datasets,docs "$REG/adapter:v1" 2>&1)" \
        "[WARN ] Nothing in it matches the filter" "of a parent only the model counts"
    mount_kit "$REG/adapter:v1" --filter model --subdir model
    equal "$(names_in "$MNT")" "sub/deep w.bin " "a folder of the base as the root"
    umount_kit
}

case_ls_cat_and_inspect() {
    serve_chain
    equal "$(kit ls -R --plain-http "$REG/adapter:v1" | tr '\n' ' ')" \
        "Kitfile docs/ docs/notes model/ model/sub/ model/sub/deep model/w.bin tokenizer.json " "ls"
    equal "$(kit cat --plain-http "$REG/adapter:v1" model/w.bin)" "weights of v1" "cat"
    kit info --plain-http "$REG/adapter:v1" | grep -q '^  name: adapter-v1$' || fail "info"
    kit inspect --plain-http "$REG/adapter:v1" >"$TMP/inspected"
    equal "$(jq -r '.digest, (.manifest.layers | length)' "$TMP/inspected" | tr '\n' ' ')" \
        "$(cat "$TMP/adapter-digest") 1 " "inspect"
    kit inspect --layers --plain-http "$REG/adapter:v1" >"$TMP/layers"
    equal "$(grep -c ", from $REG2/team/base:v1\$" "$TMP/layers")" 2 "layers of the base"
    equal "$(wc -l <"$TMP/layers")" 4 "lines"
    kit verify --plain-http "$REG/adapter:v1" || fail "verify"
    # A flipped byte in a layer of the base.
    local digest
    digest=$(layer_of_base modelpart)
    printf X | dd of="$TMP/base/blobs/sha256/${digest#sha256:}" bs=1 seek=512 conv=notrunc \
        status=none
    ! kit verify --plain-http "$REG/adapter:v1" >"$TMP/found" 2>&1 || fail "nothing was found"
    grep -q "$digest" "$TMP/found" || fail "it is not named"
}

# Everything that was resolved once is pinned, and found without a network.
case_offline() {
    serve_chain
    mount_kit "$REG/adapter:v1"
    within 10 cat "$MNT/model/w.bin" "$MNT/model/sub/deep" "$MNT/tokenizer.json" \
        "$MNT/docs/notes" >/dev/null
    umount_kit
    registry_stop
    kill "$PID2"
    wait "$PID2" 2>/dev/null || true
    mount_kit --offline "$REG/adapter:v1"
    same_as_chain "$MNT"
    equal "$(status_of origin)" "the cache" "origin"
    umount_kit
    KITFS_CACHE_DIR=$TMP/cache2 refused "not in the cache" \
        kit ls --offline "$REG/adapter:v1"
}

# A mount keeps what it resolved; the next one asks for each tag.
case_a_parents_tag_moves() {
    serve_chain
    mount_kit "$REG/adapter:v1"
    push_child middle v2 "$REG2/team/base:v1" >"$TMP/middle-digest"
    control tag middle v1 "$(cat "$TMP/middle-digest")"
    equal "$(within 5 cat "$MNT/tokenizer.json")" tokenizer "while it is mounted"
    umount_kit
    mount_kit "$REG/adapter:v1"
    equal "$(status_of 'references[1].digest')" "$(cat "$TMP/middle-digest")" "digest"
    umount_kit
}

case_what_leads_back() {
    make_base v1
    registry_start --layout "base=$TMP/base" --uploads
    push_child a v1 "$REG/base:v1" >/dev/null
    push_child b v1 "$REG/a:v1" >/dev/null
    local digest
    digest=$(push_child a v2 "$REG/b:v1")
    control tag a v1 "$digest"
    refused "lead back: $REG/a:v1 -> $REG/b:v1 -> $REG/a:v1" kit ls --plain-http "$REG/a:v1"
    refused "lead back: $REG/a@$digest -> $REG/b:v1 -> $REG/a:v1, which is $REG/a@$digest" \
        mount_kit "$REG/a@$digest"
    ! mounted || fail "it is mounted"
}

case_ten_references() {
    make_base v1
    registry_start --layout "base=$TMP/base" --uploads
    local parent=$REG/base:v1 digest
    for number in 1 2 3 4 5 6 7 8 9 10; do
        digest=$(push_child "k$number" v1 "$parent")
        parent=$REG/k$number:v1
    done
    equal "$(kit cat --plain-http "$REG/k10:v1" model/w.bin)" "weights of v1" "ten references"
    child k11 "$parent"
    refused "the model is another kit: more than 10 references one after the other: .* -> $REG/base:v1" \
        kit pack "$TMP/k11" -t "oci:$OUT:v1" --plain-http
    # Packed while the chain was shorter.
    control tag k10 v1 "$(push_child k10 v2 "$REG/base:v1")"
    push_child k11 v1 "$REG/k10:v1" >/dev/null
    control tag k10 v1 "$digest"
    refused "more than 10 references one after the other: .* -> $REG/base:v1" \
        kit ls --plain-http "$REG/k11:v1"
}

# A path of parent and child is an error, as for kit unpack; folders are one.
case_a_path_twice() {
    make_base v1
    registry_start --layout "base=$TMP/base" --uploads
    child new "$REG/base:v1"
    mkdir "$TMP/new/model"
    echo mine >"$TMP/new/model/mine"
    sed -i 's|path: \.|path: model|' "$TMP/new/Kitfile"
    pack new "$REG/new:v1" --push >/dev/null
    equal "$(kit ls -R --plain-http "$REG/new:v1" | tr '\n' ' ')" \
        "Kitfile model/ model/mine model/sub/ model/sub/deep model/w.bin tokenizer.json " "ls"
    echo mine >"$TMP/new/model/w.bin"
    pack new "$REG/new:v2" --push >/dev/null
    refused "path 'model/w.bin': it comes twice" kit ls --plain-http "$REG/new:v2"
}

case_parents_that_are_not_there() {
    make_base v1
    registry_start --layout "base=$TMP/base" --uploads
    second_registry --layout "base=$TMP/base"
    push_child here v1 "$REG/base:v1" >/dev/null
    push_child there v1 "$REG2/base:v1" >/dev/null
    rule '{"path": "/v2/base/manifests", "action": "status", "code": 404, "count": 0}'
    refused "cannot open '$REG/here:v1': $REG/here:v1 -> $REG/base:v1: no such tag 'v1'" \
        kit ls --plain-http "$REG/here:v1"
    control clear
    rule '{"path": "/v2/base/manifests", "action": "status", "code": 403, "count": 0}'
    refused "$REG/here:v1 -> $REG/base:v1: .*403" kit ls --plain-http "$REG/here:v1"
    kill "$PID2"
    wait "$PID2" 2>/dev/null || true
    refused "$REG/there:v1 -> $REG2/base:v1: " \
        kit ls --plain-http --read-timeout 2s "$REG/there:v1"
}

# --- remote datasets --------------------------------------------------------------------

case_remote_datasets() {
    make_base v1
    registry_start --layout "base=$TMP/base" --uploads
    mkdir -p "$TMP/set"
    echo ours >"$TMP/set/ours.csv"
    cat >"$TMP/set/Kitfile" <<EOF
manifestVersion: 1.0.0
datasets:
- {name: theirs, path: ./shared/x/, remotePath: "$REG/base:v1"}
- {name: ours, path: ours.csv}
EOF
    pack set "$REG/set:v1" --push >/dev/null
    local first
    first=$(control mark)
    kit ls -R --plain-http "$REG/set:v1" >"$TMP/listed" 2>"$TMP/stderr"
    equal "$(tr '\n' ' ' <"$TMP/listed")" "Kitfile ours.csv " "without the option"
    equal "$(grep -c 'datasets_left_out.*--include-remote' "$TMP/stderr")" 1 "warnings"
    equal "$(kit ls -R --plain-http --filter datasets:ours "$REG/set:v1" 2>&1)" ours.csv \
        "by a filter, without a warning"
    equal "$(kit ls -R --plain-http --include-remote --filter datasets:ours "$REG/set:v1" 2>&1)" \
        ours.csv "by a filter, with the option"
    equal "$(requests from="$first" path=/base/)" 0 "requests for the other kit"
    kit ls -R --plain-http --include-remote "$REG/set:v1" >"$TMP/listed" 2>"$TMP/stderr"
    equal "$(tr '\n' ' ' <"$TMP/listed")" \
        "Kitfile ours.csv shared/ shared/x/ shared/x/data/ shared/x/data/d.csv " "with it"
    equal "$(cat "$TMP/stderr")" "" "warnings"
    mount_kit --include-remote "$REG/set:v1"
    cmp "$MNT/shared/x/data/d.csv" "$TMP/base-tree/data/d.csv"
    equal "$(stat -c %a "$MNT/shared" "$MNT/shared/x" | tr '\n' ' ')" "755 755 " "modes"
    equal "$(status_of 'references[0].reference')" "$REG/base:v1" "references"
    umount_kit
    equal "$(kit cat --plain-http --include-remote "$REG/set:v1" shared/x/data/d.csv)" 1,2 "cat"
    kit verify --plain-http --include-remote "$REG/set:v1" || fail "verify"
}

case_datasets_in_s3() {
    mkdir "$TMP/set"
    echo ours >"$TMP/set/ours.csv"
    cat >"$TMP/set/Kitfile" <<EOF
manifestVersion: 1.0.0
datasets:
- {name: theirs, path: big, remotePath: "s3://bucket/key?versionId=1", remoteHash: abc}
- {name: ours, path: ours.csv}
EOF
    pack set "oci:$OUT:v1" >/dev/null
    equal "$(kit cat "oci:$OUT:v1" ours.csv 2>"$TMP/stderr")" ours "the rest"
    equal "$(grep -c datasets_left_out "$TMP/stderr")" 1 "warnings"
    kit info "oci:$OUT:v1" | grep -q 'remoteHash: abc' || fail "the Kitfile"
    refused "dataset 'big' of 'oci:$OUT:v1' is at 's3://bucket/key\?versionId=1': s3:// is not supported" \
        kit ls --include-remote "oci:$OUT:v1"
    refused "s3:// is not supported" mount_kit --include-remote "oci:$OUT:v1"
}

run_case "$@"
