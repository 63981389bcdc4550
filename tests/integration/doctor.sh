#!/bin/bash
# kitfs doctor REF: what it says of a registry, in words and in JSON, what it asks for that,
# and what it keeps to itself.
# as root, but for plain|redirects_to_a_signed_url
# limit: 120
. "$(dirname "$0")/lib.sh"
unset REGISTRY_AUTH_FILE DOCKER_CONFIG KITOPS_HOME
MIB=$((1 << 20))
DIR=$TMP/registry
PASSWORD='Pa:ss wörd%40'

# Twice: in words to $TMP/words, and in JSON to $TMP/json; the verdict is the same.
doctor() { # STATUS REF [OPTIONS]
    local wanted=$1 status=0
    shift
    kit doctor --plain-http "$@" >"$TMP/words" || status=$?
    equal "$status" "$wanted" "exit status for words ($(cat "$TMP/words"))"
    status=0
    kit doctor --plain-http --json "$@" >"$TMP/json" || status=$?
    equal "$status" "$wanted" "exit status for JSON"
    equal "$(jq -r '.[] | .verdict + " " * (5 - (.verdict | length)) + " " + .text' "$TMP/json" |
        sed -E 's/[0-9.]+ (ms|free|used|[KMG]iB)//g; s/ connections? .*//')" \
        "$(sed -E 's/[0-9.]+ (ms|free|used|[KMG]iB)//g; s/ connections? .*//' "$TMP/words")" \
        "the words in JSON"
}

says() { # REGEX...: each is a line
    local line
    for line; do
        grep -Eq -- "$line" "$TMP/words" || fail "no '$line' in: $(cat "$TMP/words")"
    done
}

json() { # CHECK FILTER VALUE: of the only object of that check
    equal "$(jq -c --arg check "$1" '[.[] | select(.check == $check)] | .[0] | '"$2" "$TMP/json")" \
        "$3" "$2 of $1"
}

json_of() { # HOST CHECK FILTER VALUE
    equal "$(jq -c --arg host "$1" --arg check "$2" \
        '.[] | select(.check == $check and .host == $host) | '"$3" "$TMP/json")" "$4" "$3 of $2 of $1"
}

keeps() { # TEXT...: to itself
    local text
    for text; do
        ! grep -F -- "$text" "$TMP/words" "$TMP/json" || fail "'$text' was told"
    done
}

# --- registries -------------------------------------------------------------------------

case_plain() {
    serve_kit 64M
    doctor 0 "$KIT"
    says "^ok    the registry has sha256:[0-9a-f]{64} \(application/vnd.oci.image.manifest.v1\+json\) in [0-9]+ ms$" \
        "^ok    $REG gives ranges \(206\): the first 64.0 KiB in [0-9]+ ms$" \
        "^ok    $REG gives blobs itself, without redirecting$" \
        "^ok    $REG asks for no login$" \
        "^ok    $REG says nothing of limits to requests$" \
        "^ok    $REG: 1 connection [0-9.]+, 2 connections [0-9.]+, 4 connections [0-9.]+, 8 connections [0-9.]+ MB/s$"
    json manifest '[.digest, .media_type]' \
        "[\"$(cat "$TMP/manifest-digest")\",\"application/vnd.oci.image.manifest.v1+json\"]"
    json ranges '[.host, .answer, .status, .bytes]' "[\"$REG\",\"206\",206,65536]"
    json redirects '[.hops, .url_life_s]' '[[],null]'
    json login '[.scheme, .granted, .tokens_by, .user, .credentials]' '["none",false,null,null,null]'
    json rate_limits '[.headers, .limited, .retry_after_s]' '[{},false,null]'
    equal "$(requests path=manifests)" 2 "requests for the manifest"
    equal "$(requests path=blobs range=bytes=0-65535)" 2 "probes"
    equal "$(requests authorization=True)" 0 "requests with credentials"
}

serve_closed() { # WORD... of docker_registry_start: a/kit:v1 at $CLOSED
    need skopeo
    make_kit v1 model:model/w.bin:1M
    docker_registry "$DIR"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    docker_registry_stop
    docker_registry_user "$DIR" ann "$PASSWORD"
    docker_registry_start "$DIR" "$@"
    CLOSED=$DOCKER_REGISTRY
}

known() { # PASSWORD
    mkdir -p "$HOME/.docker"
    AUTH=$(printf 'ann:%s' "$1" | base64 -w 0)
    jq -n --arg host "$CLOSED" --arg auth "$AUTH" '{auths: {($host): {auth: $auth}}}' \
        >"$HOME/.docker/config.json"
}

