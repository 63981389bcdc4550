#!/bin/bash
# Layers without random access: streamed once, whoever waits; found in the cache later.
# as root, but for real_packers|once_for_all_mounts|interrupted|unpack
# limit: 180
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))

# A kit of one layer in $TMP/layout as v1: a tar (packed by `$2...`, reads standard input)
# of the files in $TMP/files, in the order given in $TMP/order.
pack_kit() { # FORM PACKER [ARGUMENTS]
    local form=$1
    shift
    tar -C "$TMP/files" --owner 0 --group 0 --no-recursion -cf "$TMP/layer.tar" -T "$TMP/order"
    "$@" <"$TMP/layer.tar" >"$TMP/layer"
    python3 "$rig/packed_kit.py" "$TMP/layout" v1 "$form" "$TMP/layer" "$TMP/layer.tar"
}

# small first, then something large that cannot be packed, then small again.
make_files() { # SIZE of the large one
    mkdir -p "$TMP/files/m"
    echo '{"first": true}' >"$TMP/files/m/config.json"
    head -c "$1" /dev/urandom >"$TMP/files/m/w.bin"
    printf 'the end\n' >"$TMP/files/m/zz.txt"
    printf '%s\n' m m/config.json m/w.bin m/zz.txt >"$TMP/order"
}

serve() { # sets KIT
    registry_start --layout "kit=$TMP/layout" "$@"
    KIT=$REG/kit:v1
}

same_files() {
    within 50 diff -r --exclude Kitfile "$TMP/files" "$MNT"
}

blob_bytes() {
    stat -c %s "$TMP/layer"
}

case_real_packers() {
    need gzip zstd
    make_files 5M
    for packer in "gzip -1" "gzip -9 -n" "python3 $rig/members.py" "zstd -q -1 -c" \
        "zstd -q --no-check -c" "zstd -q --ultra -20 -c" "zstd -q --long=27 -c"; do
        rm -rf "$TMP/layout"
        form=tar+${packer%% *}
        # shellcheck disable=SC2086 # words
        pack_kit "${form/python3/gzip}" $packer
        mount_kit "oci:$TMP/layout:v1"
        same_files
        memory_is_bounded
        umount_kit
        kit verify "oci:$TMP/layout:v1" >"$TMP/verified" || fail "verify: $(cat "$TMP/verified")"
    done
}

case_several_frames() {
    make_files 20M
    pack_kit tar+zstd python3 "$rig/members.py" zstd
    mount_kit "oci:$TMP/layout:v1"
    same_files
    umount_kit
}

case_once_for_all_mounts() {
    make_files 40M
    pack_kit tar+gzip gzip -1
    serve --latency-ms 30
    mkdir -p "$TMP/one" "$TMP/two" "$TMP/three"
    for dir in one two three; do
        kit mount --plain-http --prefetch none "$KIT" "$TMP/$dir" 2>"$TMP/$dir.err" &
        eval "$dir=\$!"
    done
    # shellcheck disable=SC2154 # set by eval
    wait "$one" && wait "$two" && wait "$three" || fail "a mount failed: $(cat "$TMP"/*.err)"
    at_most "$(sent path=blobs)" $(($(blob_bytes) + MIB / 4)) "bytes for three mounts"
    for dir in one two three; do
        within 50 diff -r --exclude Kitfile "$TMP/files" "$TMP/$dir" || fail "bytes of $dir"
        kit umount "$TMP/$dir"
    done
    at_most "$(sent path=blobs)" $(($(blob_bytes) + MIB / 4)) "bytes after reading"
    mark=$(control mark)
    mount_kit "$KIT"
    same_files
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests of a second mount"
    umount_kit
    registry_stop
    mount_kit "$KIT" --offline
    same_files
    umount_kit
    [ -z "$(ls "$KITFS_CACHE_DIR/turn")" ] || fail "locks are left"
}

