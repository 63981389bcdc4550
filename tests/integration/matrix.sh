#!/bin/bash
# Every kind of layer times every content that it can hold (matrix.py), from a layout and
# from a registry; layers that the programs of others packed; ModelPacks as modctl makes them.
# as root, but for layout|tools
# limit: 120
. "$(dirname "$0")/lib.sh"

make_matrix() {
    need gzip zstd
    python3 "$here/matrix.py" kinds "$TMP/layout" | sort -t $'\t' -k 5 >"$TMP/expected"
}

# The rows of the expected tree that this kit has.
compare() { # DIR [PATTERN: what is not in it]
    tree_of "$1" | awk -F '\t' '$5 != "Kitfile"' | sort -t $'\t' -k 5 >"$TMP/actual"
    awk -F '\t' -v without="${2:-^$}" '$5 !~ without' "$TMP/expected" >"$TMP/wanted"
    diff "$TMP/wanted" "$TMP/actual" >"$TMP/differ" || fail "the tree: $(head -c 2000 "$TMP/differ")"
}

case_layout() {
    make_matrix
    mount_kit "oci:$TMP/layout:modelkit"
    compare "$MNT"
    memory_is_bounded
    umount_kit
    for tag in cncf cnai; do
        mount_kit "oci:$TMP/layout:$tag"
        compare "$MNT" '^mcpb'
        [ ! -e "$MNT/Kitfile" ] || fail "a Kitfile out of nothing"
        umount_kit
    done
}

case_registry() {
    make_matrix
    registry_start --layout "kit=$TMP/layout"
    mount_kit "$REG/kit:modelkit"
    compare "$MNT"
    memory_is_bounded
    umount_kit
    kit verify --plain-http "$REG/kit:modelkit" >"$TMP/verified" || fail "$(cat "$TMP/verified")"
    kit unpack -q --plain-http --cache-dir "$TMP/other" "$REG/kit:modelkit" -d "$TMP/unpacked"
    compare "$TMP/unpacked"
}

# Archives and streams of Debian's programs, in all the formats that they write.
case_tools() {
    need gzip pigz zstd pzstd bsdtar
    mkdir "$TMP/source"
    python3 "$here/matrix.py" tools "$TMP/layout" "$TMP/source"
    tree_of "$TMP/source" | sort -t $'\t' -k 5 >"$TMP/expected"
    equal "$(wc -l <"$TMP/expected")" 278 "files and folders"
    mount_kit "oci:$TMP/layout:v1"
    compare "$MNT"
    umount_kit
    kit verify "oci:$TMP/layout:v1" >"$TMP/verified" || fail "$(cat "$TMP/verified")"
}

# Plain ones are in lazy.sh, packed ones in packing.sh. (gzip of that size takes half a minute.)
case_more_than_8_gib() {
    need zstd
    python3 "$here/matrix.py" huge "$TMP/layout"
    for form in gzip zstd; do
        equal "$(kit cat "oci:$TMP/layout:$form" a.txt)" first "before it, $form"
    done
    kit cat --offset $((8 << 30)) --length 16384 "oci:$TMP/layout:zstd" w.bin >"$TMP/read"
    check_bytes "$TMP/read" 5 0 16384
    equal "$(kit cat "oci:$TMP/layout:zstd" z.txt)" last "behind it"
}

times_of() { # DIR
    (cd "$1" && find . -type f -printf '%T@ %p\n' | sed 's/\.[0-9]*//' | sort -k 2)
}

case_modctl() {
    local deep="$TMP/source/a/deep folder" tag
    mkdir -p "$deep" "$TMP/source/src"
    echo '{"a": 1}' >"$TMP/source/config.json"
    echo '{"a": 1}' >"$deep/größe.json"
    head -c 3000000 /dev/urandom >"$deep/model-1.safetensors"
    : >"$deep/model-2.safetensors"
    echo 'exit 0' >"$TMP/source/src/run.sh"
    echo 'a model' >"$TMP/source/README.md"
    chmod 750 "$TMP/source/src/run.sh"
    chmod 600 "$deep/model-1.safetensors"
    chown 12345:54321 "$deep/größe.json" 2>/dev/null || true
    touch -d '2021-03-04 05:06:07.987654321 UTC' "$deep/größe.json" "$TMP/source/src/run.sh"
    find "$TMP/source" -type d -exec chmod 755 {} +
    tree_of "$TMP/source" | sort -t $'\t' -k 5 >"$TMP/expected"
    for options in "" --tar --old "--old --tar"; do
        tag=v$(tr -d ' -' <<<"$options")
        # shellcheck disable=SC2086 # words
        python3 "$rig/modctl_kit.py" "$TMP/layout" "$tag" "$TMP/source" $options >"$TMP/digest"
    done
    registry_start --layout "kit=$TMP/layout"
    for ref in "oci:$TMP/layout:v" "$REG/kit:vtar" "$REG/kit:vold" "oci:$TMP/layout:voldtar"; do
        mount_kit "$ref"
        compare "$MNT"
        [ ! -e "$MNT/Kitfile" ] || fail "a Kitfile out of nothing"
        diff <(times_of "$TMP/source") <(times_of "$MNT") || fail "times of $ref"
        umount_kit
        kit unpack -q --plain-http "$ref" -d "$TMP/unpacked"
        compare "$TMP/unpacked"
        rm -r "$TMP/unpacked"
    done
    equal "$(kit ls --plain-http -R --filter model "$REG/kit:vold" | grep -c '[^/]$')" 4 \
        "files of the model, its parts among them"
}

run_case "$@"
