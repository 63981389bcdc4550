#!/bin/bash
# More of what goes wrong on the way from a registry: README.md has the table. None of it
# depends on who mounts.
# as root
# limit: 120
. "$(dirname "$0")/lib.sh"
. "$here/failing.sh"

registry_back() { # ARGUMENTS of registry.py: on the port that it had
    registry_start --port "${REG##*:}" "$@"
}

# --- how much is asked for again ------------------------------------------------------

# Of a body that was cut nothing is fetched twice.
case_cut_body_goes_on_at_its_byte() {
    serve_kit 64M
    mount_kit "$KIT"
    rule '{"path": "blobs", "action": "drop", "after": 300000}'
    mark=$(control mark)
    check_bytes "$MNT/model/w.bin" 1 "$PLACE" "$MIB"
    control list "from=$mark" | jq -s -r '.[] | [.range[6:], .sent] | join(" ")' |
        tr '-' ' ' >"$TMP/spans" # first, last, sent
    equal "$(wc -l <"$TMP/spans")" 2 "requests"
    read -r first last sent <"$TMP/spans"
    equal "$(tail -n 1 "$TMP/spans")" "$((first + sent)) $last $((last - first - sent + 1))" \
        "the second request"
    umount_kit
}

# What is no use to ask for again is not: an error at once, few requests.
gives_up() { # ERROR MOST-REQUESTS FIELDS of the rule [MILLISECONDS]
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 60s
    rule "{\"path\": \"blobs\", \"count\": 0, $3}"
    mark=$(control mark)
    read_fails "$1" "${4:-10000}"
    at_most "$(requests "from=$mark")" "$2" "requests"
    control clear
    until_true 10 heals_again || fail "still: $verdict"
    umount_kit
}

case_gives_up_on_404() {
    gives_up EIO 2 '"action": "status", "code": 404' 1500
}

case_gives_up_on_403() {
    gives_up EACCES 2 '"action": "status", "code": 403' 1500
}

# Its head announces the whole blob; nobody waits for that.
case_gives_up_on_416() {
    gives_up EIO 2 '"action": "bad416"' 1500
}

case_gives_up_on_wrong_ranges() {
    gives_up EIO 10 '"action": "wrongrange"'
}

case_gives_up_on_garbage() {
    gives_up 'EIO|ETIMEDOUT' 10 '"action": "garbage"'
}

case_gives_up_on_huge_headers() {
    gives_up 'EIO|ENOMEM' 10 '"action": "hugehdr"'
}

case_gives_up_on_login_pages() {
    gives_up EIO 10 '"action": "html"'
}

case_gives_up_on_circles() {
    gives_up EIO 22 '"action": "loop"'
}

# A registry that is overloaded is not asked more than before.
case_unavailable_is_no_storm() {
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 5s
    rule '{"path": "blobs", "count": 0, "action": "status", "code": 503}'
    mark=$(control mark)
    within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 16 $((3 * MIB)) 4096 \
        2>"$TMP/errors" && fail "readers got bytes"
    at_most "$(requests "from=$mark")" 40 "requests for sixteen readers, five seconds each"
    umount_kit
}

