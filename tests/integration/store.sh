#!/bin/bash
# kit's local store as a place to read from: which place a reference means, what is said
# about it, and the verbs that look at the store.
# as root, but for the_store_first|list|tag_in_the_store
. "$(dirname "$0")/lib.sh"
kits=$tests/data/kits

use_store() { # kit's own, of VERSION
    export KITOPS_HOME=$TMP/kits
    mkdir -p "$KITOPS_HOME"
    cp -r "$kits/kit-$1/store" "$KITOPS_HOME/storage"
}

pack_sample() { # REF [TEXT [OPTIONS]]: a small kit, packed into kit's store
    rm -rf "$TMP/sample"
    mkdir -p "$TMP/sample"
    printf 'manifestVersion: 1.0.0\npackage:\n  name: sample\ndocs:\n- path: README.md\n' \
        >"$TMP/sample/Kitfile"
    printf '%s\n' "${2:-hello}" >"$TMP/sample/README.md"
    kit pack -q "$TMP/sample" -t "$1" "${@:3}"
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

tag_of() { # LAYOUT TAG: its digest
    jq -r --arg tag "$2" '.manifests[] |
        select(.annotations["org.opencontainers.image.ref.name"] == $tag).digest' "$1/index.json"
}

case_tag_in_the_store() {
    local one two
    export KITOPS_HOME=$TMP/kits
    one=$(pack_sample me/kit:v1)
    two=$(pack_sample me/kit:v2 other)
    equal "$(kit tag me/kit:v1 me/kit:stable store:registry.example/acme/kit)" \
        "me/kit:stable is $one in kit's store
store:registry.example/acme/kit is $one in kit's store" "what is said"
    equal "$(kit inspect me/kit:stable | jq -r .digest)" "$one" "stable"
    equal "$(kit inspect --pull never registry.example/acme/kit:latest | jq -r .digest)" "$one" \
        "in another repository"
    kit tag -q me/kit:v2 me/kit:stable
    equal "$(kit inspect me/kit:stable | jq -r .digest)" "$two" "a tag that moved"
    kit tag -q "$one" me/kit:again
    equal "$(kit inspect me/kit:again | jq -r .digest)" "$one" "by bare digest"
    equal "$(kit list me/kit | tr '\n' ' ')" "again stable v1 v2 " "tags"
    refused "no such tag 'v9'" kit tag me/kit:v9 me/kit:v1
    refused "names no tag" kit tag me/kit:v1 "me/kit@$one"
    refused "kit's store.*'oci://a.b/kit:v1'.*copy it there" kit tag me/kit:v1 me/kit:x oci://a.b/kit:v1
    refused "kit's store.*layout.*copy it there" kit tag me/kit:v1 "oci:$TMP/layout:v1"
    equal "$(kit list me/kit | tr '\n' ' ')" "again stable v1 v2 " "nothing by halves"
    [ ! -e "$TMP/layout" ] || fail "a layout is made"
}

case_tag_in_a_layout() {
    local digest
    make_kit v1 docs:README.md:10K
    digest=$(cat "$TMP/manifest-digest")
    kit tag -q "oci:$TMP/layout:v1" "oci:$TMP/layout/../layout:v2" "oci:$TMP/layout:v3"
    equal "$(tag_of "$TMP/layout" v1) $(tag_of "$TMP/layout" v2) $(tag_of "$TMP/layout" v3)" \
        "$digest $digest $digest" "tags"
    equal "$(jq -r '.manifests[2].artifactType' "$TMP/layout/index.json")" \
        "$(kit inspect "oci:$TMP/layout:v1" | jq -r .manifest.artifactType)" "artifact type"
    cp -r "$TMP/layout" "$TMP/other"
    refused "another one.*copy it there" kit tag "oci:$TMP/layout:v1" "oci:$TMP/other:v2"
    refused "names no tag" kit tag "oci:$TMP/layout:v1" "oci:$TMP/layout"
    refused "copy it there" kit tag "oci:$TMP/layout:v1" me/kit:v1
    kit mount "oci:$TMP/layout:v3" "$MNT"
    umount_kit
}

# The manifest is put again under its new name; nothing else is asked for.
case_tag_in_a_registry() {
    local digest mark
    export KITOPS_HOME=$TMP/kits
    registry_start --uploads
    digest=$(pack_sample "$REG/a/kit:v1" hello --push --plain-http)
    mark=$(control mark)
    equal "$(kit tag --plain-http "$REG/a/kit:v1" "$REG/a/kit:v2" "oci://$REG/a/kit:v3")" \
        "$REG/a/kit:v2 is $digest in the registry
oci://$REG/a/kit:v3 is $digest in the registry" "what is said"
    equal "$(requests "from=$mark" method=PUT path=manifests)" 2 "manifests put"
    equal "$(requests "from=$mark")" 3 "requests"
    equal "$(kit inspect --plain-http "$REG/a/kit:v3" | jq -r .digest)" "$digest" "v3"
    equal "$(kit list --plain-http "$REG/a/kit" | tr '\n' ' ')" "v1 v2 v3 " "tags"
    # Another repository has blobs of its own.
    refused "a/other' does not have the kit's blob 'sha256:.*copy the kit there" \
        kit tag --plain-http "$REG/a/kit:v1" "$REG/a/other:v1"
    pack_sample "$REG/a/other:v0" hello --push --plain-http >/dev/null
    kit tag -q --plain-http "$REG/a/kit:v1" "$REG/a/other:v1"
    equal "$(kit inspect --plain-http "$REG/a/other:v1" | jq -r .digest)" "$digest" "other"
    refused "in the registry, .*another registry.*copy it there" \
        kit tag --plain-http "$REG/a/kit:v1" "localhost:${REG#*:}/a/kit:v4"
    refused "copy it there" kit tag --plain-http "$REG/a/kit:v1" "store:$REG/a/kit:v4"
    # Once the store holds the name, it is the store's that is meant.
    pack_sample "$REG/a/kit:v1" hello >/dev/null
    mark=$(control mark)
    kit tag --plain-http "$REG/a/kit:v1" "$REG/a/kit:v5" | grep -q "in kit's store" || fail "place"
    equal "$(requests "from=$mark")" 0 "requests"
}

# An image index keeps its media type.
case_tag_an_index() {
    local index
    make_kit v1 docs:README.md:10K
    index=$(python3 - "$TMP/layout" <<'END'
import hashlib, json, pathlib, sys
layout = pathlib.Path(sys.argv[1])
listed = json.loads((layout / "index.json").read_text())
entry = dict(listed["manifests"][0])
entry.pop("annotations")
data = json.dumps({"schemaVersion": 2, "manifests": [entry],
                   "mediaType": "application/vnd.oci.image.index.v1+json"}).encode()
name = hashlib.sha256(data).hexdigest()
(layout / "blobs/sha256" / name).write_bytes(data)
print("sha256:" + name)
END
)
    kit tag -q "oci:$TMP/layout@$index" "oci:$TMP/layout:both"
    equal "$(tag_of "$TMP/layout" both)" "$index" "digest"
    jq -e '.manifests[] | select(.mediaType == "application/vnd.oci.image.index.v1+json")' \
        "$TMP/layout/index.json" >"$TMP/entry" || fail "media type"
    equal "$(kit ls "oci:$TMP/layout:both" | tail -n 1)" README.md "what it leads to"
}

# Two versions of a model in a registry: what is said is what is then fetched.
versions() {
    mkdir -p "$TMP/tree"
    printf 'manifestVersion: 1.0.0\nmodel: {path: w.bin}\ndocs: [{path: docs}]\n' \
        >"$TMP/tree/Kitfile"
    mkdir "$TMP/tree/docs"
    python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(1).randbytes(24 << 20))' >"$TMP/tree/w.bin"
    head -c 100000 "$TMP/tree/w.bin" >"$TMP/tree/docs/keep"
    head -c 90000 "$TMP/tree/w.bin" >"$TMP/tree/docs/old"
    kit pack -q "$TMP/tree" -t "$REG/m:v1" --push --plain-http >"$TMP/one"
    python3 -c 'import random, sys
file = open(sys.argv[1], "r+b")
file.seek(11 << 19)
file.write(random.Random(2).randbytes(2 << 20))' "$TMP/tree/w.bin"
    mv "$TMP/tree/docs/old" "$TMP/tree/docs/new"
    kit pack -q "$TMP/tree" -t "$REG/m:v2" --push --plain-http >"$TMP/two"
}

