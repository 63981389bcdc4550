#!/bin/bash
# What is not read is not fetched, what was fetched is not fetched again.
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))

# The promise of the README: 1 MiB out of 1 GiB costs at most 8 MiB and 6 requests.
case_middle_of_a_large_file() {
    serve_kit 1G
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 $((511 * MIB)) "$MIB"
    at_most "$(requests)" 6 "requests"
    at_most "$(sent)" $((8 * MIB)) "bytes"
    mark=$(control mark)
    check_bytes "$MNT/model/w.bin" 1 $((511 * MIB)) "$MIB"
    equal "$(requests "from=$mark")" 0 "requests of a second read"
    memory_is_bounded
    umount_kit
}

# kill -9 of both processes, then a new mount with the old cache.
all_is_written() { # all that was fetched, but for the headers that were walked
    [ $(($(status_of counters.cache_written_bytes) + 128 * 1024)) -ge \
        "$(status_of counters.fetched_bytes)" ]
}

case_killed_and_mounted_again() {
    serve_kit 256M # read to its end, so that nothing is read ahead
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 $((240 * MIB)) $((16 * MIB))
    until_true 20 all_is_written || fail "not written: $(status_of counters)"
    keeper=$(status_of pid_keeper)
    worker=$(status_of pid_worker)
    kill -STOP "$keeper" "$worker" # so that neither sees the other die and tidies up
    kill -KILL "$keeper" "$worker"
    until_true 5 gone "$worker" && until_true 5 gone "$keeper" || fail "not killed"
    mark=$(control mark)
    mount_kit "$KIT" # clears the dead mount away
    check_bytes "$MNT/model/w.bin" 1 $((240 * MIB)) $((16 * MIB))
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests after the kill"
    equal "$(sent "from=$mark" path=blobs)" 0 "blob bytes after the kill"
    check_bytes "$MNT/model/w.bin" 1 $((100 * MIB)) "$MIB"
    umount_kit
}

case_second_mount_walks_nothing() {
    serve_kit 64M
    mount_kit "$KIT"
    umount_kit
    mark=$(control mark)
    mount_kit "$KIT"
    find "$MNT" >"$TMP/found"
    equal "$(requests "from=$mark" path=blobs)" 0 "blob requests of a second mount"
    umount_kit
}

case_offline() {
    serve_kit 64M
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    sleep 1.5
    umount_kit
    registry_stop
    mount_kit "$KIT" --offline
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

# Many readers of one cold place cause one fetch.
case_one_fetch_as_root() {
    serve_kit 64M --latency-ms 50
    mount_kit "$KIT"
    mark=$(control mark)
    within 60 python3 "$here/readers.py" same "$MNT/model/w.bin" 1 64 $((32 * MIB)) "$MIB"
    equal "$(requests "from=$mark" path=blobs)" 1 "requests for 64 readers"
    umount_kit
}

# No thread of the worker waits on the network: with 64 readers blocked, others are served.
case_nobody_waits() {
    serve_kit 256M
    mount_kit "$KIT"
    rule '{"path": "blobs", "action": "stallhdr", "count": 0}'
    within 100 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 64 $((3 * MIB)) 4096 &
    readers=$!
    until_true 10 waiting 60 || fail "readers are not waiting"
    began=$(milliseconds)
    within 10 stat "$MNT/model" "$MNT/model/w.bin" >"$TMP/stat"
    within 10 ls -lR "$MNT" >"$TMP/ls"
    equal "$(within 10 cat "$MNT/.kitfs/status.json" | jq -r .state)" unverified "state"
    at_most $(($(milliseconds) - began)) 1000 "milliseconds of stat and ls"
    control clear # the stalled answers go on
    wait "$readers" || fail "readers got errors or wrong bytes"
    umount_kit
}

waiting() { # COUNT: read requests that have to wait for the source
    [ "$(status_of counters.read_waits)" -ge "$1" ]
}

# Sequential reading through a slow link is not one request at a time.
case_sequential_through_latency() {
    serve_kit 256M --latency-ms 20
    mount_kit "$KIT"
    within 60 cat "$MNT/model/w.bin" | python3 "$here/compare.py" 1
    # One 1 MiB request at a time would take 256 x 20 ms in waiting alone.
    control list path=blobs >"$TMP/rows"
    python3 "$here/overlap.py" "$TMP/rows" 4 || fail "requests are not in flight together"
    memory_is_bounded
    umount_kit
}

# A whole file is fetched once, byte for byte.
case_whole_file_once() {
    serve_kit 128M
    mount_kit "$KIT"
    mark=$(control mark)
    check_bytes "$MNT/model/w.bin" 1 0 0
    at_most "$(sent "from=$mark" path=blobs)" $((129 * MIB)) "bytes for a file of 128 MiB"
    umount_kit
}

case_larger_than_8_gib() {
    cat >"$TMP/spec.json" <<'JSON'
{"layers": [{"kind": "model", "path": "model", "files": [
    {"path": "model/a.bin", "size": 9663676416, "seed": 5},
    {"path": "model/b.bin", "size": 12345, "seed": 6}]}]}
JSON
    registry_start --synthetic "big:v1=$TMP/spec.json"
    mount_kit "$REG/big:v1"
    equal "$(stat -c %s "$MNT/model/a.bin")" 9663676416 "size"
    check_bytes "$MNT/model/a.bin" 5 9663000000 676416
    check_bytes "$MNT/model/b.bin" 6 0 0
    umount_kit
}

case_without_cache_folder() {
    serve_kit 64M
    mkdir -m 755 "$TMP/wide"
    mount_kit "$KIT" --cache-dir "$TMP/wide" 2>"$TMP/stderr"
    grep -q "$TMP/wide" "$TMP/stderr" || fail "nothing is said about the cache folder"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

case_cache_size_holds() {
    serve_kit 256M
    mount_kit "$KIT" --cache-size 64M
    check_bytes "$MNT/model/w.bin" 1 0 0
    sleep 1.5
    at_most "$(du -sk "$KITFS_CACHE_DIR" | cut -f 1)" $((72 * 1024)) "KiB in the cache"
    check_bytes "$MNT/model/w.bin" 1 0 0
    memory_is_bounded
    umount_kit
}

# Names and attributes are the kernel's once it has seen them: with the worker stopped
# every request would hang.
case_known_names_ask_nobody() {
    local first worker
    make_kit v1 dataset:d/sub/a.txt:10 dataset:d/sub/b.txt:2M docs:README.md:5
    mount_kit "oci:$TMP/layout:v1"
    worker=$(status_of pid_worker)
    first=$(within 20 ls -lR "$MNT")
    kill -STOP "$worker"
    equal "$(timeout -s KILL 10 ls -lR "$MNT" 2>&1)" "$first" "second listing"
    kill -CONT "$worker"
    umount_kit
}

case_tag_moved() {
    make_kit other docs:other.md:10K
    other=$(cat "$TMP/manifest-digest")
    serve_kit 16M
    mount_kit "$KIT"
    first=$(status_of digest)
    control tag kit v1 "$other"
    equal "$(status_of digest)" "$first" "digest after the tag moved"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
    mount_kit "$KIT"
    equal "$(status_of digest)" "$other" "digest of a new mount"
    test -e "$MNT/other.md"
    umount_kit
}

run_case "$@"
