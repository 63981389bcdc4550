#!/usr/bin/env bash
# Registries behind a forward proxy, on its good and bad days.
# limit: 90
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

unset http_proxy https_proxy no_proxy all_proxy HTTPS_PROXY NO_PROXY ALL_PROXY
unset REGISTRY_AUTH_FILE DOCKER_CONFIG KITOPS_HOME
MIB=$((1 << 20))
FOLDER=$TMP/proxy

proxy_start() { # OPTIONS of proxy.py: sets PROXY (host:port), PROXY_PID
    mkdir -p "$FOLDER"
    rm -f "$FOLDER/proxy.port"
    touch "$FOLDER/proxy.log"
    python3 "$rig/proxy.py" "$FOLDER" "$@" &
    PROXY_PID=$!
    until_true 20 test -e "$FOLDER/proxy.port" || fail "the proxy does not start"
    PROXY=127.0.0.1:$(cat "$FOLDER/proxy.port")
}

proxy_stop() {
    kill "$PROXY_PID"
    wait "$PROXY_PID" 2>/dev/null || true
}

does() { # FAULT: what the proxy does from now on
    echo "$*" >"$FOLDER/proxy.making"
    mv "$FOLDER/proxy.making" "$FOLDER/proxy.fault"
}

asked() { # PATTERN of lines of the proxy's journal
    grep -Ec -- "$1" "$FOLDER/proxy.log" || true
}

reads_all() {
    check_bytes "$MNT/model/w.bin" 1 0 0
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
}

tls_kit() { # SIZE
    serve_kit "$1" --tls "$TMP/tls"
    TRUST=(--tls-cert "$TMP/tls/ca.pem")
}

# --- good days --------------------------------------------------------------------------

# It sees the host's name and nothing of what goes through, the password least of all.
case_https() {
    DIR=$TMP/registry
    make_kit v1 model:model/w.bin:32M
    docker_registry "$DIR"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    docker_registry_stop
    docker_registry_user "$DIR" ann secret
    docker_registry_start "$DIR" htpasswd tls
    proxy_start
    kit login --tls-cert "$DIR/tls/ca.pem" --proxy "http://$PROXY" "$DOCKER_REGISTRY" \
        -u ann --password-stdin <<<secret
    kit mount --tls-cert "$DIR/tls/ca.pem" --proxy "http://$PROXY" \
        "$DOCKER_REGISTRY/a/kit:v1" "$MNT"
    reads_all
    umount_kit
    [ "$(asked '^CONNECT ')" -ge 2 ] || fail "the proxy was not asked"
    equal "$(asked "^CONNECT $DOCKER_REGISTRY 200 -\$")" "$(asked .)" "CONNECT and no more"
}

case_http_by_the_environment() {
    serve_kit 32M
    proxy_start
    http_proxy=http://$PROXY mount_kit "$KIT"
    reads_all
    umount_kit
    [ "$(asked "^GET http://$REG/v2/")" -ge 3 ] || fail "the proxy was not asked"
    equal "$(asked .)" "$(requests)" "requests that went by the proxy, of all"
}

case_no_proxy() {
    serve_kit 32M
    proxy_start
    http_proxy=http://$PROXY no_proxy=localhost,127.0.0.1 mount_kit "$KIT"
    reads_all
    umount_kit
    equal "$(asked .)" 0 "requests to the proxy"
}

case_password() {
    tls_kit 32M
    proxy_start --user ann:secret
    refused "proxy answers 407.*KITFS_PROXY" kit ls "${TRUST[@]}" --proxy "http://$PROXY" \
        "$KIT"
    equal "$(asked .)" 1 "requests: asking again is of no use"
    refused "proxy.*407" kit ls "${TRUST[@]}" --proxy "http://ann:wrong@$PROXY" "$KIT"
    ! grep -q wrong "$TMP/stderr" || fail "the password is told"
    kit mount "${TRUST[@]}" --proxy "http://ann:secret@$PROXY" "$KIT" "$MNT"
    reads_all
    umount_kit
}

# --- bad days ---------------------------------------------------------------------------

case_down_at_the_mount() {
    tls_kit 1M
    proxy_start
    proxy_stop
    refused "check the proxy" kit mount "${TRUST[@]}" --proxy "http://$PROXY" --read-timeout 3s \
        "$KIT" "$MNT"
    ! mounted || fail "mounted"
}

case_refuses() {
    tls_kit 1M
    proxy_start
    for code in 403 407 502 503; do
        does status $code
        refused "proxy answers $code" kit mount "${TRUST[@]}" --proxy "http://$PROXY" \
            --read-timeout 3s "$KIT" "$MNT"
        ! mounted || fail "mounted"
    done
    equal "$(asked ' 40[37] ')" 2 "requests for 403 and 407: asking again is of no use"
    registry_stop
    serve_kit 1M
    does status 407
    refused "answers 407.*KITFS_PROXY" kit mount --plain-http --proxy "http://$PROXY" \
        "$KIT" "$MNT"
}

case_fails_for_a_while() {
    tls_kit 64M
    proxy_start
    kit mount "${TRUST[@]}" --proxy "http://$PROXY" --prefetch none --read-timeout 30s \
        "$KIT" "$MNT"
    proxy_stop
    check_bytes "$MNT/model/w.bin" 1 $((8 * MIB)) $((24 * MIB)) &
    reader=$!
    sleep 3
    kill -0 $reader || fail "the reader did not wait"
    does status 502
    proxy_start --port "${PROXY##*:}"
    sleep 3
    kill -0 $reader || fail "the reader did not wait"
    rm "$FOLDER/proxy.fault"
    wait $reader || fail "wrong bytes, or none"
    reads_all
    umount_kit
}

# The rest of a range is asked for, not all of it again.
case_stops_in_the_middle() {
    serve_kit 64M
    proxy_start
    mount_kit "$KIT" --proxy "http://$PROXY"
    does cut $((MIB + 5000))
    reads_all
    [ ! -e "$FOLDER/proxy.fault" ] || fail "nothing was cut"
    at_most "$(status_of counters.fetched_bytes)" $((68 * MIB)) "bytes fetched"
    umount_kit
}

run_case "$@"
