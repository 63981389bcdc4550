#!/bin/bash
# What goes wrong on the way from a registry, a case each: README.md has the table.
# as root, but for umount_.*|sigterm_.*|blocked_reader_.*|failing_reads_are_held|body_cut|stalled|killed_in_mid_write|manifest_forbidden
# limit: 90
. "$(dirname "$0")/lib.sh"
. "$here/failing.sh"

# --- while mounting ---------------------------------------------------------------------

mount_refused() { # PATTERN RULE [OPTIONS]
    local pattern=$1
    serve_kit 1M
    rule "$2"
    shift 2
    refused "$pattern" kit mount --plain-http --read-timeout 3s "$@" "$KIT" "$MNT"
    ! mounted || fail "mounted"
    equal "$(find "$KITFS_CACHE_DIR/small" -type f | wc -l)" "${KEPT:-0}" "files kept"
}

case_manifest_with_another_digest() {
    mount_refused 'manifest that is not .sha256:' \
        '{"path": "manifests", "action": "edit", "count": 0}'
}

case_manifest_by_digest_with_another_digest() {
    serve_kit 1M
    rule '{"path": "manifests", "action": "edit", "count": 0}' \
        '{"path": "manifests", "action": "headers", "count": 0,
          "Docker-Content-Digest": null}'
    refused 'manifest that is not .sha256:' \
        kit mount --plain-http "$REG/kit@$(cat "$TMP/manifest-digest")" "$MNT"
}

case_manifest_cut() {
    mount_refused '.' '{"path": "manifests", "action": "truncate", "count": 0}'
}

case_manifest_is_a_login_page() {
    mount_refused '.' '{"path": "manifests", "action": "html", "count": 0}'
}

case_manifest_of_5_mib() {
    mount_refused '.' \
        '{"path": "manifests", "action": "body", "count": 0, "text": "{", "pad": 5242880}'
}

case_manifest_encoded() {
    mount_refused 'enco|gzip' '{"path": "manifests", "action": "gzip", "count": 0}'
}

case_manifest_stalled() {
    began=$(milliseconds)
    mount_refused '.' '{"path": "manifests", "action": "stall", "count": 0, "after": 10}'
    at_most $(($(milliseconds) - began)) 15000 "milliseconds to give up"
}

case_manifest_forbidden() {
    mount_refused '401|403|refused' \
        '{"path": "manifests", "action": "status", "code": 401, "count": 0}'
}

case_config_with_another_digest() {
    KEPT=1 # the tag's digest or the manifest may stay; they are right
    serve_kit 1M
    config=$(jq -r .config.digest "$TMP/layout/blobs/sha256/$(cut -c 8- \
        "$TMP/manifest-digest")")
    rule "{\"path\": \"$config\", \"action\": \"flip\", \"at\": 20, \"count\": 0}"
    refused 'digest' kit mount --plain-http --read-timeout 3s "$KIT" "$MNT"
    ! mounted || fail "mounted"
    test ! -e "$KITFS_CACHE_DIR/small/blob/${config#sha256:}" || fail "the config is kept"
}

case_config_missing() {
    serve_kit 1M
    rule '{"path": "blobs", "action": "status", "code": 404}'
    refused 'not found|404|unknown|missing' kit mount --plain-http "$KIT" "$MNT"
}

case_nobody_listens() {
    serve_kit 1M
    registry_stop
    began=$(milliseconds)
    refused 'Cannot mount' kit mount --plain-http --read-timeout 3s "$KIT" "$MNT"
    at_most $(($(milliseconds) - began)) 40000 "milliseconds to give up"
}

# --- once, while reading: the reader never notices ------------------------------------

