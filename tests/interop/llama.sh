#!/bin/bash
# llama.cpp (npm package node-llama-cpp, installed once into KITFS_INTEROP_CACHE) gives the
# same tokens from a mount as from a local copy.
# limit: 300
. "$(dirname "$0")/../integration/lib.sh"
. "$tests/interop/packed.sh"
VERSION=3.22.1
CPU=linux-x64

# Without the GPU builds, which are ten times as large.
install_llama() {
    need node npm tar
    packages=$KITFS_INTEROP_CACHE/llama-$VERSION
    [ ! -e "$packages/ready" ] || return 0
    [ "$(uname -m)" = x86_64 ] || skip "prebuilt llama.cpp is used on x86_64 alone"
    local making=$packages.making.$$
    mkdir -p "$making"
    export npm_config_cache=$KITFS_INTEROP_CACHE/npm npm_config_update_notifier=false
    (
        cd "$making"
        npm install --silent --ignore-scripts --omit=optional "node-llama-cpp@$VERSION" &&
            npm pack --silent "@node-llama-cpp/$CPU@$VERSION" &&
            mkdir -p "node_modules/@node-llama-cpp/$CPU" &&
            tar xzf "node-llama-cpp-$CPU-$VERSION.tgz" --strip-components=1 \
                -C "node_modules/@node-llama-cpp/$CPU" &&
            touch ready
    ) >"$TMP/npm.log" 2>&1 || skip "npm cannot install: $(tail -n 1 "$TMP/npm.log")"
    rm -rf "$packages"
    mv "$making" "$packages"
}

tokens() { # FILE MODE
    (cd "$packages" && timeout -s KILL 100 node "$tests/clients/run_llama.mjs" "$1" \
        --mode "$2" --n 8)
}

plain_kit() {
    make_kit v1 --context "$TMP/kit" model:model
}

packed_kit() {
    pack_model "$TMP/kit" v1
}

llama() { # MODE MAKER
    install_llama
    mkdir -p "$TMP/kit/model"
    python3 "$tests/clients/make_gguf.py" "$TMP/kit/model/m.gguf" --size 40M >"$TMP/made"
    "$2"
    registry_start --layout "kit=$TMP/layout" --latency-ms 2
    mount_kit "$REG/kit:v1"
    local local_tokens mount_tokens
    local_tokens=$(tokens "$TMP/kit/model/m.gguf" "$1")
    mount_tokens=$(tokens "$MNT/model/m.gguf" "$1")
    [ "$(grep -o '[0-9]' <<<"$local_tokens" | wc -l)" -ge 8 ] || fail "no tokens"
    equal "$mount_tokens" "$local_tokens" "tokens"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_mmap() {
    llama mmap plain_kit
}

case_read() {
    llama read plain_kit
}

case_direct() {
    llama direct plain_kit
}

case_packed_mmap() {
    llama mmap packed_kit
}

case_packed_direct() {
    llama direct packed_kit
}

run_case "$@"