case_docker_registry() {
    serve_closed
    doctor 0 "$CLOSED/a/kit:v1"
    says "^ok    $CLOSED gives ranges \(206\)" "^ok    $CLOSED asks for no login$" \
        "^ok    $CLOSED gives blobs itself" \
        '^warn  not tried, for want of a layer of 8 MiB: throughput$'
}

case_passwords() {
    serve_closed htpasswd
    known "$PASSWORD"
    doctor 0 "$CLOSED/a/kit:v1"
    says "^ok    $CLOSED asks for a password \(Basic\): that of \"ann\", from $HOME/.docker/config.json$" \
        "^ok    $CLOSED gives ranges \(206\)"
    json login '[.scheme, .granted, .user, .credentials]' \
        "[\"basic\",true,\"ann\",\"$HOME/.docker/config.json\"]"
    keeps "$PASSWORD" "$AUTH"
    known 'other word'
    doctor 1 "$CLOSED/a/kit:v1"
    says "^fail  the registry: .*401" \
        "^warn  $CLOSED asks for a password .*: that of \"ann\", from .*, is not taken$" \
        '^warn  not tried, for want of a manifest: '
    json login '[.scheme, .granted]' '["basic",false]'
    keeps 'other word' "$AUTH"
    rm "$HOME/.docker/config.json"
    doctor 1 "$CLOSED/a/kit:v1"
    says "^warn  $CLOSED asks for a password \(Basic\): there is none \(kitfs login $CLOSED\)$"
    json login '[.credentials, .user]' '[null,null]'
}

case_tokens() {
    docker_registry_tokens "$DIR"
    serve_closed token
    known "$PASSWORD"
    doctor 0 "$CLOSED/a/kit:v1"
    says "^ok    $CLOSED asks for a token \(Bearer\) of 127.0.0.1:[0-9]+: that of \"ann\", from "
    json login '[.scheme, .granted, .user]' '["bearer",true,"ann"]'
    keeps "$PASSWORD" "$AUTH" eyJ
}

# --- redirections -----------------------------------------------------------------------

redirects() { # QUERY: all blobs, to a signed URL with that behind
    control clear
    rule "{\"path\": \"blobs\", \"action\": \"redirect\", \"count\": 0, \"query\": \"$1\"}"
}

case_redirects_to_a_signed_url() {
    serve_kit 64M
    redirects 'X-Amz-Expires=1200&X-Amz-Signature=SiGnEd'
    doctor 0 "$KIT"
    says "^ok    $REG gives ranges" \
        "^ok    $REG redirects to http://127.0.0.1:$REDIRECT \(307\); that URL is good for 20 min$"
    json redirects '[.hops, .url_life_s]' \
        "[[{\"status\":307,\"to\":\"http://127.0.0.1:$REDIRECT\",\"relative\":false}],1200]"
    keeps SiGnEd signature= X-Amz _signed '?'
    equal "$(requests path=blobs server=redirect range=bytes=0-65535)" 2 "probes that were redirected"
    redirects "Expires=$(($(date +%s) - 7200))"
    doctor 0 "$KIT"
    says "^warn  $REG redirects .*; that URL ended 2 h ago by this machine's clock$"
    redirects ''
    doctor 0 "$KIT"
    says "^ok    $REG redirects .*; how long that URL is good is not said$"
    json redirects .url_life_s null
}

case_redirects_of_other_kinds() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "redirect", "to": "relative", "count": 0}'
    doctor 0 "$KIT"
    says "^ok    $REG redirects to http://$REG \(307, relative\)"
    json redirects '.hops[0].relative' true
    control clear
    rule '{"path": "blobs", "action": "loop", "count": 0}'
    doctor 1 "$KIT"
    says "^fail  $REG gives no range of a layer: more than 10 redirections" "^ok    $REG redirects 10 times"
    json redirects '.hops | length' 10
    at_most "$(requests path=blobs range=bytes=0-65535)" 26 "probes"
    control clear
    rule '{"path": "blobs", "action": "redirect", "to": "http://127.0.0.1:1/x?X-Amz-Expires=60&sig=SiGnEd", "count": 0}'
    doctor 1 "$KIT"
    says "^fail  $REG gives no range of a layer: " "^ok    $REG redirects to http://127.0.0.1:1 \(307\)"
    keeps SiGnEd
}