read_all() { # REF: bytes of blobs that it took
    local mark
    mark=$(control mark)
    mount_kit "$1"
    cat "$MNT/w.bin" "$MNT"/docs/* | cksum >"$TMP/sum"
    umount_kit
    sent "from=$mark" path=blobs
}

case_diff() {
    local fetched said
    registry_start --uploads
    versions
    kit diff --plain-http "$REG/m:v1" "$REG/m:v2" >"$TMP/said"
    equal "$(head -n 3 "$TMP/said")" "added    docs/new
removed  docs/old
changed  w.bin" "files"
    kit diff --plain-http --json "$REG/m:v1" "$REG/m:v2" >"$TMP/json"
    equal "$(jq -r '.files[] | select(.path == "w.bin") | .status' "$TMP/json")" changed "JSON"
    equal "$(jq '.same' "$TMP/json")" 2 "Kitfile and keep"
    said=$(jq .fetchBytes "$TMP/json")
    read_all "$REG/m:v1" >"$TMP/first"
    fetched=$(read_all "$REG/m:v2")
    at_most "$fetched" $((said + 200000)) "bytes fetched, tables of contents with them"
    at_most "$said" $((fetched + 200000)) "bytes said to be fetched, headers with them"
    at_most $((3 << 20)) "$said" "bytes of the three chunks that changed"
    at_most "$said" $((4 << 20)) "bytes of the three chunks that changed"
    kit diff --plain-http "$REG/m:v1" "$REG/m:v1" >"$TMP/said"
    grep -q "^4 files are the same$" "$TMP/said" || fail "$(cat "$TMP/said")"
    grep -q "^0 B of .* to fetch" "$TMP/said" || fail "$(cat "$TMP/said")"
    refused "Cannot compare $REG/m:v9" kit diff --plain-http "$REG/m:v1" "$REG/m:v9"
    refused "Cannot compare $REG/m:v9" kit diff --plain-http "$REG/m:v9" "$REG/m:v1"
}

# Kits of kit itself, without tables of contents: what cannot be known is said.
case_diff_of_plain_kits() {
    use_store 1.15
    kit diff localhost/parts:v1 localhost/parts:v1 | grep -q "^0 B of" || fail "the same"
    kit diff --json localhost/basic:tar localhost/basic:modelpack >"$TMP/json"
    equal "$(jq '.files | length' "$TMP/json")" 0 "the same layers in another form"
    equal "$(jq '.fetchBytes' "$TMP/json")" 0 "bytes"
    pack_sample me/kit:v1 one >/dev/null
    KITFS_COMPRESSION=none pack_sample me/kit:v2 two --toc none >/dev/null
    kit diff me/kit:v1 me/kit:v2 | grep -q "^unknown  README.md (of the same size" || fail "unknown"
}

run_case "$@"
