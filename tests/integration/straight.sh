#!/bin/bash
# `kitfs pack --push`: straight into a registry. What is asserted is the journal, the kit
# that is there, and that it is the one a layout gets.
# as root, but for streams|ctrl_c
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))

make_tree() { # MIB...: $TMP/tree, a layer of each size
    mkdir -p "$TMP/tree"
    local number=0 size
    printf 'manifestVersion: 1.0.0\npackage: {name: straight}\ndatasets:\n' >"$TMP/tree/Kitfile"
    for size in "$@"; do
        number=$((number + 1))
        python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(int(sys.argv[1])).randbytes(int(sys.argv[2])))' \
            $number $((size * MIB)) >"$TMP/tree/$number.bin"
        echo "- {name: d$number, path: $number.bin}" >>"$TMP/tree/Kitfile"
    done
}

pack() { # REF [OPTIONS]: prints the digest
    local ref=$1
    shift
    within 60 "$KITFS" pack "$TMP/tree" -t "$ref" -q "$@" 2>"$TMP/stderr" || {
        cat "$TMP/stderr" >&2
        fail "pack $ref $*"
    }
}

push() { # [OPTIONS]: to $TO
    pack "$TO" --push --plain-http "${PROXY[@]}" "$@"
}

start() {
    registry_start --uploads
    TO=$REG/new/kit:v1
}

PROXY=()

# No registry of ours has such a name: it is reached as if through a proxy.
start_at_ghcr() {
    registry_start --uploads
    TO=ghcr.io/new/kit:v1
    PROXY=(--proxy "http://$REG")
}

as_in_a_layout() { # DIGEST
    equal "$1" "$(pack "oci:$TMP/layout:v1")" "the digest, and that in a layout"
}

# Readable, verified, and what was packed.
whole() { # HOST/REPOSITORY:TAG
    kit verify --plain-http "$1" >"$TMP/verified"
    mount_kit "$1"
    within 60 diff -r -x Kitfile -x .kitfs "$TMP/tree" "$MNT"
    umount_kit
}

methods() { # FILTER...: of requests about blobs
    control list path=blobs "$@" | jq -r .method | sort | uniq -c | awk '{printf "%s=%s ", $2, $1}'
}

# --- ways ---------------------------------------------------------------------------------

case_streams() {
    make_tree 10 20 1 12
    start
    as_in_a_layout "$(push)"
    equal "$(methods)" "HEAD=2 PATCH=3 POST=5 PUT=5 " "requests"
    equal "$(control list method=PATCH chunked=False | wc -l)" 0 "streams that are none"
    whole "$TO"
}

# Held back until all are there: one after the other they would never meet.
case_several_at_once() {
    make_tree 10 9 11 10
    start
    rule '{"method": "PATCH", "action": "delay", "ms": 1500, "count": 0}'
    as_in_a_layout "$(push)"
    control list method=PATCH >"$TMP/patches"
    python3 "$here/overlap.py" "$TMP/patches" 3
    ! python3 "$here/overlap.py" "$TMP/patches" 4 || fail "more at once than wanted"
    whole "$TO"
}

case_any_number_of_threads() {
    make_tree 1 9 1 1 1
    start
    local digest
    digest=$(push --threads 1)
    equal "$(push --threads 7)" "$digest" "the digest with more threads"
    as_in_a_layout "$digest"
}

# The first layers find out; no layer is streamed after that.
case_size_wanted() {
    make_tree 10 20 1 12 9 9
    start
    rule '{"method": "PATCH", "action": "refuse", "code": 416, "count": 0}'
    as_in_a_layout "$(push)"
    at_most "$(requests method=PATCH)" 3 "streams"
    equal "$(control list method=PUT path=uploads status=201 | jq -s -c '
        [length, ([.[] | select(.chunked)] | length)]')" '[7,0]' "PUTs, chunked ones"
    whole "$TO"
    local before
    before=$(control mark)
    push >/dev/null
    equal "$(methods "from=$before" method=PUT)" "" "blobs put again"
}

case_size_wanted_and_known_so() {
    make_tree 10 20 1
    start_at_ghcr
    as_in_a_layout "$(push)"
    equal "$(methods)" "HEAD=4 POST=4 PUT=4 " "requests"
    equal "$(control list method=PUT chunked=True | wc -l)" 0 "chunked PUTs"
    equal "$(control list method=PUT path=uploads | jq -s -c 'map(.received > 9000000) | sort')" \
        '[false,false,true,true]' "large PUTs"
    whole "$REG/new/kit:v1"
    local before
    before=$(control mark)
    push >/dev/null
    equal "$(methods "from=$before")" "HEAD=4 " "requests for a kit that is there"
}

