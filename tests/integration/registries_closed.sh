#!/bin/bash
# Debian's docker-registry that wants to know who asks: passwords, and tokens that last a
# minute or a second; the journal of the token service is asserted.
# as root
# limit: 120
. "$(dirname "$0")/lib.sh"
. "$here/failing.sh"
unset REGISTRY_AUTH_FILE DOCKER_CONFIG KITOPS_HOME
DIR=$TMP/registry
NAME=ann
PASSWORD='Pa:ss wörd%40'

known() { # REGISTRY [PASSWORD]: kitfs finds it as docker left it
    mkdir -p "$HOME/.docker"
    jq -n --arg host "$1" --arg auth "$(printf '%s:%s' $NAME "${2:-$PASSWORD}" |
        base64 -w 0)" '{auths: {($host): {auth: $auth}}}' >"$HOME/.docker/config.json"
}

serve() { # WORD... of docker_registry_start: a kit, at $CLOSED
    need skopeo
    make_kit v1 model:model/w.bin:64M
    docker_registry "$DIR"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    docker_registry_stop
    docker_registry_user "$DIR" $NAME "$PASSWORD"
    docker_registry_start "$DIR" "$@"
    CLOSED=$DOCKER_REGISTRY
    known "$CLOSED"
}

serve_tokens() { # OPTIONS of token_server.py -- WORD...
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    docker_registry_tokens "$DIR" "${options[@]}"
    serve token "$@"
}

tokens() { # how many were asked for
    jq -s length "$DIR/tokens.log"
}

reads_twice() { # REF [OPTIONS of mount]
    mkdir -p "$MNT"
    for _ in first second; do
        within 50 "$KITFS" mount --prefetch none -q "$@" "$MNT"
        check_bytes "$MNT/model/w.bin" 1 0 0
        equal "$(status_of counters.read_errors)" 0 "errors given to readers"
        umount_kit
    done
}

# --- passwords --------------------------------------------------------------------------

case_htpasswd() {
    serve htpasswd
    reads_twice "$CLOSED/a/kit:v1" --plain-http
    known "$CLOSED" wrong
    refused 401 kit mount --plain-http --cache-dir "$TMP/cold" "$CLOSED/a/kit:v1" "$MNT"
    rm "$HOME/.docker/config.json"
    refused 401 kit mount --plain-http --cache-dir "$TMP/cold" "$CLOSED/a/kit:v1" "$MNT"
}

case_htpasswd_over_tls() {
    serve htpasswd tls
    reads_twice "$CLOSED/a/kit:v1" --tls-cert "$DIR/tls/ca.pem"
}

# What is cached needs no password; the rest fails and says why, and is well as soon as the
# file has the new one.
case_password_changed() {
    serve htpasswd
    mount_kit "$CLOSED/a/kit:v1" -q --read-timeout 5s
    check_bytes "$MNT/model/w.bin" 1 0 4096
    rm "$DIR/htpasswd"
    docker_registry_user "$DIR" $NAME new
    docker_registry_stop
    docker_registry_start "$DIR" htpasswd "port=${CLOSED##*:}"
    read_fails EACCES
    status_of last_error.message | grep -q 401 || fail "$(status_of last_error)"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    known "$CLOSED" new
    until_true 40 heals_again || fail "still: $verdict"
    umount_kit
}

# --- credentials that ended before the mount --------------------------------------------

cached_in_part() { # [OPTIONS of mount]
    mount_kit "$CLOSED/a/kit:v1" -q "$@"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    sleep 1.5 # what the cache keeps is told to it by then
    umount_kit
}

# Refused at the mount, $NAME has what is cached, and the rest when he is let in again.
mounts_what_is_cached() { # COMMAND that lets him in
    within 30 "$KITFS" mount --plain-http --prefetch none --read-timeout 5s \
        "$CLOSED/a/kit:v1" "$MNT" 2>"$TMP/said" || fail "not mounted: $(cat "$TMP/said")"
    grep -q "^\[WARN\] Not asked .*401 for \"$NAME\" .*kitfs login $CLOSED" "$TMP/said" ||
        fail "not said: $(cat "$TMP/said")"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    equal "$(status_of state)" "degraded: $(status_of not_asked)" "state"
    read_fails EACCES
    "$@"
    until_true 40 heals_again || fail "still: $verdict"
    umount_kit
}