# --- ranges and limits ------------------------------------------------------------------

case_without_ranges() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "full200", "count": 0}'
    doctor 0 "$KIT"
    says "^warn  $REG sends the whole blob where a range is asked for"
    says '^warn  not tried, for want of ranges: throughput$'
    json ranges '[.answer, .status]' '["whole",200]'
    at_most "$(sent path=blobs)" $((16 * MIB)) "bytes that left for two probes"
}

case_ranges_that_are_wrong_or_refused() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "wrongrange", "count": 0}'
    doctor 1 "$KIT"
    says "^fail  $REG gives no range of a layer: .*wrong Content-Range"
    json ranges .answer '"wrong"'
    control clear
    rule '{"path": "blobs", "action": "status", "code": 403, "count": 0}'
    doctor 1 "$KIT"
    says "^fail  $REG gives no range of a layer: .*403"
    json ranges '[.answer, .status]' '["refused",403]'
    equal "$(requests path=blobs range=bytes=0-65535)" 4 "probes"
}

case_too_many_requests() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "status", "code": 429, "retry_after": 900, "count": 0}'
    doctor 1 "$KIT"
    says "^fail  $REG gives no range of a layer: .*429" \
        "^warn  $REG answers 429, too many requests, again in 15 min$" \
        '^warn  not tried, since requests are limited: throughput$'
    json rate_limits '[.limited, .retry_after_s]' '[true,900]'
    equal "$(requests path=blobs)" 2 "requests for blobs"
    control clear
    rule '{"path": "manifests", "action": "status", "code": 429, "count": 0}'
    began=$(milliseconds)
    doctor 1 "$KIT"
    at_most $(($(milliseconds) - began)) 32000 "milliseconds of both"
    says "^fail  the registry: .*429" "^warn  $REG answers 429, too many requests$" \
        '^warn  not tried, for want of a manifest: ranges, redirects, throughput$'
}

case_limits_that_are_said() {
    serve_kit 64M
    rule '{"path": "manifests", "action": "headers", "count": 0, "RateLimit-Limit": "100;w=21600",
        "RateLimit-Remaining": "76;w=21600", "Docker-RateLimit-Source": "192.0.2.1"}'
    doctor 0 "$KIT"
    says "^ok    $REG limits requests: 100 per 6 h, 76 left, counted for 192.0.2.1$"
    json rate_limits .headers \
        '{"ratelimit-limit":"100;w=21600","ratelimit-remaining":"76;w=21600","docker-ratelimit-source":"192.0.2.1"}'
    control clear
    rule '{"path": "blobs", "action": "headers", "count": 0, "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0"}'
    doctor 0 "$KIT"
    says "^warn  $REG limits requests: 60, 0 left$" '^warn  not tried, since requests are limited: '
    # Of no length that harms.
    control clear
    rule "{\"action\": \"headers\", \"count\": 0, \"RateLimit\": \"$(printf '%0300d' 1)\"}"
    doctor 0 "$KIT"
    says "^ok    $REG says nothing of limits to requests$"
}

# --- throughput -------------------------------------------------------------------------

# The most requests for blobs that were under way at the same time, but for those that were
# cut at the end of a step, of which a server hears late; from=N as in ctl.py.
at_a_time() { # FILTER...
    control list path=blobs done=True "$@" | jq -s '[.[] | [.at, 1], [.at + .took, -1]] | sort |
        reduce .[] as $x ([0, 0]; [.[0] + $x[1], ([.[1], .[0] + $x[1]] | max)]) | .[1]'
}

rates() { # REF [OPTIONS]: doctor's, as JSON
    kit doctor --plain-http --json "$@" >"$TMP/json"
}

case_throughput() {
    serve_kit 256M --rate-conn 4000000 # bytes a second of a connection
    rates "$KIT"
    json throughput '[.host, .blob, [.steps[].connections]]' \
        "[\"$REG\",$(jq '.[] | select(.check == "ranges").blob' "$TMP/json"),[1,2,4,8]]"
    json throughput '[.steps[] | .mb_per_s / .connections | . > 1.5 and . < 6]' \
        '[true,true,true,true]'
    json throughput '[.steps[] | .ms < 4000]' '[true,true,true,true]'
    kit doctor --plain-http --connections 1 "$KIT" >"$TMP/words"
    says "^ok    $REG: 1 connection [1-5]\\.[0-9] MB/s$"
}

