#!/bin/bash
# Secrets stay where they belong: they are in no log at its most talkative, no output, no
# status, no file of the cache, no command line, and no core dump.
# as root
# limit: 120
. "$(dirname "$0")/lib.sh"
. "$here/failing.sh"
mkdir -p "$TMP/said"
export KITFS_LOG=$TMP/said/log KITFS_LOG_LEVEL=trace KITFS_DEBUG=all

# Any verb, whether it works or not; what it says is kept.
say() { # ARGUMENTS of kitfs
    within 50 "$KITFS" "$@" >"$TMP/said/$(date +%N)" 2>&1 || true
}

say_mount() { # REF [OPTIONS]
    mkdir -p "$MNT"
    say mount --prefetch none --read-timeout 3s "$@" "$MNT"
    mounted || fail "not mounted: $(cat "$TMP"/said/*)"
    keep_status
}

keep_status() {
    within 5 cat "$MNT/.kitfs/status.json" >"$TMP/said/$(date +%N).status"
    say status
    say status --json
    for pid in $(status_of pid_keeper) $(status_of pid_worker); do
        cat "/proc/$pid/cmdline" >"$TMP/said/$(date +%N).cmdline"
    done
}

place=0
try() { # a cold read that may fail; how is in the status and the log
    place=$((place + 4 * MIB))
    try_read "$place" 4096 >>"$TMP/said/verdicts"
    keep_status
}

# TEXT... is neither in what was said nor in what was written down, nor in a file's name.
nobody_tells() {
    local text
    [ -s "$TMP/said/log" ] || fail "nothing was logged"
    for text in "$@"; do
        [ -n "$text" ] || fail "an empty secret"
        ! grep -raF -- "$text" "$TMP/said" "$KITFS_CACHE_DIR" || fail "'$text' was told"
        ! find "$TMP/said" "$KITFS_CACHE_DIR" | grep -F -- "$text" || fail "'$text' is a name"
    done
}

# --- signed URLs ------------------------------------------------------------------------

leads_to() { # URL: all further reads do, and fail
    control clear
    rule "{\"path\": \"blobs\", \"server\": \"main\", \"action\": \"redirect\", \"count\": 0, \"to\": \"$1\"}"
}

case_signed_urls() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "redirect", "count": 0, "ttl": 1}'
    say_mount --plain-http "$KIT"
    try
    sleep 1.2 # it has expired
    try
    [ "$(requests server=redirect)" -ge 3 ] || fail "no signed URL was used"
    sleep 1.1
    leads_to "http://127.0.0.1:$REDIRECT/x?X-Signature=SiGnEd1" # 403
    try
    leads_to "http://127.0.0.1:1/x?X-Signature=SiGnEd1" # nobody there
    try
    leads_to "ftp://127.0.0.1/x?X-Signature=SiGnEd1"
    try
    leads_to "http://user:SiGnEd1@127.0.0.1:99999/x?X-Signature=SiGnEd1"
    try
    leads_to "http://no.such.host.invalid/x?X-Signature=SiGnEd1"
    try
    leads_to "/v2/kit/blobs/again?X-Signature=SiGnEd1" # in a circle
    try
    [ "$(grep -c E "$TMP/said/verdicts")" -ge 6 ] || fail "reads did not fail"
    for verb in ls info inspect verify 'unpack -d out'; do
        # shellcheck disable=SC2086 # a verb and its options
        say $verb --plain-http --read-timeout 2s --cache-dir "$TMP/cold" "$KIT"
    done
    umount_kit
    nobody_tells SiGnEd1 signature= expires=
}

# --- the proxy's password ---------------------------------------------------------------

# It is given by the environment here: on a command line everyone could read it.
case_proxy_password() {
    serve_kit 64M
    KITFS_PROXY=http://user:PrOxYpW@$REG say_mount --plain-http registry.example/kit:v1
    try
    [ "$(requests proxied=True)" -ge 3 ] || fail "the proxy was not asked"
    rule '{"path": "blobs", "action": "status", "code": 407, "count": 0}'
    try
    umount_kit
    for proxy in "http://user:PrOxYpW@127.0.0.1:1" "http://user:PrOxYpW@no.such.host.invalid:1" \
        "gopher://user:PrOxYpW@127.0.0.1:1" "http://user:PrOxYpW@127.0.0.1:99999" \
        "socks5h://user:PrOxYpW@$REG" "user:PrOxYpW@127.0.0.1:1:1"; do
        KITFS_PROXY=$proxy say ls --plain-http --read-timeout 2s --cache-dir "$TMP/cold" \
            registry.example/kit:v1
        KITFS_PROXY=$proxy say mount --plain-http --read-timeout 2s --cache-dir "$TMP/cold" \
            registry.example/kit:v1 "$MNT"
        ! mounted || fail "mounted by $proxy"
    done
    nobody_tells PrOxYpW
}

