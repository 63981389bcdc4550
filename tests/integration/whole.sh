#!/bin/bash
# Layers without a table of contents, checked as a whole: --verify.
# as root, but for read_to_the_end|full|require_toc
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))

# A layer of a small file (seed 1), one of 20 MiB (seed 2) and another small one (seed 3):
# whoever reads all of them has all of the layer. $LAYER is its blob.
serve_dense() { # [ARGUMENTS of registry.py]
    cat >"$TMP/spec.json" <<'SPEC'
{"layers": [{"kind": "model", "path": "model", "files": [
    {"path": "model/a.txt", "size": 5000}, {"path": "model/m.bin", "size": 20971520},
    {"path": "model/z.txt", "size": 70000}]}]}
SPEC
    make_kit v1 --spec "$TMP/spec.json"
    registry_start --layout "kit=$TMP/layout" "$@"
    KIT=$REG/kit:v1
    LAYER=$(find "$TMP/layout/blobs" -size +20M)
    DIGEST=$(basename "$LAYER")
}

flip() { # OFFSET: of the layer's blob, one bit; again: back
    python3 - "$LAYER" "$1" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 1]))
PY
}

read_all() {
    check_bytes "$MNT/model/a.txt" 1 0 0
    check_bytes "$MNT/model/m.bin" 2 0 0
    check_bytes "$MNT/model/z.txt" 3 0 0
}

state_is() { # PATTERN
    [[ $(status_of state) == $1 ]]
}

# Past the kernel's page cache.
read_directly() { # FILE
    within 20 dd "if=$MNT/$1" of=/dev/null iflag=direct bs=64K count=1 status=none
}

fails() { # FILE: EIO
    ! read_directly "$1" 2>"$TMP/dd" && grep -q 'Input/output error' "$TMP/dd"
}

case_read_to_the_end() {
    serve_dense
    mount_kit "$KIT"
    equal "$(status_of state)" unverified "state at first"
    check_bytes "$MNT/model/a.txt" 1 0 0
    check_bytes "$MNT/model/m.bin" 2 0 0
    sleep 3 # longer than the worker waits before it looks
    equal "$(status_of state)" unverified "state without the last file"
    check_bytes "$MNT/model/z.txt" 3 0 0
    mark=$(control mark)
    until_true 20 state_is ok || fail "state: $(status_of state)"
    equal "$(requests "from=$mark")" 0 "requests for the check"
    umount_kit
    mark=$(control mark)
    mount_kit "$KIT"
    equal "$(status_of state)" ok "state of the next mount"
    read_all
    umount_kit
    mount_kit "$KIT" --verify full
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests of the next mounts"
    umount_kit
}

case_other_bytes() {
    serve_dense
    flip $((9 * MIB))
    mount_kit "$KIT"
    check_bytes "$MNT/model/a.txt" 1 0 0
    check_bytes "$MNT/model/m.bin" 2 0 "$MIB" # served: nothing is known yet
    within 20 cat "$MNT/model/m.bin" "$MNT/model/z.txt" >"$TMP/read"
    until_true 20 state_is "degraded: layer 'sha256:$DIGEST' cannot be trusted*" ||
        fail "state: $(status_of state)"
    ! within 5 cat "$MNT/model/a.txt" 2>"$TMP/cat" || fail "model/a.txt comes out of memory"
    grep -q 'Input/output error' "$TMP/cat" || fail "$(cat "$TMP/cat")"
    fails model/m.bin || fail "model/m.bin is read"
    fails model/a.txt || fail "model/a.txt is read"
    status_of last_error.message | grep -q "digest" || fail "$(status_of last_error)"
    umount_kit
    equal "$(find "$KITFS_CACHE_DIR/objects" -type f | wc -l)" 0 "objects that are kept"
    test ! -e "$KITFS_CACHE_DIR/small/table/$DIGEST" || fail "the file table is kept"

    # With the right bytes another mount is well.
    flip $((9 * MIB))
    mark=$(control mark)
    mount_kit "$KIT"
    read_all
    [ "$(sent "from=$mark" path=blobs)" -ge $((20 * MIB)) ] || fail "not fetched again"
    until_true 20 state_is ok || fail "state: $(status_of state)"
    umount_kit
}

