#!/bin/bash
# Registries by others, each with its own ways: a kit is packed into them and mounted.
# (Those that take long to build are in nightly/.)
# limit: 400
. "$(dirname "$0")/../integration/lib.sh"
ours=$tests/interop
. "$ours/packed.sh"

build_registries() { # DIR
    (cd "$ours/go-registries" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local CGO_ENABLED=0 \
        go build -trimpath -o "$1/registries" .)
}

# Both answer uploads with a relative Location, and serve manifests under any Accept.
through_ours() { # NAME
    need_go 1.25
    local files="$ours/go-registries/main.go $ours/go-registries/go.mod"
    install_once registries "$files $ours/go-registries/go.sum" build_registries
    "$INSTALLED/registries" "$1" >"$TMP/address" 2>"$TMP/registry.log" &
    until_true 10 test -s "$TMP/address" || fail "$1 does not start"
    through "$(cat "$TMP/address")"
}

case_ggcr() { # what `crane registry serve` runs
    through_ours ggcr
}

case_cue() {
    through_ours cue
}

run_case "$@"
