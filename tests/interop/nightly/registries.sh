#!/bin/bash
# Registries by others that take minutes to build.
# limit: 1200
. "$(dirname "$0")/../../integration/lib.sh"
. "$tests/interop/packed.sh"
DISTRIBUTION=github.com/distribution/distribution/v3/cmd/registry@v3.1.2
CONTAINER_REGISTRY=0.3.1

install_distribution() { # DIR
    GOTOOLCHAIN=local GOBIN=$1 CGO_ENABLED=0 go install "$DISTRIBUTION"
}

distribution() { # NAME CONFIG: sets ADDRESS
    printf 'version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n%s\n' \
        "http: {addr: \"127.0.0.1:0\", secret: fixed}" >"$TMP/$1.yml"
    cat >>"$TMP/$1.yml"
    mkdir -p "$TMP/$1"
    "$INSTALLED/registry" serve "$TMP/$1.yml" >"$TMP/$1.log" 2>&1 &
    until_true 10 grep -q 'listening on' "$TMP/$1.log" || fail "$(cat "$TMP/$1.log")"
    ADDRESS=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$TMP/$1.log")
}

need_distribution() {
    need_go 1.26
    install_once "distribution-${DISTRIBUTION##*@}" "$tests/interop/nightly/registries.sh" \
        install_distribution
}

case_distribution() {
    need_distribution
    distribution plain <<<"storage: {filesystem: {rootdirectory: $TMP/plain}}"
    through "$ADDRESS"
}

# It gives up what it fetches when the client leaves, unlike version 2.
case_distribution_pull_through() {
    local upstream
    need_distribution
    distribution plain <<<"storage: {filesystem: {rootdirectory: $TMP/plain}}"
    upstream=$ADDRESS
    through "$upstream"
    distribution cache <<END
storage: {filesystem: {rootdirectory: $TMP/cache-files}}
proxy: {remoteurl: "http://$upstream"}
END
    for time in cold warm; do
        mount_kit "$ADDRESS/a/kit:v1" -q --cache-dir "$TMP/cache-$time"
        tree_of "$MNT" | grep -v 'Kitfile$' | diff "$TMP/tree" - || fail "tree, $time"
        umount_kit
    done
}

install_container_registry() { # DIR
    cargo install --quiet --locked --features bin --root "$1" --version "$CONTAINER_REGISTRY" \
        container-registry
}

# PATCH alone takes bytes there, so no packer of ours writes to it.
upload() { # HOST:PORT LAYOUT TAG
    local blob digest place manifest
    manifest=$2/blobs/sha256/$(cut -c 8- "$TMP/manifest-digest")
    for digest in $(jq -r '.config.digest, .layers[].digest' "$manifest"); do
        blob=$2/blobs/sha256/${digest#sha256:}
        place=$(curl -sfX POST -u u:secret -D - -o "$TMP/answer" "http://$1/v2/a/kit/blobs/uploads/" |
            tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
        place=$(curl -sfX PATCH -u u:secret -D - -o "$TMP/answer" --data-binary "@$blob" \
            "http://$1$place" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
        curl -sfX PUT -u u:secret -o "$TMP/answer" "http://$1$place?digest=$digest"
    done
    curl -sfX PUT -u u:secret -o "$TMP/answer" --data-binary "@$manifest" \
        -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        "http://$1/v2/a/kit/manifests/$3"
}

# It ignores ranges, and tells no length.
case_container_registry() {
    local address
    need cargo cc curl
    install_once "container-registry-$CONTAINER_REGISTRY" \
        "$tests/interop/nightly/registries.sh" install_container_registry
    mkdir -p "$TMP/files" "$TMP/kit/model"
    seq 3000000 >"$TMP/kit/model/text"
    pack_model "$TMP/kit" v1 # its manifests need a mediaType, which kit's have not
    address=127.0.0.1:$(python3 -c 'import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
    "$INSTALLED/bin/container-registry" -b "$address" -s "$TMP/files" -p secret >"$TMP/log" 2>&1 &
    until_true 10 curl -so "$TMP/answer" "http://$address/v2/" || fail "$(cat "$TMP/log")"
    upload "$address" "$TMP/layout" v1
    mkdir -p "$HOME/.docker"
    jq -n --arg host "$address" --arg auth "$(printf u:secret | base64)" \
        '{auths: {($host): {auth: $auth}}}' >"$HOME/.docker/config.json"
    for time in first second; do
        mount_kit "$address/a/kit:v1" -q
        cmp "$MNT/model/text" "$TMP/kit/model/text" || fail "$time mount"
        umount_kit
    done
}

run_case "$@"
