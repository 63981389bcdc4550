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

run_case "$@"
