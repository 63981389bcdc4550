#!/bin/bash
# The kits that the real kit made: the mount gives exactly what `kit unpack` wrote.
# limit: 180
. "$(dirname "$0")/lib.sh"
kits=$tests/data/kits

# All without a model of its own elsewhere: VERSION/NAME. The last three lines are streamed.
mountable="1.7/basic-tar 1.7/names-tar 1.7/parts 1.7/root-dir
1.11/basic-tar 1.11/basic-modelpack 1.11/names-tar 1.11/parts 1.11/root-dir
1.15/basic-tar 1.15/basic-modelpack 1.15/parts 1.15/prompts 1.15/prompts-modelpack
1.15/dataset-ref 1.15/nothing 1.15/files-raw 1.15/files-modelpack-raw 1.15/agent
1.7/basic-gzip 1.7/names-gzip 1.11/basic-gzip 1.11/basic-gzip-fastest 1.11/names-gzip
1.15/basic-zstd 1.15/names-zstd 1.15/root-dir-zstd 1.15/prompts-zstd 1.15/agent-zstd
1.15/basic-modelpack-zstd 1.15/files-raw-gzip 1.15/files-raw-zstd"
# Kits that refer to others of the same store.
refer="1.7/adapter 1.7/adapter2 1.11/adapter 1.11/adapter2 1.15/adapter 1.15/adapter2"
# Parts of kits: what came out with a filter.
filtered="files-raw-filter-model=model prompts-filter=prompts agent-filter-mcp=mcpservers:db"

layouts() {
    local version
    for version in 1.7 1.11 1.15; do
        python3 "$rig/kits2layout.py" "$kits/kit-$version" "$TMP/kit-$version"
    done
}

mount_and_compare() { # REF VERSION/NAME [OPTIONS]
    local ref=$1 version=${2%/*} name=${2#*/}
    shift 2
    mount_kit "$ref" "$@"
    same_tree "$MNT" "$kits/kit-$version/expected/$name.tsv"
    umount_kit
}

case_layout() {
    layouts
    for kit in $mountable; do
        mount_and_compare "oci:$TMP/kit-${kit%/*}:${kit#*/}" "$kit"
    done
}

pushed() { # sets DOCKER_REGISTRY and has all these kits there
    need skopeo
    layouts
    docker_registry "$TMP/registry"
    for kit in $mountable; do
        docker_registry_push "$TMP/kit-${kit%/*}" "${kit#*/}" "kits/${kit#*/}:${kit%/*}"
    done
}

# kit's local store as kit left it, by the names that kit was given.
store_of_kit() { # VERSION
    export KITOPS_HOME=$TMP/home-$1
    mkdir -p "$KITOPS_HOME"
    cp -r "$kits/kit-$1/store" "$KITOPS_HOME/storage"
}

name_of() { # VERSION NAME: how kit was told to call it
    awk -F '\t' -v name="$2" '$1 == name {print $2}' "$kits/kit-$1/refs.tsv"
}

