#!/bin/bash
# The ways in which real loaders read safetensors give the same hashes from a cold mount as
# from a local copy.
# limit: 200
. "$(dirname "$0")/../integration/lib.sh"
. "$tests/interop/packed.sh"
tool=$tests/clients/safetensors_tool.py

patterns() { # of the context $TMP/kit in $TMP/layout
    registry_start --layout "kit=$TMP/layout" --latency-ms 2
    for how in mmap alias eager prefetch stream threads header sparse tp direct; do
        mount_kit "$REG/kit:v1" -q --cache-dir "$TMP/cache-$how"
        equal "$(within 60 python3 "$tool" load "$MNT/model" --how "$how" --threads 16)" \
            "$(python3 "$tool" load "$TMP/kit/model" --how "$how" --threads 16)" "$how"
        memory_is_bounded
        umount_kit
        rm -rf "$TMP/cache-$how"
    done
}

case_patterns() {
    python3 "$tool" make "$TMP/kit/model" --size 96M --shards 3 >"$TMP/made"
    make_kit v1 --context "$TMP/kit" model:model
    patterns
}

# The tool's own values are stored as they are; one shard gets values that compress.
case_packed_patterns() {
    python3 "$tool" make "$TMP/kit/model" --size 96M --shards 3 >"$TMP/made"
    python3 "$tests/bench/weights.py" bf16 "$TMP/kit/model/model-00001-of-00003.safetensors"
    pack_model "$TMP/kit" v1
    patterns
}

# Many threads on one mapping, then many processes on one file.
case_crowds() {
    python3 "$tool" make "$TMP/kit/model" --size 48M --shards 2 >"$TMP/made"
    make_kit v1 --context "$TMP/kit" model:model
    registry_start --layout "kit=$TMP/layout" --latency-ms 2
    want=$(python3 "$tool" load "$TMP/kit/model")
    mount_kit "$REG/kit:v1"
    equal "$(within 60 python3 "$tool" load "$MNT/model" --how threads --threads 64)" \
        "$want" "64 threads"
    umount_kit
    mount_kit "$REG/kit:v1" --cache-dir "$TMP/cache-2"
    for rank in 0 1 2 3; do
        within 60 python3 "$tool" load "$MNT/model" --how tp --rank "$rank" \
            >"$TMP/rank.$rank" &
        ranks="${ranks:-} $!"
    done
    for pid in $ranks; do
        wait "$pid"
    done
    for rank in 0 1 2 3; do
        equal "$(cat "$TMP/rank.$rank")" \
            "$(python3 "$tool" load "$TMP/kit/model" --how tp --rank "$rank")" "rank $rank"
    done
    umount_kit
}

run_case "$@"