heals() { # FIELDS of the rule [MOST REQUESTS]
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 20s
    rule "{\"path\": \"blobs\", $1}"
    mark=$(control mark)
    check_bytes "$MNT/model/w.bin" 1 "$PLACE" "$MIB"
    control list "from=$mark" >"$TMP/rows"
    grep -q '"fault": "' "$TMP/rows" || fail "nothing went wrong"
    at_most "$(wc -l <"$TMP/rows")" "${2:-3}" "requests"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_body_cut() {
    heals '"action": "drop", "after": 100000'
}

case_connection_reset() {
    heals '"action": "rst", "after": 100000'
}

case_chunked_body_cut() {
    heals '"action": "chunkcut", "after": 100000'
}

case_no_length_and_cut() {
    heals '"action": "nolen", "after": 100000'
}

case_short_answer() {
    heals '"action": "short206", "length": 100000' 4
}

case_stalled_once() {
    heals '"action": "stall", "after": 100000'
}

case_silent_once() {
    heals '"action": "stallhdr"'
}

case_chunked_body_as_root() {
    heals '"action": "chunked"' 1
}

case_longer_than_asked() {
    heals '"action": "long"'
}

case_garbage() {
    heals '"action": "garbage"'
}

case_huge_header() {
    heals '"action": "hugehdr"'
}

case_wrong_range_once() {
    heals '"action": "wrongrange"'
}

case_unavailable_twice_as_root() {
    began=$(milliseconds)
    heals '"action": "status", "code": 503, "retry_after": 1, "count": 2'
    equal "$(wc -l <"$TMP/rows")" 3 "requests"
    [ $(($(milliseconds) - began)) -ge 2000 ] || fail "Retry-After is not honoured"
}

case_too_many_requests() {
    heals '"action": "status", "code": 429, "retry_after": 1'
}

# --- always, while reading: an error, never wrong bytes ---------------------------------

# The read fails with one of the errors in time; what is cached stays readable; when the
# fault is gone, so is the error.
fails() { # ERRORS (as "EIO|ETIMEDOUT") FIELDS of the rule
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 3s
    check_bytes "$MNT/model/w.bin" 1 0 4096
    rule "{\"path\": \"blobs\", \"count\": 0, $2}"
    read_fails "$1"
    equal "$(status_of 'last_error.path')" model/w.bin "path of the last error"
    status_of state | grep -q degraded || fail "state: $(status_of state)"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    memory_is_bounded
    control clear
    until_true 10 heals_again || fail "still: $verdict"
    umount_kit
}

case_wrong_range() {
    fails EIO '"action": "wrongrange"'
}

case_wrong_total() {
    fails EIO '"action": "wrongtotal"'
}

case_206_without_range() {
    fails EIO '"action": "norange"'
}

case_encoded() {
    fails EIO '"action": "gzip"'
}

case_blob_gone() {
    fails EIO '"action": "status", "code": 404'
}

case_blob_forbidden() {
    fails EACCES '"action": "status", "code": 403'
}

case_416() {
    fails EIO '"action": "bad416"'
}

case_login_page() {
    fails EIO '"action": "html"'
}

case_stalled() {
    fails 'ETIMEDOUT' '"action": "stall"'
}

case_silent() {
    fails 'ETIMEDOUT' '"action": "stallhdr"'
}

case_drip() {
    fails 'ETIMEDOUT' '"action": "drip"'
}

case_cut_every_time() { # before a single byte: no progress is ever made
    fails 'ETIMEDOUT|EIO' '"action": "drop", "after": 0'
}

case_unavailable_for_ever() {
    fails 'ETIMEDOUT|EIO' '"action": "status", "code": 503'
}

case_redirect_loop() {
    fails 'EIO|ETIMEDOUT' '"action": "loop"'
}

case_dead_registry() {
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 3s
    check_bytes "$MNT/model/w.bin" 1 0 4096
    registry_stop
    read_fails 'ETIMEDOUT|EIO'
    check_bytes "$MNT/model/w.bin" 1 0 4096
    umount_kit
}

# --- cases, not errors ------------------------------------------------------------------

# Range ignored: right bytes, bounded memory, and the transfer ends behind what was wanted.
case_range_ignored() {
    serve_kit 1G
    mount_kit "$KIT"
    rule '{"path": "blobs", "action": "full200", "count": 0}'
    mark=$(control mark)
    check_bytes "$MNT/model/w.bin" 1 "$PLACE" "$MIB"
    memory_is_bounded
    umount_kit
    at_most "$(sent "from=$mark" path=blobs)" $((128 * MIB)) "bytes of a 1 GiB blob"
}

case_redirect_to_another_host() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "redirect", "count": 0}'
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 "$PLACE" $((8 * MIB))
    [ "$(requests server=redirect)" -ge 2 ] || fail "the other host was not asked"
    equal "$(requests server=redirect authorization=True)" 0 "credentials sent there"
    equal "$(requests method=HEAD)" 0 "HEAD requests"
    at_most "$(requests server=main status=307)" 3 "redirects, as a good URL is kept"
    kit status --json | grep -q signature && fail "a signed URL is shown"
    umount_kit
}

case_signed_url_expires() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "redirect", "count": 0, "ttl": 1}'
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    sleep 1.2
    check_bytes "$MNT/model/w.bin" 1 "$PLACE" "$MIB"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_name_with_a_dead_first_address_as_root() {
    need unshare
    serve_kit 8M
    printf '%s kit.test\n' ::1 127.0.0.1 >"$TMP/hosts"
    unshare -m sh -c 'mount --bind "$0" /etc/hosts && shift && exec "$@"' "$TMP/hosts" - \
        timeout -s KILL 30 "$KITFS" cat --plain-http "kit.test:${REG#*:}/kit:v1" \
        model/w.bin >"$TMP/got"
    check_bytes "$TMP/got" 1 0 $((8 * MIB))
}

