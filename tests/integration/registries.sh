#!/bin/bash
# Debian's docker-registry in each of its roles: a mount, every name, every byte, and a
# second mount from the cache. None of it depends on who mounts.
# as root
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))
DIR=$TMP/registry
USER=ann
PASSWORD='Pa:ss wörd%40'

serve() { # [SIZE]: a kit in an instance without walls, which shares its files with others
    make_kit v1 "model:model/w.bin:${1:-24M}" code:src/run.py:5000
    docker_registry "$DIR"
    PLAIN=$DOCKER_REGISTRY
    docker_registry_push "$TMP/layout" v1 a/kit:v1
}

reads() { # REF [OPTIONS of mount]
    within 50 "$KITFS" mount --prefetch none -q "$@" "$MNT"
    equal "$(cd "$MNT" && find . -type f | sort | tr '\n' ' ')" \
        "./Kitfile ./model/w.bin ./src/run.py " "names"
    check_bytes "$MNT/model/w.bin" 1 0 0
    check_bytes "$MNT/src/run.py" 2 0 0
    equal "$(status_of digest)" "$(cat "$TMP/manifest-digest")" "digest"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
}

# Cold, and again: of the second mount the registry hears nothing but the tag.
reads_twice() { # REF [OPTIONS of mount]
    mkdir -p "$MNT"
    reads "$@"
    umount_kit
    reads "$@"
    at_most "$(status_of counters.fetched_bytes)" 0 "bytes fetched by a second mount"
    umount_kit
}

# --- without credentials ----------------------------------------------------------------

case_plain() {
    serve
    reads_twice "$PLAIN/a/kit:v1" --plain-http
    equal "$(kit ls -R --plain-http "$PLAIN/a/kit:v1" | tr '\n' ' ')" \
        "Kitfile model/ model/w.bin src/ src/run.py " "ls -R"
}

case_tls() {
    serve
    docker_registry_start "$DIR" tls
    reads_twice "$DOCKER_REGISTRY/a/kit:v1" --tls-cert "$DIR/tls/ca.pem"
    refused 'certificate' kit mount "$DOCKER_REGISTRY/a/kit:v1" "$MNT"
}

# The cache answers a range of a blob that it does not hold with all of it.
case_pull_through() {
    serve
    docker_registry_start "$TMP/cold" "proxy=http://$PLAIN"
    reads_twice "$DOCKER_REGISTRY/a/kit:v1" --plain-http
    until_true 10 whole_in_the_cache || fail "the cache did not fill"
    reads_twice "$DOCKER_REGISTRY/a/kit:v1" --plain-http --cache-dir "$TMP/cache-2"
    kill "$DOCKER_REGISTRY_PID"
}

whole_in_the_cache() {
    find "$TMP/cold/data" -path '*/blobs/*' -name data -size +24000k | grep -q .
}

# Blobs are at another host: it hears no credentials, and each answer that leads there is
# used again.
case_redirected() {
    serve
    docker_registry_blobs "$DIR"
    docker_registry_start "$DIR" "redirect=http://$BLOBS"
    reads_twice "$DOCKER_REGISTRY/a/kit:v1" --plain-http
    grep -q '^GET .* 206 bytes=' "$DIR/blobs.log" || fail "nothing was read there"
    equal "$(grep -cv '^GET .* 206 bytes=[^|]*|-$' "$DIR/blobs.log")" 0 \
        "requests there other than ranges without credentials"
}

# Killed and started again, again and again, under eight readers: they notice nothing.
case_restarted_under_load() {
    serve 256M
    mount_kit "$PLAIN/a/kit:v1" -q --read-timeout 60s
    local reader readers='' number restarts=0 signal=KILL
    for number in 0 1 2 3 4 5 6 7; do
        check_bytes "$MNT/model/w.bin" 1 $((number * 32 * MIB)) $((32 * MIB)) &
        readers+=" $!"
    done
    # shellcheck disable=SC2086 # numbers
    while kill -0 $readers 2>/dev/null && [ "$restarts" -lt 5 ]; do
        kill -"$signal" "$DOCKER_REGISTRY_PID"
        wait "$DOCKER_REGISTRY_PID" || true
        docker_registry_start "$DIR" "port=${PLAIN##*:}"
        restarts=$((restarts + 1))
        [ "$signal" = TERM ] && signal=KILL || signal=TERM
        sleep 0.3
    done
    for reader in $readers; do
        wait "$reader" || fail "a reader failed"
    done
    [ "$restarts" -ge 2 ] || fail "$restarts restarts only"
    [ "$(status_of counters.retries)" -ge 1 ] || fail "nothing was tried again"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

run_case "$@"
