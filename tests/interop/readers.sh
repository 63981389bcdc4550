#!/bin/bash
# Packed layers read by the software of others: as kit >= 1.15 unpacks them, and by random
# access through the seek table.
# limit: 400
. "$(dirname "$0")/../integration/lib.sh"
ours=$tests/interop
. "$ours/packed.sh"

# --- what is read -----------------------------------------------------------------------

weights() { # DIR: stored and compressed frames, files around the size of a chunk
    local size
    python3 "$tests/clients/safetensors_tool.py" make "$1" --size 24M --shards 2 >"$TMP/made"
    python3 "$tests/bench/weights.py" bf16 "$1/model-00001-of-00002.safetensors"
    seq 300000 >"$1/text.txt"
    for size in 1 65535 65536 1048575 1048577; do
        head -c "$size" "$1/text.txt" >"$1/part.$size"
    done
}

names() { # DIR: all that a name can be, and files that are empty
    local long folder=$1
    long=$(printf 'n%.0s' {1..120})
    for _ in 1 2 3; do
        folder=$folder/$long
        mkdir -p "$folder"
        echo "$folder" >"$folder/$long$long.txt"
    done
    mkdir -p "$1/empty folder" "$1/日本語"
    : >"$1/empty"
    : >"$1/日本語/空"
    echo grün >"$1/日本語/Straße.json"
    printf '#!/bin/sh\n' >"$1/run.sh"
    chmod 755 "$1/run.sh"
}

nothing() { # DIR
    :
}

sorted() {
    LC_ALL=C sort -t $'\t' -k 5
}

# --- as kit does ------------------------------------------------------------------------

build_go() { # DIR
    (cd "$ours/go" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local CGO_ENABLED=0 \
        go build -trimpath -o "$1/readers" .)
}

go_readers() {
    need_go 1.25
    install_once readers-go "$ours/go/main.go $ours/go/go.mod $ours/go/go.sum" build_go
}

# The tree that kit's decoder and tar reader see through a pipe, and how much they leave.
seen_as_kit() { # zstd|tar PROCESSORS
    within 60 env GOMAXPROCS="$2" "$INSTALLED/readers" tree "$1" "$LAYER_SIZE" \
        < <(cat "$LAYER") 2>"$TMP/unread" | sorted >"$TMP/seen"
    diff -u "$TMP/tree" "$TMP/seen" || fail "$LAYER with $2 processors"
    UNREAD=$(sed -n 's/^unread //p' "$TMP/unread")
}

as_kit() { # MAKER
    local processors
    go_readers
    mkdir -p "$TMP/kit/model"
    "$1" "$TMP/kit/model"
    tree_of "$TMP/kit" | sorted >"$TMP/tree"
    pack_model "$TMP/kit" whole
    seen_as_kit zstd 2
    equal "$UNREAD" 0 "bytes that kit leaves"
    seen_as_kit zstd 1
    [ "$UNREAD" -gt 0 ] || fail "--no-seek-table is no longer needed with one processor"
    pack_model "$TMP/kit" no-table --no-seek-table
    for processors in 1 2; do
        seen_as_kit zstd "$processors"
        equal "$UNREAD" 0 "bytes that kit leaves without a table, $processors processors"
    done
    pack_model "$TMP/kit" plain --compression none
    seen_as_kit tar 1
    equal "$UNREAD" 0 "bytes that kit leaves of a plain layer"
}

case_kit_weights() {
    as_kit weights
}

case_kit_names() {
    as_kit names
}

case_kit_nothing() {
    as_kit nothing
}

# --- random access ----------------------------------------------------------------------

pack_for_ranges() { # [OPTIONS of pack]
    mkdir -p "$TMP/kit/model"
    weights "$TMP/kit/model"
    pack_model "$TMP/kit" v1 "$@"
    need zstd
    zstd -q -d -c "$LAYER" >"$TMP/stream"
    python3 "$ours/ranges.py" make "$(stat -c %s "$TMP/stream")" 200 >"$TMP/ranges"
    python3 "$ours/ranges.py" plain "$TMP/stream" <"$TMP/ranges" >"$TMP/expected"
}