case_relative_redirect() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "redirect", "to": "relative", "count": 0}'
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 "$PLACE" "$MIB"
    umount_kit
}

# --- readers that wait, and the end of the mount ----------------------------------------

blocked_reader() { # sets reader
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 5m
    rule '{"path": "blobs", "action": "stallhdr", "count": 0}'
    python3 "$here/tryread.py" "$MNT/model/w.bin" 1 "$PLACE" "$MIB" >"$TMP/verdict" 2>&1 &
    reader=$!
    until_true 10 reads_wait || fail "the reader does not wait"
}

reads_wait() {
    [ "$(status_of counters.read_waits)" -ge 1 ]
}

case_umount_lazy_with_a_blocked_reader() {
    blocked_reader
    umount_kit --lazy
    until_true 2 gone "$reader" || fail "the reader still waits"
    ! grep -Eq 'OK|WRONG|SHORT' "$TMP/verdict" || fail "the reader got $(cat "$TMP/verdict")"
}

case_umount_abort_with_a_blocked_reader_as_root() {
    blocked_reader
    umount_kit --abort
    until_true 2 gone "$reader" || fail "the reader still waits"
}

case_umount_with_a_blocked_reader_is_busy() {
    blocked_reader
    refused "used by python3 \($reader\)" kit umount "$MNT"
    control clear
    wait "$reader"
    grep -q '^OK' "$TMP/verdict" || fail "the reader got $(cat "$TMP/verdict")"
    umount_kit
}

case_sigterm_with_a_blocked_reader() {
    blocked_reader
    keeper=$(status_of pid_keeper)
    kill -TERM "$keeper"
    until_true 2 gone "$keeper" || fail "the keeper is still there"
    until_true 2 gone "$reader" || fail "the reader still waits"
}

case_blocked_reader_can_be_killed() {
    blocked_reader
    kill -KILL "$reader"
    until_true 2 gone "$reader" || fail "the reader cannot be killed"
    umount_kit
}

case_blocked_reader_ignores_harmless_signals() {
    blocked_reader
    kill -WINCH "$reader"
    kill -CONT "$reader"
    sleep 0.3
    control clear
    wait "$reader"
    grep -q '^OK' "$TMP/verdict" || fail "the reader got $(cat "$TMP/verdict")"
    umount_kit
}

# A client that loops on a failing place neither spins nor hammers.
case_failing_reads_are_held() {
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 3s
    rule '{"path": "blobs", "count": 0, "action": "status", "code": 404}'
    mark=$(control mark)
    began=$(milliseconds)
    for _ in 1 2 3 4; do
        read_fails EIO
    done
    [ $(($(milliseconds) - began)) -ge 2000 ] || fail "four failing reads at once"
    at_most "$(requests "from=$mark")" 8 "requests for four failing reads"
    umount_kit
}

# --- the disk and the machine -----------------------------------------------------------

case_cache_disk_full_as_root() {
    mkdir "$TMP/small"
    mount -t tmpfs -o size=16M,mode=700 tmpfs "$TMP/small"
    serve_kit 64M
    mount_kit "$KIT" --cache-dir "$TMP/small/cache" --min-free 0%
    check_bytes "$MNT/model/w.bin" 1 0 0
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
    umount "$TMP/small"
}

# Killed in the middle of writing, again and again: what the next mount gives is right.
case_killed_in_mid_write() {
    seed=${KITFS_SEED:-$RANDOM}
    echo "KITFS_SEED=$seed"
    RANDOM=$seed
    serve_kit 64M
    for round in $(seq "${KITFS_ROUNDS:-5}"); do
        mount_kit "$KIT" -q
        worker=$(status_of pid_worker)
        keeper=$(status_of pid_keeper)
        cat "$MNT/model/w.bin" >"$TMP/out" 2>"$TMP/cat" &
        cat=$!
        sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
        kill -KILL "$worker" "$keeper"
        wait "$cat" || true
        until_true 5 gone "$worker" && until_true 5 gone "$keeper" || fail "round $round"
        head -c $(($(stat -c %s "$TMP/out") / 4096 * 4096)) "$TMP/out" |
            python3 "$here/compare.py" 1
    done
    mount_kit "$KIT" -q
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

run_case "$@"
