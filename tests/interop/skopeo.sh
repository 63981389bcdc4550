#!/bin/bash
# Kits travel through the tools of others and mount all the same.
. "$(dirname "$0")/../integration/lib.sh"

case_layout_by_skopeo() {
    need skopeo docker-registry
    # shellcheck source=tests/registry/docker_registry.sh
    . "$rig/docker_registry.sh"
    make_kit v1 model:model/w.bin:4M
    docker_registry_start "$TMP/registry"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    skopeo copy --quiet --src-tls-verify=false "docker://$DOCKER_REGISTRY/a/kit:v1" \
        "oci:$TMP/pulled:v1"
    for ref in "oci:$TMP/pulled:v1" "$DOCKER_REGISTRY/a/kit:v1"; do
        mount_kit "$ref"
        equal "$(status_of digest)" "$(cat "$TMP/manifest-digest")" "digest of $ref"
        check_bytes "$MNT/model/w.bin" 1 0 0
        umount_kit
    done
}

run_case "$@"