case_docker_registry() {
    docker_registry "$TMP"
    make_tree 10 20 1
    TO=$DOCKER_REGISTRY/a/kit:v1
    local digest
    digest=$(push)
    as_in_a_layout "$digest"
    whole "$TO"
    equal "$(push)" "$digest" "the same kit again"
    docker_registry_stop
}

# --- what goes wrong ----------------------------------------------------------------------

case_put_cut() {
    make_tree 10 20
    start_at_ghcr
    rule '{"method": "PUT", "path": "uploads", "action": "hangup", "after": 3000000}'
    as_in_a_layout "$(push)"
    equal "$(control list method=PUT path=uploads | jq -s -c 'map(.received > 2000000) | sort')" \
        '[false,true,true,true]' "PUTs, of which one was cut"
    whole "$REG/new/kit:v1"
}

case_stream_cut() {
    make_tree 10 20
    start
    rule '{"method": "PATCH", "action": "hangup", "after": 3000000}'
    as_in_a_layout "$(push)"
    equal "$(requests method=PATCH)" 3 "streams, of which one was cut"
    whole "$TO"
}

case_put_refused() {
    make_tree 10 20
    start_at_ghcr
    rule '{"method": "PUT", "action": "refuse", "code": 413, "count": 0}'
    refused "layer '.*bin': .*413.*takes no blobs of this size" \
        within 60 "$KITFS" pack "$TMP/tree" -t "$TO" --push --plain-http \
        "${PROXY[@]}"
    equal "$(requests path=manifests)" 0 "manifests"
}

connected() {
    grep -q ":$(printf %04X "$PORT") 01 " /proc/net/tcp
}

# The registry is asked for the layer once it was packed the first time.
case_file_changes_between() {
    make_tree 10
    start_at_ghcr
    rule '{"method": "HEAD", "action": "delay", "ms": 30000}'
    "$KITFS" pack "$TMP/tree" -t "$TO" --push --plain-http "${PROXY[@]}" >"$TMP/output" \
        2>"$TMP/stderr" &
    local packer=$!
    until_true 20 connected || fail "the registry is not asked"
    printf x | dd of="$TMP/tree/1.bin" conv=notrunc status=none
    control clear
    wait $packer && fail "it was packed"
    grep -q "^\[ERROR\] Cannot pack .*'1.bin' changed while it was packed" "$TMP/stderr" ||
        fail "$(cat "$TMP/stderr")"
    equal "$(requests path=manifests)" 0 "manifests"
    as_in_a_layout "$(push)"
}

# The others wait for a registry that takes nothing more: they do not keep us.
case_first_failure_ends_all() {
    make_tree 40 40 40
    start
    rule '{"method": "PATCH", "nth": 2, "count": 0, "action": "deaf", "after": 1000}' \
        '{"method": "PATCH", "action": "refuse", "code": 403, "after": 1000000}'
    refused 'layer .*403.*check that you may write' \
        within 30 "$KITFS" pack "$TMP/tree" -t "$TO" --push --plain-http
    control clear
}

interrupted() { # METHOD
    make_tree 40 40
    rule "{\"method\": \"$1\", \"action\": \"deaf\", \"count\": 0}"
    "$KITFS" pack "$TMP/tree" -t "$TO" --push --plain-http "${PROXY[@]}" >"$TMP/output" \
        2>"$TMP/stderr" &
    local packer=$! status=0
    until_true 20 some_request || fail "nothing is sent"
    sleep 1
    kill -INT $packer
    until_true 20 gone $packer || fail "it goes on after Ctrl-C"
    wait $packer || status=$?
    equal "$status" 130 "exit status"
    grep -q "^\[ERROR\] Cannot pack .*interrupted" "$TMP/stderr" || fail "$(cat "$TMP/stderr")"
    equal "$(grep -c "^.ERROR" "$TMP/stderr")" 1 "lines of errors"
    control clear
}

some_request() {
    grep -q POST "$TMP/journal"
}

case_ctrl_c() { start && interrupted PATCH; }
case_ctrl_c_in_a_put() { start_at_ghcr && interrupted PUT; }

run_case "$@"
