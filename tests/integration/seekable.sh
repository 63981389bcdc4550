#!/bin/bash
# zstd layers that are read without being read whole, and that no annotation says how: by
# the frames of a seek table, as other tools make them, or by a table of contents whose
# annotation was dropped on the way.
# as root, but for frames|raw
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))

remake() { # TAG NEW-TAG ARGUMENTS of remake.py
    need zstd
    python3 "$rig/remake.py" "$TMP/layout" "$@" >"$TMP/manifest-digest"
}

make_tree() { # a folder with a large file, small ones, and names that need PAX
    local long
    long=$(printf 'n%.0s' {1..120})
    mkdir -p "$TMP/tree/model/sub/$long"
    seq 600000 >"$TMP/tree/model/large.txt"
    head -c 9000000 /dev/urandom >"$TMP/tree/model/weights.bin"
    for name in 1 2 3; do
        head -c "$((name * 30000))" "$TMP/tree/model/large.txt" >"$TMP/tree/model/sub/$name"
    done
    : >"$TMP/tree/model/empty"
    echo grün >"$TMP/tree/model/sub/$long/Straße.json"
    make_kit plain --context "$TMP/tree" model:model
}

same_files() { # REF [OPTIONS]: mounts, compares, and leaves it mounted
    mount_kit "$@"
    within 60 diff -r -x Kitfile -x .kitfs "$TMP/tree" "$MNT" || fail "the tree of $1"
}

how_read() { # REF PATTERN: what inspect says about its only layer
    kit inspect --plain-http --layers "$1" >"$TMP/layers"
    grep -q "$2" "$TMP/layers" || fail "$(cat "$TMP/layers")"
}

case_frames() {
    make_tree
    remake plain 64k seekable 64K
    remake plain 1m seekable 1M --checksums
    remake plain 5m seekable 5M --unsized --checksums
    remake plain skip seekable 100K --skip
    registry_start --layout "kit=$TMP/layout"
    for tag in 64k 1m 5m skip; do
        how_read "$REG/kit:$tag" "tar+zstd .* frames"
        for ref in "oci:$TMP/layout:$tag" "$REG/kit:$tag"; do
            same_files "$ref" --cache-dir "$TMP/cache-${ref%%:*}"
            umount_kit
        done
        kit verify --plain-http "$REG/kit:$tag" >"$TMP/verified"
        kit unpack --plain-http -q "$REG/kit:$tag" -d "$TMP/unpacked-$tag"
        diff -r -x Kitfile "$TMP/tree" "$TMP/unpacked-$tag" || fail "unpacked $tag"
    done
}

# A second mount asks for nothing, with and without --offline.
case_frames_again() {
    make_tree
    remake plain v1 seekable 1M
    registry_start --layout "kit=$TMP/layout"
    same_files "$REG/kit:v1"
    sleep 1.5
    umount_kit
    local mark
    mark=$(control mark)
    same_files "$REG/kit:v1"
    umount_kit
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests of a second mount"
    registry_stop
    same_files "$REG/kit:v1" --offline
    umount_kit
}

# 1 MiB out of 64 costs a few frames, not the layer.
case_frames_are_lazy() {
    make_kit plain model:model/w.bin:64M
    remake plain v1 seekable 1M
    registry_start --layout "kit=$TMP/layout"
    mount_kit "$REG/kit:v1"
    check_bytes "$MNT/model/w.bin" 1 $((31 * MIB)) "$MIB"
    at_most "$(sent path=blobs)" $((8 * MIB)) "bytes"
    at_most "$(requests path=blobs)" 8 "requests for blobs"
    check_bytes "$MNT/model/w.bin" 1 0 0
    memory_is_bounded
    umount_kit
}

case_raw() {
    need zstd
    mkdir -p "$TMP/tree"
    seq 500000 >"$TMP/tree/numbers.txt"
    printf 'manifestVersion: 1.0.0\npackage: {name: raw}\nmodel: {path: numbers.txt}\n' \
        >"$TMP/tree/Kitfile"
    kit pack "$TMP/tree" -t "oci:$TMP/layout:plain" -q --layer-format raw >"$TMP/digest"
    remake plain v1 seekable 300K --checksums
    how_read "oci:$TMP/layout:v1" "raw+zstd .* frames"
    same_files "oci:$TMP/layout:v1"
    umount_kit
    sed -i 's/\\"size\\":[0-9]*/\\"size\\":7/' "$TMP"/layout/blobs/sha256/"$(manifest v1)"
    refused 'has 3388895 bytes, and its metadata says 7' retagged v1
}