# One pass, bounded memory, the next mount at once. The nightly run makes it 2 GiB.
case_large() {
    make_files "${STREAM_SIZE:-128M}"
    pack_kit tar+gzip python3 -c 'import gzip, shutil, sys
with gzip.GzipFile(fileobj=sys.stdout.buffer, mode="wb", compresslevel=0) as packed:
    shutil.copyfileobj(sys.stdin.buffer, packed, 1 << 20)'
    rm "$TMP/layer.tar"
    serve
    kit cat --plain-http "$KIT" m/config.json | cmp - "$TMP/files/m/config.json"
    at_most "$(sent path=blobs)" $((8 * MIB)) "bytes for the first file"
    mark=$(control mark)
    mount_kit "$KIT" --prefetch none
    memory_is_bounded
    within 60 cmp "$MNT/m/w.bin" "$TMP/files/m/w.bin"
    memory_is_bounded
    umount_kit
    at_most "$(sent "from=$mark" path=blobs)" $(($(blob_bytes) + MIB / 4)) "bytes in all"
    mark=$(control mark)
    mount_kit "$KIT"
    within 10 cmp "$MNT/m/zz.txt" "$TMP/files/m/zz.txt"
    umount_kit
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests of a second mount"
}

case_raw() {
    need zstd
    mkdir -p "$TMP/files/m"
    for size in 1000 3M 40M; do
        for packer in gzip "zstd -q -c"; do
            rm -rf "$TMP/layout"
            head -c "$size" /dev/urandom >"$TMP/files/m/w.bin"
            $packer <"$TMP/files/m/w.bin" >"$TMP/layer"
            python3 "$rig/packed_kit.py" "$TMP/layout" v1 "raw+${packer%% *}" "$TMP/layer" \
                "$TMP/files/m/w.bin" --path m/w.bin
            mount_kit "oci:$TMP/layout:v1"
            same_files
            umount_kit
            kit cat "oci:$TMP/layout:v1" m/w.bin | cmp - "$TMP/files/m/w.bin"
        done
    done
}

# What is evicted, or was never kept, is streamed again.
case_without_a_cache() {
    make_files 20M
    pack_kit tar+gzip gzip -1
    serve
    mkdir -m 755 "$TMP/wide"
    mount_kit "$KIT" --cache-dir "$TMP/wide"
    same_files
    cmp "$MNT/m/config.json" "$TMP/files/m/config.json"
    memory_is_bounded
    umount_kit
}

case_cache_that_is_too_small() {
    make_files 40M
    pack_kit tar+zstd zstd -q -1 -c
    serve
    mount_kit "$KIT" --cache-size 16M
    within 60 cmp "$MNT/m/w.bin" "$TMP/files/m/w.bin"
    within 60 cmp "$MNT/m/zz.txt" "$TMP/files/m/zz.txt"
    sleep 1.2
    at_most "$(du -sk "$KITFS_CACHE_DIR" | cut -f 1)" $((24 * 1024)) "KiB in the cache"
    umount_kit
}

# The first file of a large layer costs a few MiB, the last one all of it; nothing is kept.
case_cat_stops_early() {
    make_files 100M
    pack_kit tar+gzip gzip -1
    serve
    kit cat --plain-http "$KIT" m/config.json | cmp - "$TMP/files/m/config.json"
    at_most "$(sent path=blobs)" $((8 * MIB)) "bytes for the first file"
    kit cat --plain-http --offset 5 --length 3 "$KIT" /m//w.bin |
        cmp - <(tail -c +6 "$TMP/files/m/w.bin" | head -c 3)
    at_most "$(sent path=blobs)" $((16 * MIB)) "bytes for two files"
    kit cat --plain-http "$KIT" m/zz.txt | cmp - "$TMP/files/m/zz.txt"
    refused "no 'm/none' in it" kit cat --plain-http "$KIT" m/none
    refused "'m' is a folder" kit cat --plain-http "$KIT" m
    [ -z "$(ls "$KITFS_CACHE_DIR/small/table")" ] || fail "a table was kept"
    equal "$(kit ls --plain-http -R "$KIT" | sort | tr '\n' ' ')" \
        "Kitfile m/ m/config.json m/w.bin m/zz.txt " "ls"
    mark=$(control mark)
    kit cat --plain-http "$KIT" m/zz.txt | cmp - "$TMP/files/m/zz.txt"
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests after ls has streamed it"
}

case_require_lazy() {
    make_files 1M
    pack_kit tar+gzip gzip
    digest=$(sha256sum <"$TMP/layer" | cut -c 1-64)
    mkdir -p "$MNT"
    refused "$digest \(model, tar\+gzip\)" kit mount --require-lazy "oci:$TMP/layout:v1" "$MNT"
    ! mounted || fail "it is mounted"
    mount_kit "oci:$TMP/layout:v1"
    umount_kit
    refused "streamed once" kit mount --require-lazy "oci:$TMP/layout:v1" "$MNT"
    make_kit plain model:p/w.bin:1M
    mount_kit "oci:$TMP/layout:plain" --require-lazy
    umount_kit
    kit inspect --layers "oci:$TMP/layout:v1" | grep -q 'tar+gzip .* streamed once' || fail "inspect"
}