# Neither is it while many readers wait for it, and those get their bytes soon after.
case_unavailable_for_a_while() {
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 60s
    rule '{"path": "blobs", "count": 0, "action": "status", "code": 503}'
    mark=$(control mark)
    within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 16 $((3 * MIB)) 4096 &
    readers=$!
    sleep 6
    at_most "$(requests "from=$mark")" 40 "requests while it was away"
    control clear
    began=$(milliseconds)
    wait "$readers" || fail "a reader saw an error"
    at_most $(($(milliseconds) - began)) 9000 "milliseconds until all had their bytes"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

# A 429 is meant for all, and what follows keeps a pace.
case_too_many_requests_holds_all() {
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 60s
    rule '{"path": "blobs", "count": 1, "action": "status", "code": 429, "retry_after": 2}'
    mark=$(control mark)
    within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 16 $((3 * MIB)) 4096 ||
        fail "a reader saw an error"
    control list "from=$mark" >"$TMP/rows"
    jq -s -e '(map(select(.status == 429)) | .[0].at) as $refused
              | map(select(.at > $refused + 0.2 and .at < $refused + 1.9)) | length == 0' \
        "$TMP/rows" >/dev/null || fail "it was asked before Retry-After had passed"
    jq -s -e '(map(select(.status == 429)) | .[0].at) as $refused
              | map(select(.at > $refused + 1.9 and .at < $refused + 2.9))
              | length <= 12' "$TMP/rows" >/dev/null || fail "no pace is kept"
    umount_kit
}

# --- slow connections -------------------------------------------------------------------

# One connection gives a hundredth of what the others do: a range of it would take minutes.
case_slow_connection_is_replaced() {
    serve_kit 96M
    control link '{"rate_conn": 4000000, "slow_every": 20}'
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    [ "$(status_of counters.slow_replaced)" -ge 1 ] || fail "no connection was replaced"
    at_most "$(status_of counters.slow_replaced)" 4 "connections replaced"
    at_most "$(status_of counters.fetched_bytes)" $((106 * MIB)) "bytes fetched"
    umount_kit
}

# All of them do, from some time on: that is how it is.
case_slow_registry_is_not_asked_again() {
    serve_kit 96M --rate-total 16000000
    mount_kit "$KIT" --read-timeout 60s
    check_bytes "$MNT/model/w.bin" 1 0 $((32 * MIB))
    control link '{"rate_total": 400000}'
    check_bytes "$MNT/model/w.bin" 1 $((80 * MIB)) $((4 * MIB))
    at_most "$(status_of counters.slow_replaced)" 6 "connections replaced"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    control link '{}'
    umount_kit
}

# --- signed URLs ------------------------------------------------------------------------

# They expire every second while much is read: no error, and each is asked for by few.
case_signed_urls_of_a_second() {
    serve_kit 96M --rate-total 16000000
    rule '{"path": "blobs", "action": "redirect", "count": 0, "ttl": 1}'
    mount_kit "$KIT"
    began=$(milliseconds)
    check_bytes "$MNT/model/w.bin" 1 0 0
    seconds=$((($(milliseconds) - began) / 1000 + 1))
    control list >"$TMP/rows"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    [ "$(requests server=redirect status=403)" -ge 2 ] || fail "no URL expired"
    at_most "$(requests server=main status=307)" $((9 * seconds)) "URLs asked for"
    at_most "$(requests server=redirect status=403)" $((9 * seconds)) "URLs refused"
    equal "$(requests server=redirect authorization=True)" 0 "credentials sent there"
    umount_kit
}

# --- TLS --------------------------------------------------------------------------------

case_unknown_authority() {
    serve_kit 1M --tls "$TMP/tls"
    refused 'certificate' kit mount --read-timeout 3s "$KIT" "$MNT"
    equal "$(requests)" 0 "requests"
    kit ls --tls-cert "$TMP/tls/ca.pem" "$KIT" >"$TMP/listed"
}

# In a namespace of its own the registry's authority is one of the system's.
case_tls_cert_replaces_the_system_s() {
    serve_kit 1M --tls "$TMP/tls"
    mkdir "$TMP/system"
    cp "$TMP/tls/ca.pem" "$TMP/system/ca.pem"
    openssl rehash "$TMP/system"
    cp "$TMP/tls/ca.pem" "$TMP/system/ca-certificates.crt"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -subj /CN=other -keyout "$TMP/other.key" -out "$TMP/other.pem" 2>/dev/null
    trusting() {
        unshare -m sh -c 'mount --bind "$0" /etc/ssl/certs && exec "$@"' "$TMP/system" \
            timeout -s KILL 50 "$KITFS" "$@"
    }
    trusting ls "$KIT" >"$TMP/listed" || fail "the system's authority is not trusted"
    refused 'certificate' trusting ls --tls-cert "$TMP/other.pem" "$KIT"
}

# Not even when there is nothing but HTTP.
case_tls_on_a_plain_port() {
    serve_kit 1M
    refused 'Cannot mount' kit mount --read-timeout 3s "$KIT" "$MNT"
    equal "$(requests)" 0 "requests"
}

case_https_does_not_lead_to_http() {
    registry_start
    local plain=$REG plain_control=$CONTROL
    serve_kit 64M --tls "$TMP/tls"
    mkdir -p "$MNT"
    kit mount --tls-cert "$TMP/tls/ca.pem" --prefetch none --read-timeout 30s "$KIT" "$MNT"
    rule "{\"path\": \"blobs\", \"action\": \"redirect\", \"count\": 0, \"to\": \"http://$plain/x\"}"
    read_fails 'EIO|EACCES' 3000
    status_of last_error.message | grep -q 'from https to http' || fail "$(status_of last_error)"
    CONTROL=$plain_control
    equal "$(requests)" 0 "requests without TLS"
    umount_kit
}

# The registry's certificate is another one, of another authority: no byte of it is taken;
# what is cached stays readable; when the file names the new authority, all is well.
case_certificate_changes() {
    make_kit v1 model:model/w.bin:64M
    docker_registry "$TMP/registry" tls
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    cp "$TMP/registry/tls/ca.pem" "$TMP/trusted.pem"
    mkdir -p "$MNT"
    kit mount --tls-cert "$TMP/trusted.pem" --prefetch none --read-timeout 3s \
        "$DOCKER_REGISTRY/a/kit:v1" "$MNT"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    docker_registry_stop
    rm -r "$TMP/registry/tls"
    docker_registry_start "$TMP/registry" tls "port=${DOCKER_REGISTRY##*:}"
    read_fails 'EIO|EACCES' 10000
    status_of last_error.message | grep -q certificate || fail "$(status_of last_error)"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    cp "$TMP/registry/tls/ca.pem" "$TMP/trusted.pem"
    until_true 30 heals_again || fail "still: $verdict"
    umount_kit
}

# --- what is gone, and comes back -------------------------------------------------------

# Blocks that are here are served on; the rest fails, is told in few lines, and is well when
# the blob is there again.
case_blob_deleted() {
    make_kit v1 model:model/w.bin:64M
    docker_registry "$TMP/registry"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    export KITFS_LOG=$TMP/log
    mount_kit "$DOCKER_REGISTRY/a/kit:v1"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    digest=$(jq -r '.layers[0].digest' "$TMP/layout/blobs/sha256/$(cut -c 8- \
        "$TMP/manifest-digest")")
    curl -sfX DELETE "http://$DOCKER_REGISTRY/v2/a/kit/blobs/$digest"
    read_fails EIO 2000
    within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 30 $((2 * MIB)) 4096 \
        2>"$TMP/errors" && fail "readers got bytes that are gone"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    at_most "$(grep -c read-failed "$TMP/log")" 20 "lines logged of thirty failures"
    docker_registry_push "$TMP/layout" v1 b/kit:v1
    curl -sfX POST -o "$TMP/answer" \
        "http://$DOCKER_REGISTRY/v2/a/kit/blobs/uploads/?mount=$digest&from=b/kit"
    until_true 10 heals_again || fail "still: $verdict"
    umount_kit
}

case_dead_registry_comes_back() {
    serve_kit 64M
    mount_kit "$KIT" --read-timeout 3s
    check_bytes "$MNT/model/w.bin" 1 0 4096
    registry_stop
    read_fails ETIMEDOUT
    check_bytes "$MNT/model/w.bin" 1 0 4096
    status_of state | grep -q degraded || fail "state: $(status_of state)"
    registry_back --layout "kit=$TMP/layout"
    until_true 10 heals_again || fail "still: $verdict"
    check_bytes "$MNT/model/w.bin" 1 0 0
    umount_kit
}

# --- real readers -----------------------------------------------------------------------

read_by_sha256sum() {
    sha256sum "$MNT/model/w.bin" >"$TMP/by-sha256sum" || fail "sha256sum"
}

read_by_cp() {
    cp "$MNT/model/w.bin" "$TMP/by-cp" || fail "cp"
}

read_by_mmap() {
    python3 - "$MNT/model/w.bin" >"$TMP/by-mmap" <<'END' || fail "mmap"
import mmap, sys
with open(sys.argv[1], "rb") as file:
    sys.stdout.buffer.write(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
END
}

# The three at once, each from another mount's point of view cold: they share what comes.
real_readers() {
    local reader readers=''
    for reader in sha256sum cp mmap; do
        "read_by_$reader" &
        readers+=" $!"
    done
    for reader in $readers; do
        wait "$reader" || fail "a reader failed"
    done
    python3 "$here/compare.py" 1 <"$TMP/by-cp"
    cmp "$TMP/by-cp" "$TMP/by-mmap"
    equal "$(cut -c 1-64 "$TMP/by-sha256sum")" "$(sha256sum <"$TMP/by-cp" | cut -c 1-64)" sum
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
}

# Every kind of trouble that passes, one after the other, in one read of a file.
case_real_readers_and_what_passes() {
    serve_kit 256M
    mount_kit "$KIT" --read-timeout 60s
    local nth=1 action
    for action in stallhdr stall drop rst short206 chunkcut status nolen norange garbage \
        wrongrange gzip hugehdr html wrongtotal long; do
        rule "{\"path\": \"blobs\", \"nth\": $nth, \"action\": \"$action\"}"
        nth=$((nth + 2))
    done
    real_readers
    equal "$(control list path=blobs | jq -r 'select(.fault).fault' | sort -u | wc -l)" 16 \
        "kinds of trouble"
    umount_kit
}

case_real_readers_and_an_outage() {
    serve_kit 256M --rate-total 64000000
    mount_kit "$KIT" --read-timeout 60s
    (
        sleep 1
        kill -KILL "$REGISTRY_PID"
    ) &
    real_readers &
    local readers=$!
    sleep 6
    registry_back --layout "kit=$TMP/layout"
    wait "$readers" || fail "readers failed"
    umount_kit
}

# The host answers every range with the whole blob: one transfer of it serves all readers,
# wherever they are, and what it passes on the way to them is kept.
case_one_transfer_of_a_whole_blob() {
    local reader readers='' place
    serve_kit 160M
    mount_kit "$KIT"
    rule '{"path": "blobs", "action": "full200", "count": 0}'
    mark=$(control mark)
    exec 9<"$MNT/model/w.bin" # what waits to be written is not lost between two readers
    for place in 120 80 40 8; do
        check_bytes "$MNT/model/w.bin" 1 $((place * MIB)) $((24 * MIB)) &
        readers+=" $!"
    done
    for reader in $readers; do
        wait "$reader" || fail "wrong bytes, or none"
    done
    memory_is_bounded
    check_bytes "$MNT/model/w.bin" 1 0 0
    exec 9<&-
    # Beside it, what ranges had brought before the first of them was carried.
    at_most "$(sent "from=$mark" path=blobs)" $((256 * MIB)) "bytes of a 160 MiB blob"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    at_most "$(status_of counters.fetched_bytes)" "$MIB" "bytes fetched by a second mount"
    umount_kit
}

# That transfer is cut: what it brought stays, and the rest comes by another one.
case_cut_transfer_of_a_whole_blob() {
    serve_kit 160M
    mount_kit "$KIT"
    rule '{"path": "blobs", "action": "full200", "count": 0}' \
        '{"path": "blobs", "action": "drop", "after": 80000000, "count": 1}'
    mark=$(control mark)
    exec 9<"$MNT/model/w.bin"
    check_bytes "$MNT/model/w.bin" 1 $((120 * MIB)) $((8 * MIB)) &
    reader=$!
    check_bytes "$MNT/model/w.bin" 1 $((60 * MIB)) $((8 * MIB))
    wait "$reader" || fail "wrong bytes, or none"
    check_bytes "$MNT/model/w.bin" 1 0 0
    exec 9<&-
    at_most "$(sent "from=$mark" path=blobs)" $((320 * MIB)) "bytes of a 160 MiB blob"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

# Files that it has passed are read: not by a transfer for each range of them.
case_whole_blob_from_its_middle() {
    cat >"$TMP/spec" <<EOF
{"layers": [{"kind": "model", "path": "model", "files": [
    {"path": "model/a.bin", "size": $((80 * MIB)), "seed": 1},
    {"path": "model/b.bin", "size": $((80 * MIB)), "seed": 2}]}]}
EOF
    make_kit v1 --spec "$TMP/spec"
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:v1
    mount_kit "$KIT"
    rule '{"path": "blobs", "action": "full200", "count": 0}'
    mark=$(control mark)
    check_bytes "$MNT/model/b.bin" 2 0 $((40 * MIB))
    check_bytes "$MNT/model/a.bin" 1 0 0
    check_bytes "$MNT/model/b.bin" 2 0 0
    at_most "$(sent "from=$mark" path=blobs)" $((640 * MIB)) "bytes of a 160 MiB blob"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

run_case "$@"