case_store() {
    local version
    for version in 1.7 1.11 1.15; do
        store_of_kit "$version"
        for kit in $mountable $refer; do
            [ "${kit%/*}" = "$version" ] || continue
            mount_and_compare "$(name_of "$version" "${kit#*/}")" "$kit"
        done
    done
    mount_and_compare "$(name_of 1.15 dataset-ref)" 1.15/dataset-ref-included --include-remote
    for kit in $filtered; do
        mount_and_compare "$(name_of 1.15 "${kit%=*}")" "1.15/${kit%=*}" --filter "${kit#*=}"
    done
}

case_verbs_on_the_store() {
    local ref tree
    store_of_kit 1.11
    ref=$(name_of 1.11 parts)
    tree=$kits/kit-1.11/expected/parts.tsv
    equal "$(kit info "$ref" | sha256sum | cut -c 1-64)" \
        "$(awk -F '\t' '$5 == "Kitfile" {print $4}' "$tree")" "info"
    equal "$(kit inspect "$ref" | jq -r .digest)" \
        "$(kit list --json | jq -r '.[] | select(.repo == "localhost/parts").digest')" "inspect"
    equal "$(kit ls -R "$ref" | sed 's|/$||' | sort)" \
        "$(expected_tree "$tree" | cut -f 5 | sort)" "ls"
    equal "$(kit cat "$ref" config.json | sha256sum | cut -c 1-64)" \
        "$(awk -F '\t' '$5 == "config.json" {print $4}' "$tree")" "cat"
    kit verify "$ref" >"$TMP/verified"
    kit verify --json "$ref" >"$TMP/verified"
    kit doctor "$ref" | grep -q "kit's store has sha256:" || fail "doctor"
    kit info --offline "$ref" >"$TMP/info" || fail "offline"
    # One byte of a layer flipped: found.
    python3 - "$KITOPS_HOME/storage" "$(kit inspect "$ref" | jq -r '.manifest.layers[0].digest')" \
        <<'END'
import pathlib, sys
blob = pathlib.Path(sys.argv[1], "blobs/sha256", sys.argv[2][7:])
data = bytearray(blob.read_bytes())
data[5000] ^= 1
blob.unlink()
blob.write_bytes(data)
END
    ! kit verify "$ref" >"$TMP/verified" || fail "damage is not seen"
}

case_docker_registry() {
    pushed
    for kit in $mountable; do
        mount_and_compare "$DOCKER_REGISTRY/kits/${kit#*/}:${kit%/*}" "$kit"
    done
}

unpack_and_compare() { # REF VERSION/NAME [OPTIONS]
    local ref=$1 version=${2%/*} name=${2#*/}
    shift 2
    kit unpack --plain-http "$ref" -d "$TMP/unpacked" -q "$@"
    same_tree "$TMP/unpacked" "$kits/kit-$version/expected/$name.tsv"
    rm -rf "$TMP/unpacked"
}

case_unpack_layout() {
    layouts
    for kit in $mountable; do
        unpack_and_compare "oci:$TMP/kit-${kit%/*}:${kit#*/}" "$kit"
    done
}

case_unpack_store() {
    local version
    for version in 1.7 1.11 1.15; do
        store_of_kit "$version"
        for kit in $mountable $refer; do
            [ "${kit%/*}" = "$version" ] || continue
            unpack_and_compare "$(name_of "$version" "${kit#*/}")" "$kit"
        done
    done
    unpack_and_compare "$(name_of 1.15 dataset-ref)" 1.15/dataset-ref-included --include-remote
    for kit in $filtered; do
        unpack_and_compare "$(name_of 1.15 "${kit%=*}")" "1.15/${kit%=*}" -f "${kit#*=}"
    done
}

case_unpack_docker_registry() {
    pushed
    for kit in $mountable; do
        unpack_and_compare "$DOCKER_REGISTRY/kits/${kit#*/}:${kit%/*}" "$kit"
    done
}

case_docker_registry_tls() {
    pushed
    docker_registry_start "$TMP/registry" tls
    for kit in $mountable; do
        mkdir -p "$MNT"
        kit mount --tls-cert "$TMP/registry/tls/ca.pem" \
            "$DOCKER_REGISTRY/kits/${kit#*/}:${kit%/*}" "$MNT"
        same_tree "$MNT" "$kits/kit-${kit%/*}/expected/${kit#*/}.tsv"
        umount_kit
    done
    refused 'certificate' kit mount "$DOCKER_REGISTRY/kits/parts:1.11" "$MNT"
    refused '.' kit mount --plain-http "$DOCKER_REGISTRY/kits/parts:1.11" "$MNT"
}

case_by_digest() {
    local digest
    layouts
    digest=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"]
        == "parts").digest' "$TMP/kit-1.11/index.json")
    mount_and_compare "oci:$TMP/kit-1.11@$digest" 1.11/parts
    registry_start --layout "a/b=$TMP/kit-1.11"
    mount_and_compare "$REG/a/b@$digest" 1.11/parts
    mount_and_compare "oci://$REG/a/b:parts" 1.11/parts
}

# ls and cat give the same names, modes, sizes and bytes without a mount.
case_ls_and_cat() {
    layouts
    for kit in $mountable; do
        local ref="oci:$TMP/kit-${kit%/*}:${kit#*/}"
        expected_tree "$kits/kit-${kit%/*}/expected/${kit#*/}.tsv" >"$TMP/expected"
        kit ls -R "$ref" >"$TMP/listed"
        cut -f 5 "$TMP/expected" | sort >"$TMP/names"
        sed 's|/$||' "$TMP/listed" | sort | diff "$TMP/names" - || fail "ls -R of $kit"
    done
    while IFS=$'\t' read -r type _ _ sha path; do
        [ "$type" = f ] || continue
        equal "$(kit cat "oci:$TMP/kit-1.11:parts" "$path" | sha256sum | cut -c 1-64)" \
            "$sha" "cat $path"
    done < <(expected_tree "$kits/kit-1.11/expected/parts.tsv")
}

# The Kitfile as kit writes it; of the blobs only the config is fetched.
case_info() {
    local expected ref
    layouts
    for kit in $mountable $refer; do
        ref=oci:$TMP/kit-${kit%/*}:${kit#*/}
        expected=$(awk -F '\t' '$5 == "Kitfile" {print $4}' \
            "$kits/kit-${kit%/*}/expected/${kit#*/}.tsv")
        equal "$(kit info "$ref" | sha256sum | cut -c 1-64)" "$expected" "info of $kit"
    done
    registry_start --layout "a/b=$TMP/kit-1.11"
    kit info --plain-http --cache-dir "$TMP/new" "$REG/a/b:basic-gzip" >"$TMP/info"
    equal "$(requests path=blobs)" 1 "blobs fetched"
    registry_stop
    kit info --offline --cache-dir "$TMP/new" "$REG/a/b:basic-gzip" | cmp "$TMP/info" -
}

case_info_without_kitfile() {
    make_kit v1 --modelpack model:w.bin:1K
    python3 - "$TMP/layout" "$(cat "$TMP/manifest-digest")" <<'END'
import hashlib, json, pathlib, sys
layout, digest = pathlib.Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((layout / "blobs/sha256" / digest[7:]).read_bytes())
manifest.pop("annotations", None)
data = json.dumps(manifest).encode()
(layout / "blobs/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
index = json.loads((layout / "index.json").read_bytes())
index["manifests"][0]["digest"] = "sha256:" + hashlib.sha256(data).hexdigest()
index["manifests"][0]["size"] = len(data)
(layout / "index.json").write_text(json.dumps(index))
END
    refused 'does not contain a Kitfile' kit info "oci:$TMP/layout:v1"
    equal "$(kit ls "oci:$TMP/layout:v1")" w.bin "ls"
    refused "no such tag|no tag" kit info "oci:$TMP/layout:v2"
}

# The Kitfile costs no request beyond those of the mount, and is a file like others.
case_kitfile() {
    local mark
    make_kit v1 model:model/w.bin:16M
    registry_start --layout "kit=$TMP/layout"
    mount_kit "$REG/kit:v1"
    mark=$(control mark)
    cat "$MNT/Kitfile" >"$TMP/Kitfile"
    kit info --plain-http "$REG/kit:v1" | cmp "$TMP/Kitfile" -
    kit cat --plain-http "$REG/kit:v1" Kitfile | cmp "$TMP/Kitfile" -
    kit cat --plain-http --offset 3 --length 5 "$REG/kit:v1" Kitfile | grep -qx ifest || fail "cat"
    equal "$(tail -c +101 "$MNT/Kitfile")" "$(tail -c +101 "$TMP/Kitfile")" "its end"
    equal "$(stat -c '%A %s' "$MNT/Kitfile")" "-rw-r--r-- $(stat -c %s "$TMP/Kitfile")" "stat"
    equal "$(requests "from=$mark" path=blobs)" 0 "requests for blobs"
    ! sh -c ': >>"$1"' - "$MNT/Kitfile" 2>/dev/null || fail "written"
    within 5 python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as file:
    assert mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:8] == b"manifest"' "$MNT/Kitfile"
    equal "$(status_of last_error)" null "last error"
    umount_kit
}

run_case "$@"