# Who has none at all is not let in by what others were given.
not_without_credentials() {
    mv "$HOME/.docker/config.json" "$TMP/config.json"
    refused 401 kit mount --plain-http "$CLOSED/a/kit:v1" "$MNT"
    within 20 "$KITFS" mount --plain-http -q --offline "$CLOSED/a/kit:v1" "$MNT"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    umount_kit
    mv "$TMP/config.json" "$HOME/.docker/config.json"
}

case_password_revoked_before_the_mount() {
    serve htpasswd
    cached_in_part
    rm "$DIR/htpasswd"
    docker_registry_user "$DIR" $NAME new
    docker_registry_stop
    docker_registry_start "$DIR" htpasswd "port=${CLOSED##*:}"
    not_without_credentials
    mounts_what_is_cached known "$CLOSED" new
}

case_password_of_tokens_revoked_before_the_mount() {
    serve_tokens --ttl 60 --
    cached_in_part
    echo "$NAME:new" >"$DIR/users"
    not_without_credentials
    mounts_what_is_cached known "$CLOSED" new
}

# --- tokens -----------------------------------------------------------------------------

case_tokens() {
    serve_tokens --ttl 60 --
    reads_twice "$CLOSED/a/kit:v1" --plain-http
    at_most "$(tokens)" 4 "tokens of two mounts"
    equal "$(jq -s -c 'map([.user, .status, .scopes]) | unique' "$DIR/tokens.log")" \
        '[["ann",200,["repository:a/kit:pull"]]]' "who was asked for, and what"
    rm "$HOME/.docker/config.json"
    refused 401 kit mount --plain-http --cache-dir "$TMP/cold" "$CLOSED/a/kit:v1" "$MNT"
}

case_anonymous_tokens() {
    serve_tokens --anonymous --no-post --
    rm "$HOME/.docker/config.json"
    reads_twice "$CLOSED/a/kit:v1" --plain-http
    equal "$(jq -s -c 'map([.method, .user, .status]) | unique' "$DIR/tokens.log")" \
        '[["GET",null,200]]' "questions"
}

# 64 readers at once when the token has ended: one new one.
case_64_first_reads() {
    serve_tokens --ttl 6 --
    mount_kit "$CLOSED/a/kit:v1" -q --connections 32
    sleep 6.1
    before=$(tokens)
    within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 64 $MIB 4096
    equal "$(tokens)" $((before + 1)) "tokens of 64 readers"
    umount_kit
}