manifest() { # TAG: the hex of its digest
    jq -r --arg tag "$1" '.manifests[] |
        select(.annotations["org.opencontainers.image.ref.name"] == $tag).digest[7:]' \
        "$TMP/layout/index.json"
}

# The manifest of the tag has other bytes now: under their digest, and mounted.
retagged() { # TAG
    local old new
    old=$(manifest "$1")
    new=$(sha256sum "$TMP/layout/blobs/sha256/$old" | cut -c 1-64)
    mv "$TMP/layout/blobs/sha256/$old" "$TMP/layout/blobs/sha256/$new"
    jq -c --arg old "sha256:$old" --arg new "sha256:$new" \
        --argjson size "$(stat -c %s "$TMP/layout/blobs/sha256/$new")" \
        '.manifests |= map(if .digest == $old then .digest = $new | .size = $size else . end)' \
        "$TMP/layout/index.json" >"$TMP/index.json"
    mv "$TMP/index.json" "$TMP/layout/index.json"
    kit ls "oci:$TMP/layout:$1"
}

pack_tree() { # [OPTIONS of pack]
    make_tree
    cat >"$TMP/tree/Kitfile" <<'END'
manifestVersion: 1.0.0
package: {name: stripped}
model: {path: model}
END
    kit pack "$TMP/tree" -t "oci:$TMP/layout:v1" -q --chunk-size 64K "$@" >"$TMP/digest"
}

# Copied by something that drops annotations of layers: as lazy, as well checked.
case_toc_without_annotation() {
    pack_tree
    remake v1 stripped strip
    registry_start --layout "kit=$TMP/layout"
    how_read "$REG/kit:v1" "chunks, each checked$"
    how_read "$REG/kit:stripped" "chunks, each checked by a table without annotation"
    kit inspect --plain-http --toc "$REG/kit:v1" >"$TMP/toc"
    kit inspect --plain-http --toc "$REG/kit:stripped" | cmp "$TMP/toc" - ||
        fail "another table of contents"
    kit verify --plain-http "$REG/kit:stripped" >"$TMP/verified"
    local mark
    mark=$(control mark)
    mount_kit "$REG/kit:stripped"
    cmp "$MNT/model/sub/1" "$TMP/tree/model/sub/1"
    at_most "$(sent "from=$mark" path=blobs)" "$MIB" "bytes for a small file"
    umount_kit
    mark=$(control mark)
    same_files "$REG/kit:stripped"
    umount_kit
    sleep 1.5
    registry_stop
    same_files "$REG/kit:stripped" --offline
    umount_kit
}

# One bit of a chunk: its own digest finds it.
case_toc_without_annotation_damaged() {
    pack_tree
    remake v1 stripped strip
    local blob
    blob=$TMP/layout/blobs/sha256/$(jq -r '.layers[0].digest[7:]' \
        "$TMP/layout/blobs/sha256/$(manifest stripped)")
    python3 - "$blob" <<'END'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(4 << 20)
    byte = file.read(1)[0]
    file.seek(4 << 20)
    file.write(bytes([byte ^ 1]))
END
    mount_kit "oci:$TMP/layout:stripped"
    ! within 20 cat "$MNT/model/weights.bin" >"$TMP/got" 2>"$TMP/stderr" || fail "read"
    status_of last_error.message | grep -q "has the digest" || fail "$(status_of last_error)"
    cmp "$MNT/model/sub/3" "$TMP/tree/model/sub/3"
    umount_kit
}

# Without a table of contents inside, the seek table is all there is.
case_packed_without_toc() {
    pack_tree --toc none
    how_read "oci:$TMP/layout:v1" "tar+zstd .* frames"
    same_files "oci:$TMP/layout:v1"
    umount_kit
}

# Tables that lie: an error, right bytes where there are some, and no memory for a bomb.
case_lies() {
    need zstd
    make_kit plain model:model/w.bin:4M
    registry_start --layout "kit=$TMP/layout"
    for what in length bomb checksum short; do
        remake plain "$what" lie "$what"
        for ref in "oci:$TMP/layout:$what" "$REG/kit:$what"; do
            if mount_kit "$ref" -q 2>"$TMP/stderr"; then
                ! within 20 cat "$MNT/model/w.bin" >"$TMP/got" 2>"$TMP/why" || fail "$what"
                memory_is_bounded
                umount_kit
            fi
        done
        ! kit verify "oci:$TMP/layout:$what" >"$TMP/verified" 2>&1 || fail "verify $what"
    done
}

run_case "$@"
