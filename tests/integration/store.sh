#!/bin/bash
# kit's local store as a place to read from: which place a reference means, what is said
# about it, and the verbs that look at the store.
. "$(dirname "$0")/lib.sh"
kits=$tests/data/kits

use_store() { # kit's own, of VERSION
    export KITOPS_HOME=$TMP/kits
    mkdir -p "$KITOPS_HOME"
    cp -r "$kits/kit-$1/store" "$KITOPS_HOME/storage"
}

pack_sample() { # REF [TEXT]: a small kit, packed into kit's store
    rm -rf "$TMP/sample"
    mkdir -p "$TMP/sample"
    printf 'manifestVersion: 1.0.0\npackage:\n  name: sample\ndocs:\n- path: README.md\n' \
        >"$TMP/sample/Kitfile"
    printf '%s\n' "${2:-hello}" >"$TMP/sample/README.md"
    kit pack -q "$TMP/sample" -t "$1"
}

# The registry and the store have different kits under one name.
two_places() {
    export KITOPS_HOME=$TMP/kits
    make_kit v1 docs:far.md:10K
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:v1
    pack_sample "$KIT" >"$TMP/digest"
}

case_the_store_first() {
    two_places
    equal "$(kit ls --plain-http "$KIT" | tr '\n' ' ')" "Kitfile README.md " "the store's"
    equal "$(requests)" 0 "requests"
    mkdir -p "$MNT"
    kit mount --plain-http "$KIT" "$MNT" 2>"$TMP/said"
    grep -q "^$KIT@sha256:.* from kit's store" "$TMP/said" || fail "$(cat "$TMP/said")"
    cmp "$TMP/sample/README.md" "$MNT/README.md"
    umount_kit
    equal "$(kit ls --plain-http --pull always "$KIT" | tail -n 1)" far.md "the registry's"
    equal "$(kit ls --plain-http "oci://$KIT" | tail -n 1)" far.md "the registry's, by prefix"
    equal "$(KITFS_PULL=always kit ls --plain-http "$KIT" | tail -n 1)" far.md "by environment"
    equal "$(kit ls --plain-http "store:$KIT" | tail -n 1)" README.md "the store's, by prefix"
    refused '--pull takes|missing|always' kit ls --pull sometimes "$KIT"
}

case_the_registry_else() {
    export KITOPS_HOME=$TMP/kits
    serve_kit 100K
    equal "$(kit ls --plain-http -R "$KIT" | tail -n 1)" model/w.bin "no store at all"
    mkdir -p "$MNT"
    mount_kit "$KIT" 2>"$TMP/said"
    grep -q "from the registry" "$TMP/said" || fail "$(cat "$TMP/said")"
    umount_kit
    refused "--pull never looks nowhere else" kit ls --pull never "$KIT"
    refused "kit's store" kit ls "store:$KIT"
    refused "names no registry" kit ls kit:v1
    [ ! -e "$KITOPS_HOME" ] || fail "reading makes a store"
}

# What the cache knows of the registry's tag is not mixed up with the store's.
case_places_and_the_cache() {
    local far
    two_places
    far=$(kit inspect --plain-http --pull always "$KIT" | jq -r .digest)
    kit info --plain-http "$KIT" | grep -q sample || fail "the store's"
    kit info --plain-http --pull always "$KIT" >"$TMP/far"
    registry_stop
    kit info --offline --pull always "$KIT" | cmp - "$TMP/far"
    kit info --offline "oci://$KIT" | cmp - "$TMP/far"
    kit info --offline "$KIT" | grep -q sample || fail "the store's, offline"
    [ "$far" != "$(cat "$TMP/digest")" ] || fail "one kit in two places"
}

case_damaged_store() {
    local file
    two_places
    file=$KITOPS_HOME/storage/$(printf %s "$REG/kit" | basenc --base64url)-tags.json
    [ -e "$file" ] || fail "no $file"
    echo '{"v1":' >"$file"
    refused "tags.json.*--pull always" kit ls --plain-http "$KIT"
    refused "tags.json" kit list
    equal "$(requests)" 0 "requests"
    equal "$(kit ls --plain-http --pull always "$KIT" | tail -n 1)" far.md "the registry's"
    refused "tags.json" kit pack -q "$TMP/sample" -t "$KIT"
}

case_files_of_kit_before_1_0() {
    export KITOPS_HOME=$TMP/kits
    mkdir -p "$KITOPS_HOME/storage/localhost/old"
    echo '{}' >"$KITOPS_HOME/storage/localhost/old/index.json"
    refused "before 1.0.*kit list" kit mount old:v1 "$MNT"
}

# The columns of `kit list`.
case_list() {
    local digest
    export KITOPS_HOME=$TMP/kits
    equal "$(kit list)" "REPOSITORY   TAG   MAINTAINER   NAME   SIZE   DIGEST" "no store"
    digest=$(pack_sample me/kit:v2)
    pack_sample me/kit:v2 other >"$TMP/second"
    pack_sample registry.example/acme/kit:v1 >"$TMP/third"
    equal "$(cat "$TMP/third")" "$digest" "digest of the same folder"
    kit list | sed 's/   */|/g' >"$TMP/list"
    grep -qx "me/kit|<none>|<none>|sample|[0-9.]* [KiB]*|$digest" "$TMP/list" ||
        fail "$(cat "$TMP/list")"
    grep -qx "me/kit|v2|<none>|sample|[0-9.]* [KiB]*|$(cat "$TMP/second")" "$TMP/list" ||
        fail "$(cat "$TMP/list")"
    grep -qx "registry.example/acme/kit|v1|<none>|sample|[0-9.]* [KiB]*|$digest" "$TMP/list" ||
        fail "$(cat "$TMP/list")"
    equal "$(wc -l <"$TMP/list")" 4 "lines"
    equal "$(kit list me/kit)" v2 "tags"
    equal "$(kit list store:registry.example/acme/kit)" v1 "tags of a registry's name"
    equal "$(kit list --json me/kit | jq -c .)" '["v2"]' "tags as JSON"
    equal "$(kit list --json | jq -r '.[] | select(.tags == ["v2"]).digest')" \
        "$(cat "$TMP/second")" "as JSON"
}

# The stores that kit made: what its own list says is in the names of tests/data.
case_list_of_kits_own() {
    use_store 1.7
    equal "$(kit list | awk 'NR > 1 {print $1 ":" $2}' | sort)" \
        "$(cut -f 2 "$kits/kit-1.7/refs.tsv" | sort -u)" "names"
    kit list | sed 's/   */|/g' >"$TMP/list"
    grep -qx 'localhost/basic|tar|Author Name|tiny-classifier|304.5 KiB|sha256:b340b40a34f6fd1eccd150c00a7b193cfa753ab06eb29f8bcb81ee56cf0c8623' \
        "$TMP/list" || fail "$(cat "$TMP/list")"
}

# One kit that cannot be read does not hide the others.
case_list_with_a_damaged_kit() {
    local digest
    export KITOPS_HOME=$TMP/kits
    digest=$(pack_sample me/kit:v1)
    pack_sample me/kit:v2 other >"$TMP/second"
    rm -f "$KITOPS_HOME/storage/blobs/sha256/${digest#sha256:}"
    ! kit list >"$TMP/list" 2>"$TMP/said" || fail "exit code"
    grep -q "me/kit.*v2" "$TMP/list" || fail "the other one"
    grep -q "^\[ERROR\] Cannot list kit's store: 'localhost/me/kit'" "$TMP/said" ||
        fail "$(cat "$TMP/said")"
}

run_case "$@"
