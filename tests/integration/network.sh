#!/bin/bash
# A machine whose network, or whose registry, is not there when it mounts: what is cached is
# mounted all the same, at what its name meant last.
# as root, but for registry_is_gone.*|name_that_nobody_asked_for
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))

fill_cache() { # LENGTH: of the file; 0 is all
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 "$1"
    DIGEST=$(status_of digest)
    sleep 1.5 # what the cache keeps is told to it by then
    umount_kit
}

mounts_from_the_cache() { # REF [OPTIONS]
    within 30 "$KITFS" mount --plain-http --prefetch none "$@" "$MNT" 2>"$TMP/said" ||
        fail "not mounted: $(cat "$TMP/said")"
    grep -q '^\[WARN\] Not asked whether it is still that' "$TMP/said" ||
        fail "not said: $(cat "$TMP/said")"
    equal "$(status_of digest)" "$DIGEST" "digest"
    status_of not_asked | grep -q . || fail "the status does not say it"
    equal "$(status_of state)" "degraded: $(status_of not_asked)" "state"
}

case_registry_is_gone() {
    serve_kit 64M
    fill_cache 0
    registry_stop
    mounts_from_the_cache "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
    kit ls -R --plain-http "$KIT" >"$TMP/listed"
    grep -q w.bin "$TMP/listed" || fail "not listed"
}