same_ranges() { # COMMAND...
    within 60 "$@" <"$TMP/ranges" >"$TMP/got"
    cmp "$TMP/expected" "$TMP/got" || fail "$*"
}

case_seek_go() {
    go_readers
    pack_for_ranges
    same_ranges "$INSTALLED/readers" ranges "$LAYER"
}

install_python() { # DIR
    python3 -m venv "$1" && "$1/bin/pip" install -q --disable-pip-version-check \
        --only-binary :all: --no-deps -r "$ours/requirements.txt"
}

case_seek_python() {
    local name
    install_once readers-python "$ours/requirements.txt" install_python
    pack_for_ranges
    for name in pyzstd indexed_zstd; do
        same_ranges "$INSTALLED/bin/python3" "$ours/ranges.py" "$name" "$LAYER"
    done
}

build_rust() { # DIR
    CARGO_TARGET_DIR="$1/target" cargo build --quiet --locked --release \
        --manifest-path "$ours/rust/Cargo.toml" &&
        mv "$1/target/release/readers" "$1/readers" && rm -rf "$1/target"
}

case_seek_rust() {
    local name
    need cargo cc
    install_once readers-rust \
        "$ours/rust/src/main.rs $ours/rust/Cargo.toml $ours/rust/Cargo.lock" build_rust
    pack_for_ranges --chunk-size 256K
    for name in zeekstd contrib; do
        same_ranges "$INSTALLED/readers" "$name" "$LAYER"
    done
}

# --- written by others ------------------------------------------------------------------

# A layer that a program of others packs from a plain one, in frames of so many bytes: read
# by its frames, and nothing but the frames that are wanted.
written_by() { # FRAME COMMAND...
    local frame=$1 mark
    shift
    python3 "$rig/remake.py" "$TMP/layout" plain "v$frame" by zstd "$@" "$frame" \
        >"$TMP/manifest-digest"
    kit inspect --layers "oci:$TMP/layout:v$frame" | grep -q "tar+zstd .* frames" ||
        fail "$* $frame is not read by frames"
    kit verify "oci:$TMP/layout:v$frame" >"$TMP/verified"
    registry_start --layout "kit=$TMP/layout"
    mark=$(control mark)
    mount_kit "$REG/kit:v$frame"
    tail -c 1000 "$MNT/model/text.txt" | cmp - <(tail -c 1000 "$TMP/kit/model/text.txt")
    at_most "$(sent "from=$mark" path=blobs)" $((9 << 20)) "bytes for the end of a file"
    within 60 diff -r "$TMP/kit/model" "$MNT/model" || fail "$* $frame"
    umount_kit
    registry_stop
}

make_plain() {
    mkdir -p "$TMP/kit/model"
    weights "$TMP/kit/model"
    make_kit plain --context "$TMP/kit" model:model
}

case_written_by_go() {
    go_readers
    make_plain
    written_by 65536 "$INSTALLED/readers" write
    written_by 3000000 "$INSTALLED/readers" write
}

case_written_by_python() {
    install_once readers-python "$ours/requirements.txt" install_python
    make_plain
    written_by 300000 "$INSTALLED/bin/python3" "$ours/ranges.py" write
    written_by 2097152 "$INSTALLED/bin/python3" "$ours/ranges.py" write
}

case_written_by_rust() {
    need cargo cc
    install_once readers-rust \
        "$ours/rust/src/main.rs $ours/rust/Cargo.toml $ours/rust/Cargo.lock" build_rust
    make_plain
    written_by 200000 "$INSTALLED/readers" write-zeekstd
    written_by 1048576 "$INSTALLED/readers" write-contrib
}

run_case "$@"
