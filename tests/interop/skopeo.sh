#!/bin/bash
# Kits travel through the tools of others and mount all the same.
. "$(dirname "$0")/../integration/lib.sh"
. "$tests/interop/packed.sh"

need_registry() {
    need skopeo
    docker_registry "$TMP/registry"
}

pull() { # REPOSITORY:TAG LAYOUT
    skopeo copy --quiet --src-tls-verify=false "docker://$DOCKER_REGISTRY/$1" "oci:$2:v1"
}

case_layout_by_skopeo() {
    need_registry
    make_kit v1 model:model/w.bin:4M
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    pull a/kit:v1 "$TMP/pulled"
    for ref in "oci:$TMP/pulled:v1" "$DOCKER_REGISTRY/a/kit:v1"; do
        mount_kit "$ref"
        equal "$(status_of digest)" "$(cat "$TMP/manifest-digest")" "digest of $ref"
        check_bytes "$MNT/model/w.bin" 1 0 0
        umount_kit
    done
}

# Packed, through a registry and back: the same blobs, byte for byte, and the same tree.
packed_travels() { # [OPTIONS of pack]
    need_registry
    mkdir -p "$TMP/kit/model"
    seq 1000000 >"$TMP/kit/model/text"
    python3 "$tests/clients/safetensors_tool.py" make "$TMP/kit/model" --size 24M \
        --shards 2 >"$TMP/made"
    pack_model "$TMP/kit" v1 "$@"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    pull a/kit:v1 "$TMP/pulled"
    diff -r "$TMP/layout/blobs" "$TMP/pulled/blobs" || fail "blobs differ"
    tree_of "$TMP/kit" >"$TMP/tree"
    for ref in "oci:$TMP/pulled:v1" "$DOCKER_REGISTRY/a/kit:v1"; do
        mount_kit "$ref" --cache-dir "$TMP/cache-${ref%%:*}"
        equal "$(status_of digest)" "$(cat "$TMP/manifest-digest")" "digest of $ref"
        tree_of "$MNT" | grep -v 'Kitfile$' | diff "$TMP/tree" - || fail "tree of $ref"
        umount_kit
    done
}

case_packed() {
    packed_travels
}

case_packed_plain() {
    packed_travels --compression none
}

run_case "$@"
