#!/bin/bash
# Registries by others that take minutes to build.
# limit: 1200
. "$(dirname "$0")/../../integration/lib.sh"
. "$tests/interop/packed.sh"
DISTRIBUTION=github.com/distribution/distribution/v3/cmd/registry@v3.1.2

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

run_case "$@"
