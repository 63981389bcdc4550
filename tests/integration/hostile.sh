#!/bin/bash
# Layers that somebody made to do harm: a clear error, nothing mounted. Odd ones work.
# as root, but for refused|streamed
# limit: 180
. "$(dirname "$0")/lib.sh"

case_refused() {
    python3 "$here/hostile.py" "$TMP/layout"
    while read -r tag; do
        refused "Cannot mount oci:$TMP/layout:$tag.*: .+" kit mount "oci:$TMP/layout:$tag" \
            "$MNT"
        ! mounted || fail "$tag is mounted"
        refused "Cannot" kit ls "oci:$TMP/layout:$tag"
    done <"$TMP/layout/hostile"
}

case_refused_from_a_registry() {
    python3 "$here/hostile.py" "$TMP/layout"
    registry_start --layout "kit=$TMP/layout"
    for tag in parent size-beyond-blob pax-huge cut-in-a-header pax-size-overflows; do
        refused "Cannot mount $REG/kit:$tag.*: .+" kit mount --plain-http "$REG/kit:$tag" \
            "$MNT"
        ! mounted || fail "$tag is mounted"
    done
}

# The same archives, packed by others in frames.
case_in_frames() {
    need zstd
    python3 "$here/hostile.py" "$TMP/layout"
    while read -r tag; do
        python3 "$rig/remake.py" "$TMP/layout" "$tag" "$tag-z" seekable 300 >"$TMP/digest"
        refused "Cannot" kit ls "oci:$TMP/layout:$tag-z"
        ! grep -q "zstd frame" "$TMP/error" || fail "$tag: $(cat "$TMP/error")"
    done <"$TMP/layout/hostile"
    while read -r tag; do
        python3 "$rig/remake.py" "$TMP/layout" "$tag" "$tag-z" seekable 300 >"$TMP/digest"
        equal "$(kit cat "oci:$TMP/layout:$tag-z" a.txt)" hi "content of $tag"
    done <"$TMP/layout/odd"
}

# And streamed: gzip has no other way. What is odd but fine works so, too.
case_streamed() {
    python3 "$here/hostile.py" "$TMP/layout"
    mkdir -p "$MNT"
    while read -r tag; do
        python3 "$rig/remake.py" "$TMP/layout" "$tag" "$tag-g" by gzip gzip -c >"$TMP/digest"
        refused "Cannot mount .*: .+" kit mount "oci:$TMP/layout:$tag-g" "$MNT"
        ! grep -q "damaged gzip" "$TMP/error" || fail "$tag: $(cat "$TMP/error")"
        ! mounted || fail "$tag is mounted"
    done <"$TMP/layout/hostile"
    equal "$(ls -A "$MNT")" "" "names at the mount point"
    while read -r tag; do
        python3 "$rig/remake.py" "$TMP/layout" "$tag" "$tag-g" by gzip gzip -c >"$TMP/digest"
        equal "$(kit cat "oci:$TMP/layout:$tag-g" a.txt)" hi "content of $tag"
        equal "$(kit ls "oci:$TMP/layout:$tag-g" | tr '\n' ' ')" "Kitfile a.txt " "names of $tag"
    done <"$TMP/layout/odd"
}