# Files of the layer are read all the time, while it comes in and fails.
case_readers_when_it_fails() {
    serve_dense
    flip $((9 * MIB))
    mount_kit "$KIT"
    for file in a.txt m.bin z.txt; do
        (while read_directly model/$file 2>/dev/null; do :; done) &
        readers+=($!)
    done
    within 20 cat "$MNT"/model/* >"$TMP/read" || true # it may fail in the middle
    until_true 20 state_is 'degraded: layer*' || fail "state: $(status_of state)"
    wait "${readers[@]}"
    umount_kit
}

# 256 MiB to hash: it is not waited for.
case_umount_while_it_is_hashed() {
    serve_kit 256M
    mount_kit "$KIT" --verify full
    umount_kit
    rm -r "$KITFS_CACHE_DIR/small/sums"
    mount_kit "$KIT"
    sleep 2.3
    equal "$(status_of state)" unverified "state"
    umount_kit
}

# What no file holds comes when all files are here, unless nothing may be fetched unasked.
case_between_the_files() {
    make_kit v1 model:model/w.bin:40M
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:v1
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    mark=$(control mark)
    sleep 3
    equal "$(status_of state)" unverified "state with --prefetch none"
    equal "$(requests "from=$mark")" 0 "requests with --prefetch none"
    umount_kit
    mount_kit "$KIT" --prefetch auto
    until_true 20 state_is ok || fail "state: $(status_of state)"
    at_most "$(sent "from=$mark" path=blobs)" $((3 * MIB)) "bytes"
    umount_kit
}

case_full() {
    serve_dense
    mark=$(control mark)
    mount_kit "$KIT" --verify full
    equal "$(status_of state)" ok "state"
    equal "$(sent "from=$mark" "path=$DIGEST")" "$(stat -c %s "$LAYER")" "bytes"
    mark=$(control mark)
    read_all
    equal "$(requests "from=$mark")" 0 "requests of reads"
    umount_kit
    mount_kit "$KIT" --offline --verify full
    read_all
    equal "$(status_of state)" offline "state"
    umount_kit
}

case_full_with_other_bytes() {
    serve_dense
    for at in 0 700 $((9 * MIB)) $(($(stat -c %s "$LAYER") - 1)); do
        flip "$at"
        refused "$DIGEST" kit mount --plain-http --verify full "$KIT" "$MNT"
        ! mounted || fail "mounted with a wrong byte at $at"
        equal "$(find "$KITFS_CACHE_DIR/objects" -type f | wc -l)" 0 "objects, $at"
        test ! -e "$KITFS_CACHE_DIR/small/table/$DIGEST" || fail "table, $at"
        refused "$DIGEST" kit cat --plain-http --verify full "$KIT" model/a.txt
        flip "$at"
    done
    mount_kit "$KIT" --verify full
    read_all
    umount_kit
}

case_full_in_a_small_cache() {
    serve_dense
    refused "cannot hold" kit mount --plain-http --verify full --cache-size 10M "$KIT" \
        "$MNT"
    equal "$(requests "path=$DIGEST")" 0 "requests"
    : >"$TMP/file"
    refused "no cache" kit mount --plain-http --verify full --cache-dir "$TMP/file" \
        "$KIT" "$MNT"
}

case_full_is_cut() {
    serve_dense
    rule "{\"path\": \"$DIGEST\", \"action\": \"drop\", \"count\": 0}"
    refused "." kit mount --plain-http --read-timeout 2s --verify full "$KIT" "$MNT"
    ! mounted || fail "mounted"
    control clear
    mount_kit "$KIT" --verify full
    read_all
    umount_kit
}

case_require_toc() {
    make_kit v1 model:model/w.bin:1M code:code/x.py:10K docs:README.md:1K
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:v1
    refused "without a table of contents: model [0-9a-f]{12}, code [0-9a-f]{12}, docs" \
        kit mount --plain-http --verify require-toc "$KIT" "$MNT"
    refused "table of contents" kit ls --plain-http --verify require-toc "$KIT"
    ! mounted || fail "mounted"
    mkdir "$TMP/src"
    printf 'manifestVersion: "1.0.0"\nmodel:\n  path: w.bin\n' >"$TMP/src/Kitfile"
    echo weights >"$TMP/src/w.bin"
    kit pack "$TMP/src" -q -t "oci:$TMP/packed:v1"
    kit mount -q --verify require-toc "oci:$TMP/packed:v1" "$MNT"
    equal "$(cat "$MNT/w.bin")" weights "a kit with a table of contents"
    equal "$(status_of state)" ok "its state"
    umount_kit
}

run_case "$@"