# Each read comes when the token of the one before it has ended.
reads_for_seconds() { # COUNT: sets before
    mount_kit "$CLOSED/a/kit:v1" -q
    before=$(tokens)
    for place in $(seq "$1"); do
        check_bytes "$MNT/model/w.bin" 1 $((place * 6 * MIB)) "$MIB"
        sleep 1.1
    done
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_tokens_of_a_second() {
    serve_tokens --ttl 1 --
    reads_for_seconds 5
    at_most $(($(tokens) - before)) 8 "tokens of five reads"
}

# The registry refuses what should still be good: a new token, once, and the read goes on.
case_tokens_that_end_early() {
    serve_tokens --ttl 1 --says 3600 --
    reads_for_seconds 5
    at_most $(($(tokens) - before)) 8 "tokens of five reads"
}

case_lifetime_unknown() {
    serve_tokens --says none --field access_token --
    reads_twice "$CLOSED/a/kit:v1" --plain-http
}

# What other programs were given for a password that kitfs never sees.
case_identity_token() {
    serve_tokens --ttl 1 --identity "$NAME:who-i-am" --
    jq -n --arg host "$CLOSED" '{auths: {($host): {identitytoken: "who-i-am"}}}' \
        >"$HOME/.docker/config.json"
    reads_for_seconds 3
    equal "$(jq -s -c 'map([.method, .grant, .user, .status]) | unique' "$DIR/tokens.log")" \
        '[["POST","refresh_token","ann",200]]' "questions"
}

token_service_stops() {
    kill "$TOKEN_SERVER_PID"
    wait "$TOKEN_SERVER_PID" 2>/dev/null || true
}

# No reader sees it; what can be asked is asked now and then.
case_token_service_is_away_for_a_while() {
    serve_tokens --ttl 1 --
    mount_kit "$CLOSED/a/kit:v1" -q
    sleep 1.2
    token_service_stops
    within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 16 $MIB 4096 &
    readers=$!
    sleep 4
    kill -0 "$readers" || fail "they do not wait"
    before=$(tokens)
    docker_registry_tokens "$DIR" --ttl 60 --port "${TOKEN_SERVER##*:}"
    wait "$readers" || fail "a reader saw an error"
    equal "$(tokens)" $((before + 1)) "tokens of 16 readers"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_token_service_is_away_for_ever() {
    serve_tokens --ttl 1 --
    mount_kit "$CLOSED/a/kit:v1" -q --read-timeout 3s
    check_bytes "$MNT/model/w.bin" 1 0 4096
    sleep 1.2
    token_service_stops
    read_fails ETIMEDOUT 8000
    status_of last_error.message | grep -q "no token for '$CLOSED'" ||
        fail "$(status_of last_error)"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    docker_registry_tokens "$DIR" --ttl 60 --port "${TOKEN_SERVER##*:}"
    until_true 40 heals_again || fail "still: $verdict"
    umount_kit
}

# A long read through several tokens.
case_much_with_tokens_of_a_second() {
    serve_tokens --ttl 1 --
    mount_kit "$CLOSED/a/kit:v1" -q
    for _ in 1 2 3; do
        sleep 1
        within 60 python3 "$here/readers.py" apart "$MNT/model/w.bin" 1 16 $((4 * MIB)) 65536
    done
    check_bytes "$MNT/model/w.bin" 1 0 0
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

# --- where credentials do not belong ----------------------------------------------------

case_redirected() {
    docker_registry_blobs "$DIR"
    serve_tokens -- "redirect=http://$BLOBS"
    reads_twice "$CLOSED/a/kit:v1" --plain-http
    grep -q '^GET .* 206 bytes=' "$DIR/blobs.log" || fail "nothing was read there"
    equal "$(grep -cv '|-$' "$DIR/blobs.log")" 0 "requests there with credentials"
}

case_redirected_with_a_password() {
    docker_registry_blobs "$DIR"
    serve htpasswd "redirect=http://$BLOBS"
    reads_twice "$CLOSED/a/kit:v1" --plain-http
    equal "$(grep -cv '|-$' "$DIR/blobs.log")" 0 "requests there with credentials"
}

# --- packed into it ---------------------------------------------------------------------

push() {
    mkdir -p "$TMP/kit/model"
    seq 2000000 >"$TMP/kit/model/text"
    printf 'manifestVersion: 1.0.0\npackage: {name: packed}\nmodel: {path: model}\n' \
        >"$TMP/kit/Kitfile"
    kit pack "$TMP/kit" -t "$CLOSED/new/kit:v1" --push --plain-http --progress none -q
    mount_kit "$CLOSED/new/kit:v1" -q
    cmp "$MNT/model/text" "$TMP/kit/model/text"
    umount_kit
}

case_push_with_a_password() {
    serve htpasswd
    push
}

case_push_with_tokens() {
    serve_tokens --ttl 2 --
    push
    jq -s -e 'any(.[].scopes[]; test("^repository:new/kit:.*push"))' "$DIR/tokens.log" >"$TMP/any"
    cp "$HOME/.docker/config.json" "$TMP/config.json"
    rm "$HOME/.docker/config.json"
    refused 401 kit pack "$TMP/kit" -t "$CLOSED/new/kit:v2" --push --plain-http -q
}

run_case "$@"