# Frames of 16 MiB that are the same hundreds of times: a small blob, a large stream.
repeated() { # TAG NUMBER KIND [streamed: without a seek table]
    need zstd
    python3 - "$rig" "$TMP/layout" "$@" <<'PY'
import struct
import sys
sys.path.insert(0, sys.argv[1])
import kittar, mkkit, remake
layout, tag, number, kind = sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
table = remake.seek_table if len(sys.argv) == 6 else lambda *_: b""
SIZE = 16 << 20
def frames(first, content, count):
    parts = remake.compress([first, content])
    entries = [(len(parts[0]), len(first), 0)] + [(len(parts[1]), SIZE, 0)] * count
    return parts[0] + parts[1] * count + table(entries, False)
if kind == "entries":
    blob = frames(kittar.header("folder", b"5", 0o755, 0),
                  kittar.header("a", b"0", 0o644, 0) * (SIZE // 512), number)
else:
    blob = frames(kittar.header("zeros", b"0", 0o644, number * SIZE), bytes(SIZE), number)
layer = mkkit.Layer("model", "a", [])
layer.parts = lambda: [blob]
mkkit.store(layout, tag, tag, [layer])
kit = remake.Kit(layout, tag)
kit.manifest["layers"][0]["mediaType"] += "+zstd"
kit.store(tag)
print(len(blob))
PY
}

# 10 million entries: refused, at a limit, in bounded memory and time.
ten_million_entries() { # [streamed]
    local limit=700000 began
    [ -z "$SANITIZED" ] || limit=2500000
    at_most "$(repeated bomb 306 entries "$@")" 1000000 "bytes of the blob"
    began=$(milliseconds)
    refused 'more than 4194304 entries' python3 - "$TMP/kib" \
        "$KITFS" ls "oci:$TMP/layout:bomb" <<'PY'
import pathlib, resource, subprocess, sys
status = subprocess.run(sys.argv[2:], timeout=100).returncode
pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
PY
    at_most $(($(milliseconds) - began)) 90000 "milliseconds"
    at_most "$(cat "$TMP/kib")" "$limit" "resident KiB at most"
}

case_ten_million_entries() {
    ten_million_entries
}

case_ten_million_entries_streamed() {
    ten_million_entries streamed
}

# A hundred gigabytes of zeros in 10 MB are a file like others: what is read costs.
case_zstd_bomb() {
    at_most "$(repeated bomb 6400 zeros)" 12000000 "bytes of the blob"
    mount_kit "oci:$TMP/layout:bomb"
    equal "$(stat -c %s "$MNT/zeros")" $((6400 << 24)) "size"
    equal "$(within 20 tail -c 3000000 "$MNT/zeros" | tr -d '\0' | wc -c)" 0 "bytes that are none"
    equal "$(within 20 head -c 3000000 "$MNT/zeros" | tr -d '\0' | wc -c)" 0 "bytes that are none"
    memory_is_bounded
    umount_kit
}

# The same cannot be streamed: the pass ends where it gives too much for what came in, and
# leaves nothing behind.
case_zstd_bomb_streamed() {
    local began
    at_most "$(repeated bomb 6400 zeros streamed)" 12000000 "bytes of the blob"
    began=$(milliseconds)
    mkdir -p "$MNT"
    refused 'unpacks to more than' kit mount --cache-size 64M "oci:$TMP/layout:bomb" "$MNT"
    at_most $(($(milliseconds) - began)) 45000 "milliseconds"
    ! mounted || fail "mounted"
    at_most "$(du -sk "$KITFS_CACHE_DIR" | cut -f 1)" 131072 "KiB in the cache"
}

# The names the error repeats cannot play with a terminal.
case_names_in_errors_are_plain() {
    python3 - "$rig" "$TMP/layout" <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
import kittar, mkkit
layer = mkkit.Layer("model", "a", [])
layer.parts = lambda: [kittar.header("\x1b[31m\n../a", b"0", 0o644, 0), bytes(1024)]
mkkit.store(sys.argv[2], "v1", "x", [layer])
PY
    refused "Cannot mount" kit mount "oci:$TMP/layout:v1" "$MNT"
    ! grep -q $'\x1b' "$TMP/stderr" || fail "an escape character in the error"
}

case_odd_but_fine() {
    python3 "$here/hostile.py" "$TMP/layout"
    while read -r tag; do
        mount_kit "oci:$TMP/layout:$tag" -q || fail "$tag"
        equal "$(within 5 cat "$MNT/a.txt")" hi "content of $tag"
        equal "$(within 5 ls "$MNT" | tr "\n" " ")" "Kitfile a.txt " "names of $tag"
        umount_kit
    done <"$TMP/layout/odd"
}

# A table of a hundred thousand names does not take memory without end.
case_many_names() {
    cat >"$TMP/spec.json" <<'JSON'
{"layers": [{"kind": "dataset", "path": "d", "files": [
    {"path": "d/%03d", "size": 0, "count": 1000, "seed": 1},
    {"path": "d/sub/file-with-a-rather-long-name-%06d.json", "size": 700, "count": 50000}]}]}
JSON
    registry_start --synthetic "many:v1=$TMP/spec.json"
    mount_kit "$REG/many:v1"
    equal "$(within 60 find "$MNT" -type f | wc -l)" 51001 "files"
    memory_is_bounded
    umount_kit
}

run_case "$@"