case_progress() {
    make_files 40M
    pack_kit tar+gzip gzip -1
    serve --rate-total $((6 * MIB))
    mkdir -p "$MNT"
    kit mount --plain-http "$KIT" "$MNT" 2>"$TMP/stderr"
    grep -q '^streaming model: .* MiB of 40.* left$' "$TMP/stderr" || fail "$(cat "$TMP/stderr")"
    grep -q '^  model .* streamed once' "$TMP/stderr" || fail "$(cat "$TMP/stderr")"
    umount_kit
    kit mount --plain-http --cache-dir "$TMP/other" --progress none "$KIT" "$MNT" 2>"$TMP/stderr"
    ! grep -q '^streaming' "$TMP/stderr" || fail "progress although none is wanted"
    umount_kit
}

# By way of the cache: one stream, however many files there are.
case_unpack() {
    make_files 20M
    pack_kit tar+gzip gzip -1
    serve
    kit unpack --plain-http "$KIT" -d "$TMP/unpacked"
    within 50 diff -r --exclude Kitfile "$TMP/files" "$TMP/unpacked"
    at_most "$(sent path=blobs)" $(($(blob_bytes) + MIB / 4)) "bytes"
    mark=$(control mark)
    mount_kit "$KIT"
    same_files
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests of a mount afterwards"
    umount_kit
}

# Ctrl-C while it streams: all is gone in seconds, and the next mount begins anew.
case_interrupted() {
    local streaming
    make_files 60M
    pack_kit tar+gzip gzip -1
    serve
    rule '{"path": "blobs", "nth": 4, "action": "stall", "count": 0}'
    mkdir -p "$MNT"
    "$KITFS" mount --plain-http "$KIT" "$MNT" 2>"$TMP/stderr" &
    streaming=$!
    until_true 20 sh -c 'ls "$1"/turn/* >/dev/null 2>&1' - "$KITFS_CACHE_DIR" ||
        fail "nobody streams"
    began=$(milliseconds)
    kill -TERM "$streaming"
    wait "$streaming" 2>/dev/null && fail "it mounted"
    until_true 5 sh -c '! fuser -s "$1"/turn/* 2>/dev/null' - "$KITFS_CACHE_DIR" ||
        fail "the worker still streams"
    at_most $(($(milliseconds) - began)) 4000 "milliseconds"
    ! mounted || fail "mounted"
    control clear
    mount_kit "$KIT"
    same_files
    umount_kit
}

case_damaged() {
    make_files 20M
    pack_kit tar+gzip gzip -1
    layer=$TMP/layout/blobs/sha256/$(sha256sum <"$TMP/layer" | cut -c 1-64)
    mkdir -p "$MNT"
    printf x | dd of="$layer" bs=1 seek=$((10 * MIB)) conv=notrunc status=none
    refused "layer 'sha256:" kit mount "oci:$TMP/layout:v1" "$MNT"
    kit verify "oci:$TMP/layout:v1" >"$TMP/verified" 2>&1 && fail "verified"
    grep -q "the blob's digest is" "$TMP/verified" || fail "verify: $(cat "$TMP/verified")"
    cp "$TMP/layer" "$layer"
    [ -z "$(ls "$KITFS_CACHE_DIR/small/table")" ] || fail "a table was kept"
    mount_kit "oci:$TMP/layout:v1"
    same_files
    umount_kit
}

case_diff_id() {
    make_files 1M
    pack_kit tar+gzip gzip
    kit verify "oci:$TMP/layout:v1"
    python3 "$rig/packed_kit.py" "$TMP/layout" v2 tar+gzip "$TMP/layer" "$TMP/order"
    refused "1 thing is wrong" kit verify "oci:$TMP/layout:v2"
    grep -q "unpacked content" "$TMP/output" || fail "$(cat "$TMP/output")"
}