case_registry_is_gone_by_digest() {
    serve_kit 64M
    KIT=${KIT%:*}@$(cat "$TMP/manifest-digest")
    fill_cache 0
    registry_stop
    mounts_from_the_cache "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

# Only what is read of the rest fails, and not for longer than the registry is away.
case_registry_comes_back() {
    serve_kit 64M
    fill_cache "$MIB"
    port=${REG##*:}
    registry_stop
    mounts_from_the_cache "$KIT" --read-timeout 2s
    check_bytes "$MNT/model/w.bin" 1 0 "$MIB"
    within 20 cat "$MNT/model/w.bin" >"$TMP/bytes" 2>"$TMP/error" && fail "read"
    grep -q 'timed out' "$TMP/error" || fail "$(cat "$TMP/error")"
    registry_start --layout "kit=$TMP/layout" --port "$port"
    until_true 20 check_bytes "$MNT/model/w.bin" 1 0 0 || fail "not well again"
    umount_kit
}

# Neither interfaces nor names.
case_no_network_as_root() {
    serve_kit 64M
    fill_cache 0
    began=$SECONDS

    unshare -n "$KITFS" mount --plain-http --prefetch none "$KIT" "$MNT" 2>"$TMP/said" ||
        fail "not mounted: $(cat "$TMP/said")"
    at_most $((SECONDS - began)) 15 "seconds"
    grep -q '^\[WARN\] Not asked' "$TMP/said" || fail "not said: $(cat "$TMP/said")"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

case_registry_is_silent() {
    serve_kit 64M
    fill_cache 0
    rule '{"path": "manifests", "action": "stallhdr", "count": 0}'
    began=$SECONDS
    mounts_from_the_cache "$KIT"
    at_most $((SECONDS - began)) 15 "seconds"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

case_registry_is_ill() {
    serve_kit 64M
    fill_cache 0
    rule '{"path": "manifests", "action": "status", "code": 503, "count": 0}'
    mounts_from_the_cache "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

# The state is that of the registry, which was away, until it has answered.
case_state_until_it_answers() {
    serve_kit 64M
    fill_cache "$MIB"
    rule '{"path": "manifests", "action": "status", "code": 503, "count": 0}'
    mounts_from_the_cache "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 "$MIB"
    equal "$(status_of state)" "degraded: $(status_of not_asked)" "state"
    check_bytes "$MNT/model/w.bin" 1 0 0
    status_of state | grep -q degraded && fail "degraded: $(status_of state)"
    status_of not_asked | grep -q . || fail "what was not asked then is forgotten"
    umount_kit
}

# Who is refused is not served from the cache instead, and a tag that is gone is gone.
case_refused_is_no_outage() {
    serve_kit 64M
    fill_cache 0
    rule '{"path": "manifests", "action": "status", "code": 403, "count": 0}'
    refused '403' kit mount --plain-http "$KIT" "$MNT"
    control clear
    rule '{"path": "manifests", "action": "status", "code": 404, "count": 0}'
    refused 'no such tag' kit mount --plain-http "$KIT" "$MNT"
}

# A digest is no key to what others were given under another name.
case_digest_of_another_repository() {
    serve_kit 64M
    fill_cache 0
    registry_stop
    refused 'connect' kit mount --plain-http "$REG/other@$DIGEST" "$MNT"
}

case_name_that_nobody_asked_for() {
    serve_kit 64M
    fill_cache 0
    registry_stop
    refused 'connect' kit mount --plain-http "${KIT%:*}:v2" "$MNT"
    KITFS_CACHE_DIR=$TMP/other refused 'connect' kit mount --plain-http "$KIT" "$MNT"
}

# --- names that cannot be looked up -----------------------------------------------------

NAME=kit.test

# The case itself, again, where network and name server are its own.
own_network() {
    if [ -z "${OWN_NETWORK:-}" ]; then
        need unshare ip
        unshare -n -m true || skip "no networks of our own here"
        OWN_NETWORK=1 exec unshare -n -m "$0" "$CASE"
    fi
    ip link set lo up
    echo nameserver 127.0.0.1 >"$TMP/resolv.conf"
    echo hosts: files dns >"$TMP/nsswitch.conf"
    mount --bind "$TMP/resolv.conf" /etc/resolv.conf
    mount --bind "$TMP/nsswitch.conf" /etc/nsswitch.conf
    names 127.0.0.1
    python3 "$here/names.py" "$TMP/names" &
    NAMES_PID=$!
    until_true 10 getent hosts "$NAME" >/dev/null || fail "no name server"
}

names() { # WORD or ADDRESSES: what the name server says from now on; "nobody" ends it
    if [ "$1" = nobody ]; then
        kill "$NAMES_PID"
        wait "$NAMES_PID" 2>/dev/null || true
        return
    fi
    echo "$@" >"$TMP/names.new"
    mv "$TMP/names.new" "$TMP/names"
}

serve_named_kit() { # SIZE [ARGUMENTS of registry.py]
    serve_kit "$@"
    PORT_KEPT=${REG##*:}
    KIT=$NAME:$PORT_KEPT/kit:v1
}

# No connection is left, and whatever was looked up is forgotten (10 s).
forget_names() {
    registry_stop
    sleep 11
    registry_start --layout "kit=$TMP/layout" --port "$PORT_KEPT" "$@"
}

case_name_is_unknown_at_the_mount_as_root() {
    own_network
    serve_named_kit 8M
    names unknown
    began=$SECONDS
    refused "$NAME.*resolve.*check the name" kit mount --plain-http --read-timeout 5s "$KIT" "$MNT"
    at_most $((SECONDS - began)) 10 "seconds"
    names silent
    began=$SECONDS
    refused "$NAME.*resolv.*check the name" \
        kit mount --plain-http --read-timeout 8s "$KIT" "$MNT"
    at_most $((SECONDS - began)) 15 "seconds"
    names nobody
    began=$SECONDS
    refused "$NAME.*resolve.*check the name" \
        kit mount --plain-http --read-timeout 5s "$KIT" "$MNT"
    at_most $((SECONDS - began)) 10 "seconds"
}

case_name_comes_back_while_a_reader_waits_as_root() {
    own_network
    serve_named_kit 64M
    fill_cache "$MIB"
    names unknown
    mounts_from_the_cache "$KIT"
    check_bytes "$MNT/model/w.bin" 1 $((40 * MIB)) "$MIB" &
    reader=$!
    sleep 3
    kill -0 "$reader" || fail "it does not wait"
    names 127.0.0.1
    wait "$reader" || fail "the reader saw an error"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

# Where it was found last does as well.
name_is_gone() { # WORD
    own_network
    serve_named_kit 64M
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 "$MIB"
    forget_names
    names "$1"
    began=$SECONDS
    check_bytes "$MNT/model/w.bin" 1 $((20 * MIB)) "$MIB"
    at_most $((SECONDS - began)) 12 "seconds of the first read"
    registry_stop
    registry_start --layout "kit=$TMP/layout" --port "$PORT_KEPT"
    began=$(milliseconds)
    check_bytes "$MNT/model/w.bin" 1 $((40 * MIB)) "$MIB"
    at_most $(($(milliseconds) - began)) 4500 "milliseconds when that is known"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_name_is_unknown_after_the_mount_as_root() {
    name_is_gone unknown
}

case_name_server_is_gone_after_the_mount_as_root() {
    name_is_gone nobody
}

case_name_server_is_silent_after_the_mount_as_root() {
    name_is_gone silent
}

# To another address, while its name was lost, too.
case_registry_moves_as_root() {
    own_network
    serve_named_kit 64M
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 "$MIB"
    forget_names --address 127.0.0.2
    names 127.0.0.2
    check_bytes "$MNT/model/w.bin" 1 $((20 * MIB)) "$MIB"
    names unknown
    forget_names --address 127.0.0.2
    check_bytes "$MNT/model/w.bin" 1 $((40 * MIB)) "$MIB"
    registry_stop
    registry_start --layout "kit=$TMP/layout" --port "$PORT_KEPT" --address 127.0.0.3
    names 127.0.0.3
    check_bytes "$MNT/model/w.bin" 1 $((60 * MIB)) "$MIB"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

# Its first address is of IPv6, and nothing that is sent there comes back.
case_ipv6_black_hole_as_root() {
    own_network
    ip link add hole type veth peer name bottom
    ip link set bottom up
    ip link set hole up
    ip -6 address add 2001:db8::2/64 dev hole nodad
    ip -6 neighbour add 2001:db8::1 lladdr 02:00:00:00:00:01 dev hole
    names 2001:db8::1 127.0.0.1
    serve_named_kit 64M
    began=$(milliseconds)
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 $((20 * MIB)) "$MIB"
    at_most $(($(milliseconds) - began)) 5000 "milliseconds until it was read"
    umount_kit
}

run_case "$@"
