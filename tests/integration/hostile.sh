#!/bin/bash
# Layers that somebody made to do harm: a clear error, nothing mounted. Odd ones work.
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