# 1 MiB that stands for 32 GiB of zeros.
case_bombs() {
    need zstd
    mkdir -p "$TMP/files" "$MNT"
    python3 "$rig/members.py" bomb >"$TMP/layer"
    python3 "$rig/packed_kit.py" "$TMP/layout" v1 raw+zstd "$TMP/layer" "$TMP/layer" --path m/w.bin
    refused "unpacks to more than" kit mount "oci:$TMP/layout:v1" "$MNT"
    at_most "$(du -sk "$KITFS_CACHE_DIR" | cut -f 1)" 1024 "KiB in the cache"
}

# gzip gives at most 1032 bytes for one: a file like others, in a cache that is too small.
case_gzip_bomb() {
    mkdir -p "$TMP/files"
    python3 "$rig/members.py" zeros >"$TMP/layer"
    at_most "$(blob_bytes)" $((MIB * 3 / 4)) "bytes of the blob"
    python3 "$rig/packed_kit.py" "$TMP/layout" v1 raw+gzip "$TMP/layer" \
        <(gzip -dc "$TMP/layer") --path m/w.bin
    mount_kit "oci:$TMP/layout:v1" --cache-size 16M
    equal "$(stat -c %s "$MNT/m/w.bin")" $((512 * MIB)) "size"
    equal "$(within 20 tail -c 3000000 "$MNT/m/w.bin" | tr -d '\0' | wc -c)" 0 "bytes that are none"
    memory_is_bounded
    sleep 1.2
    at_most "$(du -sk "$KITFS_CACHE_DIR" | cut -f 1)" $((24 * 1024)) "KiB in the cache"
    umount_kit
}

# Streams that are wrong although the blob has its digest: NAME FORM COMMAND, from the good
# ones in $TMP/gz and $TMP/zst.
broken_streams() {
    cat <<'END'
trailing-garbage tar+gzip cat gz order
trailing-zeros tar+gzip cat gz zeros
cut-in-the-trailer tar+gzip head -c -3 gz
cut-before-the-trailer tar+gzip head -c -8 gz
cut-in-the-middle tar+gzip head -c 300000 gz
cut-in-the-header tar+gzip head -c 5 gz
second-member-cut tar+gzip cat gz cut
another-checksum tar+gzip flip -8 gz
another-length tar+gzip flip -1 gz
flipped-inside tar+gzip flip 500000 gz
no-gzip tar+gzip cat zst
no-gzip-but-tar tar+gzip cat layer.tar
nothing tar+gzip cat empty
trailing-garbage tar+zstd cat zst order
half-a-magic-number tar+zstd cat zst half
cut-at-the-end tar+zstd head -c -1 zst
cut-in-the-middle tar+zstd head -c 300000 zst
another-checksum tar+zstd flip -1 zst
no-zstd tar+zstd cat gz
no-zstd-but-tar tar+zstd cat layer.tar
nothing tar+zstd cat empty
END
}

flip() { # PLACE, from the end if below zero, FILE: with one other bit there
    python3 -c 'import sys
data = bytearray(open(sys.argv[2], "rb").read())
data[int(sys.argv[1])] ^= 1
sys.stdout.buffer.write(data)' "$@"
}

case_broken() {
    local name form command digest
    make_files 1M
    pack_kit tar+gzip gzip -c
    mkdir -p "$MNT"
    cd "$TMP"
    cp layer gz
    zstd -q -c layer.tar >zst
    head -c 20 gz >cut
    head -c 3 zst >half
    head -c 512 /dev/zero >zeros
    : >empty
    while read -r name form command; do
        # shellcheck disable=SC2086 # words
        $command >layer
        python3 "$rig/packed_kit.py" layout "$name" "$form" layer layer.tar >digest
        digest=$(sha256sum <layer | cut -c 1-64)
        refused "layer 'sha256:$digest': .+" kit mount "oci:$TMP/layout:$name" "$MNT"
        ! mounted || fail "$name, $form, is mounted"
        ! kit verify "oci:$TMP/layout:$name" >verified 2>&1 || fail "$name, $form, is verified"
        ! kit unpack -q "oci:$TMP/layout:$name" -d unpacked 2>stderr || fail "$name is unpacked"
        [ -z "$(find unpacked -type f -path '*/m/*' 2>/dev/null)" ] || fail "$name left a file"
        rm -rf unpacked
        [ -z "$(ls "$KITFS_CACHE_DIR/small/table")" ] || fail "a table was kept of $name, $form"
    done < <(broken_streams)
    equal "$(jq '.manifests | length' layout/index.json)" 18 "kits that were looked at"
}

run_case "$@"