# --- what a registry is told ------------------------------------------------------------

unset REGISTRY_AUTH_FILE DOCKER_CONFIG KITOPS_HOME
SECRET='PaSsWoRd:1 %40'

entry() { # JSON of the registry's entry in docker's file
    mkdir -p "$HOME/.docker"
    jq -n --arg host "$DOCKER_REGISTRY" --argjson entry "$1" '{auths: {($host): $entry}}' \
        >"$HOME/.docker/config.json"
}

# Each way to be let in, and what fails on it.
case_credentials() {
    local auth dir=$TMP/registry
    auth=$(printf 'ann:%s' "$SECRET" | base64 -w 0)
    make_kit v1 model:model/w.bin:64M
    docker_registry "$dir"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    docker_registry_stop
    docker_registry_user "$dir" ann "$SECRET"
    docker_registry_tokens "$dir" --ttl 1 --identity ann:IdEnTiTy
    for mode in token htpasswd; do
        docker_registry_start "$dir" $mode
        kit login --plain-http "$DOCKER_REGISTRY" -u ann --password-stdin <<<"$SECRET" \
            >"$TMP/said/login-$mode" 2>&1
        say_mount --plain-http "$DOCKER_REGISTRY/a/kit:v1" --cache-dir "$KITFS_CACHE_DIR/$mode"
        try
        sleep 1.1
        try
        kit logout "$DOCKER_REGISTRY" >"$TMP/said/logout-$mode" 2>&1
        : >"$dir/users"
        : >"$dir/htpasswd"
        sleep 1.1
        entry "{\"auth\": \"$auth\"}"
        try # refused
        docker_registry_user "$dir" ann "$SECRET"
        umount_kit
        docker_registry_stop
    done
    docker_registry_start "$dir" token
    for entry in '{"identitytoken": "IdEnTiTy"}' '{"identitytoken": "IdEnTiTyNoMore"}' \
        '{"registrytoken": "ReGiStRy"}' "{\"auth\": \"$auth\"}" \
        "{\"username\": \"ann\", \"password\": \"$SECRET\"}" '{"auth": "PaSsWoRd"}'; do
        entry "$entry"
        for verb in ls inspect 'unpack -d out -o'; do
            # shellcheck disable=SC2086 # a verb and its options
            say $verb --plain-http --cache-dir "$TMP/cold" "$DOCKER_REGISTRY/a/kit:v1"
        done
    done
    equal "$(jq -s -c 'map(select(.status == 200)) | map([.method, .grant]) | unique' \
        "$dir/tokens.log")" '[["GET",null],["POST","refresh_token"]]' "tokens given"
    nobody_tells PaSsWoRd "$auth" IdEnTiTy ReGiStRy eyJ0eXAi # as all tokens begin
}

# --- core dumps -------------------------------------------------------------------------

cores() {
    find "$TMP" -maxdepth 1 -name 'core*' | wc -l
}

# Whether an end by SIGABRT leaves a core file here at all.
cores_are_left() {
    (cd "$TMP" && sh -c 'kill -ABRT $$') || true
    [ "$(cores)" -gt 0 ] || return 1
    rm -f "$TMP"/core*
}

case_core_dumps() {
    ulimit -c 1024 2>/dev/null || true
    export ASAN_OPTIONS=$ASAN_OPTIONS:disable_coredump=0
    cores_are_left || {
        echo "this machine leaves no core files" # nor any of ours
        return 0
    }
    serve_kit 64M
    cd "$TMP"
    rule '{"path": "blobs", "action": "stallhdr", "count": 0}'
    "$KITFS" cat --plain-http "$KIT" model/w.bin >"$TMP/out" 2>&1 &
    local cat=$! pid which
    until_true 10 grep -q kitfs "/proc/$cat/cmdline"
    sleep 1
    kill -ABRT "$cat"
    wait "$cat" || true
    equal "$(cores)" 0 "core files of kitfs cat"
    control clear
    mkdir -p "$MNT"
    for which in pid_worker pid_keeper; do
        "$KITFS" mount -f --plain-http --prefetch none "$KIT" "$MNT" >"$TMP/out" 2>&1 &
        until_true 20 mounted || fail "not mounted"
        pid=$(status_of "$which")
        kill -ABRT "$pid"
        until_true 10 gone "$pid" || fail "$which is there after SIGABRT"
        wait $! || true
        within 10 umount -l "$MNT" 2>/dev/null || true
        equal "$(cores)" 0 "core files after the end of $which"
    done
}

run_case "$@"
