#!/bin/bash
# Artifacts that oras made or moved: kits as any OCI tool leaves them in a registry.
# limit: 180
. "$(dirname "$0")/../integration/lib.sh"
. "$tests/interop/packed.sh"
ORAS=oras.land/oras/cmd/oras@v1.3.6

install_oras() { # DIR
    GOTOOLCHAIN=local GOBIN=$1 CGO_ENABLED=0 go install "$ORAS"
}

need_oras() {
    need_go 1.26.7 # wants that version of oras
    install_once "oras-${ORAS##*@}" "$tests/interop/oras.sh" install_oras
    docker_registry "$TMP/registry"
}

oras() {
    within 60 "$INSTALLED/oras" "$@" >"$TMP/oras.log" 2>&1 || fail "oras $1: $(cat "$TMP/oras.log")"
}

# A ModelPack put together by hand: raw files and a packed folder, named by annotations.
case_pushed() {
    need_oras
    local cncf=application/vnd.cncf.model
    mkdir -p "$TMP/files/src"
    head -c 3000000 /dev/urandom >"$TMP/files/w.safetensors"
    echo '{}' >"$TMP/files/config.json"
    seq 1000 >"$TMP/files/src/run.py"
    cd "$TMP/files"
    tar --owner 0 --group 0 -czf ../src.tgz src
    echo '{"descriptor":{"name":"m"},"modelfs":{"type":"layers","diffIds":[]},"config":{}}' \
        >../model.json
    cat >../annotations.json <<'END'
{"w.safetensors": {"org.cncf.model.filepath": "weights/w.safetensors"},
 "config.json": {"org.cncf.model.filepath": "config.json"},
 "../src.tgz": {"org.cncf.model.filepath": "src"}}
END
    oras push --plain-http --disable-path-validation --artifact-type $cncf.manifest.v1+json \
        --config ../model.json:$cncf.config.v1+json --annotation-file ../annotations.json \
        "$DOCKER_REGISTRY/a/pack:v1" w.safetensors:$cncf.weight.v1.raw \
        config.json:$cncf.weight.config.v1.raw ../src.tgz:$cncf.code.v1.tar+gzip
    mount_kit "$DOCKER_REGISTRY/a/pack:v1"
    cmp "$MNT/weights/w.safetensors" w.safetensors
    cmp "$MNT/config.json" config.json
    cmp "$MNT/src/run.py" src/run.py
    equal "$(ls "$MNT" | tr '\n' ' ')" "config.json src weights " "names"
    umount_kit
}

# What we packed, copied from a layout to a registry and on to another repository.
case_copied() {
    need_oras
    mkdir -p "$TMP/kit/model"
    seq 1000000 >"$TMP/kit/model/text"
    pack_model "$TMP/kit" v1
    oras cp --from-oci-layout --to-plain-http "$TMP/layout:v1" "$DOCKER_REGISTRY/a/kit:v1"
    oras cp --from-plain-http --to-plain-http "$DOCKER_REGISTRY/a/kit:v1" \
        "$DOCKER_REGISTRY/b/kit:v2"
    mount_kit "$DOCKER_REGISTRY/b/kit:v2"
    equal "$(status_of digest)" "$(cat "$TMP/manifest-digest")" "digest"
    cmp "$MNT/model/text" "$TMP/kit/model/text"
    umount_kit
}

run_case "$@"