# The bytes are bounded where time is no bound.
case_throughput_of_a_fast_link() {
    serve_kit 256M
    rates "$KIT"
    json throughput '[.steps[] | .bytes <= 33554432 and .bytes > 0]' '[true,true,true,true]'
    json throughput '[.steps[] | .ms < 4000]' '[true,true,true,true]'
    at_most "$(sent path=blobs)" $((130 * MIB)) "bytes of blobs"
    at_most "$(requests path=blobs)" 34 "requests for blobs"
    rule '{"path": "blobs", "range": "=[0-9]+-", "action": "delay", "ms": 60, "count": 0}'
    mark=$(control mark)
    rates "$KIT"
    equal "$(at_a_time "from=$mark")" 8 "requests at the same time"
    mark=$(control mark)
    rates "$KIT" --connections 3
    json throughput '[.steps[].connections]' '[1,2,3]'
    equal "$(at_a_time "from=$mark")" 3 "requests at the same time"
}

case_throughput_by_signed_urls() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "redirect", "count": 0}'
    rates "$KIT"
    json throughput '.steps | length' 4
    at_most "$(requests path=blobs server=main)" 2 "requests that were redirected"
}

case_reads_that_fail() {
    serve_kit 64M
    rule '{"path": "blobs", "range": "=[1-9]", "action": "status", "code": 404, "count": 0}'
    doctor 1 "$KIT"
    says "^ok    $REG gives ranges \(206\)" '^fail  the registry: cannot read .*404$'
    control clear
    rule '{"path": "blobs", "range": "=37748736-", "action": "status", "code": 404, "count": 0}'
    doctor 0 "$KIT"
    says "^warn  $REG: 1 connection [0-9.]+ MB/s, then cannot read .*404$"
}

# --- mirrors ----------------------------------------------------------------------------

case_mirrors() {
    make_kit v1 model:model/w.bin:64M
    registry_start --layout "kit=$TMP/layout"
    up=$REG up_pid=$REGISTRY_PID
    registry_start --layout "kit=$TMP/layout"
    export KITFS_HOSTS_DIR=$TMP/hosts
    mkdir -p "$TMP/hosts/${up%:*}_${up#*:}_"
    cat >"$TMP/hosts/${up%:*}_${up#*:}_/hosts.toml" <<END
[host."http://$REG"]
[host."http://127.0.0.1:1"]
END
    rule '{"path": "blobs", "action": "full200", "count": 0}'
    doctor 0 "$up/kit:v1"
    says "^warn  $REG sends the whole blob" "^warn  127.0.0.1:1 gives no range of a layer: " \
        "^ok    $up gives ranges \(206\)"
    equal "$(jq -c '[.[] | select(.check == "ranges") | .host]' "$TMP/json")" \
        "[\"$REG\",\"127.0.0.1:1\",\"$up\"]" "hosts in their order"
    json_of "$REG" ranges .answer '"whole"'
    json_of 127.0.0.1:1 ranges '[.answer, .status]' '["silent",0]'
    json_of "$up" ranges .answer '"206"'
    json throughput .host "\"$up\""
    # A mount works by the mirror.
    kill "$up_pid"
    doctor 0 "$up/kit:v1"
    says "^warn  $up gives no range of a layer: "
    rule '{"path": "blobs", "action": "status", "code": 404, "count": 0}'
    doctor 1 "$up/kit:v1"
    says "^fail  $up gives no range of a layer: " "^warn  $REG gives no range of a layer: .*404"
}

# --- what hangs -------------------------------------------------------------------------

case_silent_at_the_manifest() {
    serve_kit 64M
    rule '{"path": "manifests", "action": "stallhdr", "count": 0}'
    began=$(milliseconds)
    doctor 1 "$KIT"
    at_most $(($(milliseconds) - began)) 32000 "milliseconds of both"
    says '^fail  the registry: ' '^warn  not tried, for want of a manifest: ranges, redirects, throughput$'
    json skipped .what '"ranges, redirects, throughput"'
    equal "$(requests path=blobs)" 0 "requests for blobs"
}

case_silent_at_a_blob() {
    serve_kit 64M
    rule '{"path": "blobs", "action": "stallhdr", "count": 0}'
    began=$(milliseconds)
    doctor 1 "$KIT"
    at_most $(($(milliseconds) - began)) 22000 "milliseconds of both"
    says "^fail  $REG gives no range of a layer: "
    json ranges '[.answer, .status]' '["silent",0]'
    equal "$(requests path=blobs)" 2 "requests for blobs"
}

run_case "$@"
