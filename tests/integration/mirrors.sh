#!/bin/bash
# Mirrors, as hosts.toml names them: which host is asked, what it is told, and what happens
# when it fails.
# as root, but for the_first_of_the_file|down_at_mount|files_that_are_wrong|certificates_without_a_file
# limit: 90
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))
HOSTS=$TMP/hosts
export KITFS_HOSTS_DIR=$HOSTS

# --- several registries -----------------------------------------------------------------

start() { # NAME [ARGUMENTS of registry.py]: sets NAME (host:port), NAME_control, NAME_pid
    local name=$1
    shift
    registry_start --layout "kit=$TMP/layout" "$@"
    printf -v "$name" %s "$REG"
    printf -v "${name}_control" %s "$CONTROL"
    printf -v "${name}_pid" %s "$REGISTRY_PID"
}

at() { # NAME COMMAND...: a command about its rules or its journal
    local control=$1_control
    shift
    CONTROL=${!control} "$@"
}

stop() { # NAME
    local pid=$1_pid
    kill "${!pid}"
    wait "${!pid}" 2>/dev/null || true
}

again() { # NAME: at the same port
    local address=${!1}
    start "$1" --port "${address##*:}"
}

# What hosts.toml says of the registry `up`, on standard input.
hosts() {
    folder=$HOSTS/${up%:*}_${up#*:}_
    mkdir -p "$folder"
    cat >"$folder/hosts.toml"
}

# The registry `up` and the mirrors `one` and `two`, with a kit of SIZE.
three() { # SIZE
    make_kit v1 "model:model/w.bin:$1"
    start up
    start one
    start two
    hosts <<END
[host."http://$one"]
[host."http://$two"]
END
}

mount_up() { # [OPTIONS]
    mount_kit "$up/kit:v1" --read-timeout 20s "$@"
}

read_mib() { # NUMBER: of the file
    check_bytes "$MNT/model/w.bin" 1 $(($1 * MIB)) "$MIB"
}

asked() { # NAME [FILTER...]: how many requests
    at "$1" requests "${@:2}"
}

silent() { # NAME...: it was asked nothing
    local name
    for name; do
        equal "$(asked "$name")" 0 "requests at $name"
    done
}

layer_digest() {
    jq -r '.layers[0].digest' \
        "$TMP/layout/blobs/sha256/$(cut -c 8- "$TMP/manifest-digest")"
}

# --- who is asked, and what he is told --------------------------------------------------

case_the_first_of_the_file() {
    three 16M
    mount_up
    read_mib 5
    silent up two
    [ "$(asked one path=manifests)" -ge 1 ] && [ "$(asked one path=blobs)" -ge 2 ] ||
        fail "the mirror is not asked for everything"
    equal "$(asked one "query=^ns=127.0.0.1%3A${up#*:}$")" "$(asked one)" \
        "requests that name the registry"
    equal "$(status_of "hosts | map(.host) | join(\" \")")" "$one $two $up" "hosts in the status"
    equal "$(status_of "hosts | map(.answers) | @csv")" "$(asked one),0,0" "their answers"
    umount_kit
}

# What goes to the registry itself names none.
case_last_the_registry() {
    three 16M
    stop one
    stop two
    mount_up
    read_mib 5
    equal "$(asked up query=ns=)" 0 "requests that name the registry"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_server_instead_of_the_registry() {
    make_kit v1 "model:model/w.bin:16M"
    start up
    start one
    hosts <<<"server = \"http://$one\""
    mount_up
    read_mib 5
    silent up
    equal "$(asked one "query=^ns=127.0.0.1%3A${up#*:}$")" "$(asked one)" \
        "requests that name the registry"
    umount_kit
}

case_capabilities() {
    three 16M
    hosts <<END
[host."http://$one"]
capabilities = ["pull"]
[host."http://$two"]
capabilities = ["resolve"]
END
    mount_up
    read_mib 5
    silent up
    equal "$(asked two)" 1 "requests at the one that resolves"
    equal "$(asked two path=manifests/v1)" 1 "tags asked of it"
    equal "$(asked one path=blobs)" "$(asked one)" "requests for blobs at the one that pulls"
    umount_kit
    rm -rf "$KITFS_CACHE_DIR"
    mount_kit "$up/kit@$(cat "$TMP/manifest-digest")"
    equal "$(asked one path=manifests)" 1 "manifests by digest at the one that pulls"
    umount_kit
}

case_nobody_can() {
    make_kit v1 "model:model/w.bin:1M"
    start up
    hosts <<END
server = "http://$up"
capabilities = ["push"]
END
    refused 'names no host that may be asked for tags' \
        kit mount --plain-http "$up/kit:v1" "$MNT"
    silent up
}

case_headers_for_that_host_alone() {
    three 16M
    hosts <<END
[host."http://$one"]
[host."http://$one".header]
x-fleet = ["blue", "green"]
[host."http://$two"]
header.x-two = "2"
END
    at one rule '{"path": "blobs", "action": "redirect", "to": "other", "count": 0}'
    mount_up
    read_mib 5
    at one rule '{"action": "status", "code": 500, "count": 0}'
    read_mib 9
    at two rule '{"action": "status", "code": 500, "count": 0}'
    read_mib 13
    equal "$(asked one server=main 'extra=^x-fleet: blue, green$')" \
        "$(asked one server=main)" "requests with the headers at the mirror"
    equal "$(asked one server=redirect 'extra=^$')" "$(asked one server=redirect)" \
        "requests without them where it redirects to"
    equal "$(asked two 'extra=^x-two: 2$')" "$(asked two)" "those of the other mirror"
    equal "$(asked up 'extra=^$')" "$(asked up)" "requests without headers at the registry"
    [ "$(asked up)" -gt 0 ] && [ "$(asked one server=redirect status=206)" -gt 0 ] ||
        fail "not everybody was asked"
    umount_kit
}

case_path_that_is_complete() {
    make_kit v1 "model:model/w.bin:16M"
    start up
    start one --layout "proxy/kit=$TMP/layout"
    hosts <<END
[host."http://$one/v2/proxy"]
override_path = true
END
    mount_up
    read_mib 5
    silent up
    equal "$(asked one path=^/v2/proxy/kit/)" "$(asked one)" "requests below the path"
    umount_kit
}

case_list_of_tags() {
    three 1M
    equal "$(kit list --plain-http "$up/kit")" v1 "tags"
    silent up two
    equal "$(asked one path=tags/list 'query=^n=1000&ns=')" 1 "lists"
    at one rule '{"path": "tags", "action": "status", "code": 404, "count": 0}'
    equal "$(kit list --plain-http "$up/kit")" v1 "tags"
    equal "$(asked two 'path=tags/list')" 1 "lists"
}

# What is pushed goes to the registry itself.
case_push() {
    make_kit v1 "model:model/w.bin:1M"
    start up --uploads
    start one --uploads
    hosts <<<"[host.\"http://$one\"]"
    mkdir "$TMP/folder"
    echo weights >"$TMP/folder/w"
    printf 'manifestVersion: 1.0.0\nmodel: {path: w}\n' >"$TMP/folder/Kitfile"
    kit pack "$TMP/folder" -t "$up/new:v1" --push --plain-http -q
    silent one
}

# --- logins -----------------------------------------------------------------------------

# Debian's docker-registry with the kit, which lets in ci with a password: sets CLOSED.
closed() { # PASSWORD
    need docker-registry skopeo
    docker_registry "$TMP"
    docker_registry_push "$TMP/layout" v1 kit:v1
    docker_registry_stop
    python3 -W ignore -c 'import crypt, sys
salt = crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)
print(f"ci:{crypt.crypt(sys.argv[1], salt)}")' "$1" >"$TMP/htpasswd"
    cat >"$TMP/closed.yml" <<YML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $TMP/data}}
http: {addr: "127.0.0.1:0", secret: fixed}
auth: {htpasswd: {realm: kit, path: $TMP/htpasswd}}
YML
    docker-registry serve "$TMP/closed.yml" >"$TMP/closed.log" 2>&1 &
    until_true 10 grep -q 'listening on' "$TMP/closed.log" || fail "no registry"
    CLOSED=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$TMP/closed.log")
}

login() { # HOST PASSWORD
    export REGISTRY_AUTH_FILE=$TMP/auth.json
    jq -n --arg host "$1" --arg auth "$(printf 'ci:%s' "$2" | base64 -w 0)" \
        '{auths: {($host): {auth: $auth}}}' >"$REGISTRY_AUTH_FILE"
}

case_login_of_its_own() {
    make_kit v1 "model:model/w.bin:16M"
    start up
    closed of-the-mirror
    hosts <<<"[host.\"http://$CLOSED\"]"
    login "$CLOSED" of-the-mirror
    mount_up
    read_mib 5
    silent up
    umount_kit
}

case_login_of_the_registry_is_not_for_mirrors() {
    make_kit v1 "model:model/w.bin:16M"
    start one
    at one rule '{"action": "status", "code": 401, "count": 0}' \
        '{"action": "headers", "Www-Authenticate": "Basic realm=x", "count": 0}'
    closed of-the-registry
    up=$CLOSED
    hosts <<<"[host.\"http://$one\"]"
    login "$up" of-the-registry
    mount_up
    read_mib 5
    [ "$(asked one)" -ge 1 ] || fail "the mirror is not asked"
    equal "$(asked one authorization=True)" 0 "logins that the mirror got"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
    rm -rf "$KITFS_CACHE_DIR"
    login "$one" of-the-mirror
    refused '401' kit mount --plain-http "$up/kit:v1" "$MNT"
    [ "$(asked one authorization=True)" -ge 1 ] || fail "nor does it get its own"
}

# What login sends goes to the host that was named.
case_login_is_not_for_the_server() {
    make_kit v1 "model:model/w.bin:1M"
    start one
    at one rule '{"action": "status", "code": 401, "count": 0}' \
        '{"action": "headers", "Www-Authenticate": "Basic realm=x", "count": 0}'
    up=127.0.0.1:9
    hosts <<<"server = \"http://$one\""
    refused 'does not take' kit login --plain-http "$up" -u ci --password-stdin \
        --authfile "$TMP/auth.json" <<<secret
    [ "$(asked one)" -ge 1 ] || fail "the server is not asked"
    equal "$(asked one authorization=True)" 0 "logins that it got"
}

# --- TLS --------------------------------------------------------------------------------

tls_mirror() {
    make_kit v1 "model:model/w.bin:16M"
    start up
    start one --tls "$TMP/tls"
}

case_authorities_of_a_mirror() {
    tls_mirror
    start two --tls "$TMP/tls2"
    hosts <<<"[host.\"https://$one\"]"
    mount_up
    read_mib 5
    equal "$(asked one)" 0 "requests at a mirror that nobody knows"
    umount_kit
    rm -rf "$KITFS_CACHE_DIR"
    hosts <<END
[host."https://$one"]
ca = ["$TMP/tls2/ca.pem", "ca.pem"]
END
    cp "$TMP/tls/ca.pem" "$folder/ca.pem"
    mark=$(at up control mark)
    mount_up
    read_mib 5
    equal "$(at up control mark)" "$mark" "requests at the registry"
    umount_kit
    rm -rf "$KITFS_CACHE_DIR"
    hosts <<END
[host."https://$one"]
skip_verify = true
END
    mount_up
    read_mib 5
    equal "$(at up control mark)" "$mark" "requests at the registry"
    umount_kit
}

case_certificates_without_a_file() {
    make_kit v1 "model:model/w.bin:16M"
    start up --tls "$TMP/tls"
    mkdir -p "$HOSTS/$up"
    refused 'certificate' kit ls "$up/kit:v1"
    cp "$TMP/tls/ca.pem" "$HOSTS/$up/our.crt"
    equal "$(kit ls "$up/kit:v1" model)" w.bin "what is in it"
    KITFS_HOSTS_DIR='' refused 'certificate' kit ls --hosts-dir '' "$up/kit:v1"
}

case_files_that_are_wrong() {
    make_kit v1 "model:model/w.bin:1M"
    start up
    printf 'server = "http://%s"\n\n[host."http://x"]\nskip_verfy = true\n' "$up" | hosts
    refused "hosts.toml': line 4: 'skip_verfy' is no key" \
        kit mount --plain-http "$up/kit:v1" "$MNT"
    hosts <<<'ca = "missing.pem"'
    refused "missing.pem" kit mount --plain-http "$up/kit:v1" "$MNT"
    hosts <<<'ca = "hosts.toml"'
    refused "hosts.toml' holds no certificate" kit mount --plain-http "$up/kit:v1" "$MNT"
    ! mounted || fail "mounted"
    silent up
}

# --- what goes wrong --------------------------------------------------------------------

case_down_at_mount() {
    local began
    three 16M
    stop one
    stop two
    began=$(milliseconds)
    mount_up
    at_most $(($(milliseconds) - began)) 5000 "milliseconds to mount"
    read_mib 5
    umount_kit
}

# Nobody answers: the wait is the mirror's own.
case_silent_at_mount() {
    local began
    three 16M
    hosts <<END
[host."http://10.255.255.1:9"]
dial_timeout = "200ms"
END
    began=$(milliseconds)
    mount_up
    read_mib 5
    at_most $(($(milliseconds) - began)) 4000 "milliseconds to mount and read"
    umount_kit
}

case_dies_while_it_is_read() {
    three 64M
    mount_up
    read_mib 5
    at one rule '{"path": "blobs", "action": "drop", "after": 100000}' \
        '{"path": "blobs", "action": "rst", "after": 0, "nth": 2, "count": 0}'
    read_mib 40
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    at one control list fault=drop >"$TMP/cut"
    cut_at=$(($(jq -r '.range[6:] | split("-")[0]' "$TMP/cut") + 100000))
    equal "$(asked two "range=^bytes=$cut_at-")" 1 "requests that go on where it broke"
    silent up
    stop one
    stop two
    check_bytes "$MNT/model/w.bin" 1 0 $((64 * MIB))
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_stalls() {
    three 64M
    mount_up
    at one rule '{"path": "blobs", "action": "stall", "after": 100000, "count": 0}'
    read_mib 40
    read_mib 20
    equal "$(asked one path=blobs fault=stall)" 1 "requests that stalled"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_blob_that_it_lacks() {
    three 64M
    at one rule "{\"path\": \"$(layer_digest)\", \"action\": \"status\", \"code\": 404,
        \"count\": 0}"
    mount_up
    check_bytes "$MNT/model/w.bin" 1 0 $((64 * MIB))
    at_most "$(asked one "path=$(layer_digest)")" 8 "requests for what it lacks"
    [ "$(asked one status=200)" -ge 1 ] || fail "it is asked for nothing else"
    silent up
    umount_kit
}

case_it_comes_back() {
    three 64M
    mount_up
    read_mib 5
    at one rule '{"path": "blobs", "action": "status", "code": 503, "count": 0}'
    read_mib 20
    equal "$(asked one fault=status)" 1 "requests that it refused"
    equal "$(status_of 'hosts[0].last_error')" "'$one' answers 503" "why it is left alone"
    [ "$(status_of 'hosts[0].left_alone_ms')" -gt 0 ] || fail "it is not left alone"
    read_mib 30
    equal "$(asked one fault=status)" 1 "requests that it refused"
    sleep 5
    mark=$(at two control mark)
    check_bytes "$MNT/model/w.bin" 1 $((32 * MIB)) $((16 * MIB))
    equal "$(asked one fault=status)" 2 "requests, of which one tries it"
    at one control clear
    sleep 10
    mark=$(at one control mark)
    check_bytes "$MNT/model/w.bin" 1 $((48 * MIB)) $((16 * MIB))
    mark_two=$(at two control mark)
    [ "$(asked one "from=$mark")" -ge 1 ] || fail "it is not asked again"
    read_mib 10
    equal "$(at two control mark)" "$mark_two" "requests at the other one"
    silent up
    umount_kit
}

case_restarted_at_its_port() {
    three 16M
    hosts <<<"[host.\"http://$one\"]"
    stop one
    mount_up
    read_mib 5
    again one
    sleep 5
    read_mib 10
    [ "$(asked one)" -ge 1 ] || fail "it is not asked again"
    umount_kit
}

# Chunks have digests: what a mirror has damaged comes from the registry itself.
case_damaged() {
    local layout=$TMP/layout
    mkdir "$TMP/folder"
    head -c 20000000 /dev/urandom >"$TMP/folder/w.bin"
    printf 'manifestVersion: 1.0.0\nmodel: {path: w.bin}\n' >"$TMP/folder/Kitfile"
    kit pack "$TMP/folder" -t "oci:$layout:v1" -q >"$TMP/manifest-digest"
    start up
    start one
    hosts <<<"[host.\"http://$one\"]"
    at one rule '{"path": "blobs", "range": ".", "action": "flip", "at": 1000, "count": 0}'
    mount_up
    within 30 cmp "$TMP/folder/w.bin" "$MNT/w.bin"
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    at_most "$(asked one fault=flip)" 12 "requests at a mirror that damages"
    [ "$(asked up path=blobs)" -ge 1 ] || fail "the registry is not asked"
    umount_kit
}

# The manifest's digest, and the config's, too.
case_damaged_when_mounting() {
    three 16M
    config=$(jq -r .config.digest \
        "$TMP/layout/blobs/sha256/$(cut -c 8- "$TMP/manifest-digest")")
    at one rule '{"path": "manifests", "action": "edit", "count": 0}' \
        "{\"path\": \"$config\", \"action\": \"flip\", \"at\": 5, \"count\": 0}"
    hosts <<<"[host.\"http://$one\"]"
    mount_up
    equal "$(asked up path=manifests)" 1 "manifests from the registry"
    equal "$(asked up "path=$config")" 1 "configs from the registry"
    umount_kit
}

# A cache that does not hold the blob yet sends all of it from its first byte on.
case_range_ignored() {
    three 64M
    at one rule '{"path": "blobs", "action": "full200", "count": 0}'
    mount_up
    check_bytes "$MNT/model/w.bin" 1 $((40 * MIB)) $((16 * MIB))
    at_most "$(at one sent)" $((24 * MIB)) "bytes of a mirror that ignores ranges"
    at_most "$(asked one fault=full200)" 12 "requests to it"
    silent up
    umount_kit
}

case_redirected_to_nowhere() {
    three 16M
    at one rule '{"path": "blobs", "action": "redirect", "to": "ftp://x/", "count": 0}'
    mount_up
    read_mib 5
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

case_signed_urls_of_two_hosts() {
    three 64M
    for name in one two; do
        at "$name" rule \
            '{"path": "/blobs/", "server": "main", "action": "redirect", "to": "other",
              "ttl": 2, "count": 0}'
    done
    mount_up
    read_mib 5
    at one rule '{"server": "redirect", "action": "status", "code": 503, "count": 0}'
    read_mib 20
    mark=$(at two control mark)
    read_mib 30
    equal "$(asked two server=main path=blobs "from=$mark")" 0 "redirections asked for again"
    sleep 2.1
    read_mib 50
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    silent up
    umount_kit
}

case_all_fail() {
    three 16M
    mount_up --read-timeout 3s
    for name in one up; do
        at "$name" rule '{"path": "blobs", "action": "status", "code": 404, "count": 0}'
    done
    at two rule '{"path": "blobs", "action": "status", "code": 500, "count": 0}'
    ! within 20 dd if="$MNT/model/w.bin" of=/dev/null bs=1M skip=9 count=1 2>"$TMP/said" ||
        fail "read without any host"
    said=$(status_of last_error.message)
    for text in "'$up' answers 404" "before it: '$one' answers 404" "'$two' answers 500"; do
        grep -qF "$text" <<<"$said" || fail "'$said' does not say $text"
    done
    umount_kit
}

# --- nginx that caches slices: the configuration of docs/nginx-slice-cache.conf -----------

slice_cache() { # sets NGINX, in front of `up`
    need nginx
    mkdir "$TMP/nginx"
    sed -e "s|CACHE_FOLDER|$TMP/nginx/cache|" -e 's|LISTEN_ADDRESS|@LISTEN@|' \
        -e "s|SOCKET_FILE|$TMP/nginx/sock|" -e "s|REGISTRY_URL|http://$up|" \
        -e "s|REGISTRY_HOST|$up|" -e 's|NAME_SERVER|127.0.0.1|' \
        "$tests/../docs/nginx-slice-cache.conf" |
        python3 "$rig/nginx.py" "$TMP/nginx" nginx &
    until_true 20 test -e "$TMP/nginx/nginx.port" || fail "nginx does not start"
    # shellcheck disable=SC1091 # made by nginx.py
    . "$TMP/nginx/nginx.port"
    hosts <<<"[host.\"http://$NGINX\"]"
}

# Every slice of the blobs that was asked for went upstream once.
each_slice_once() {
    at up control list path=blobs >"$TMP/slices"
    equal "$(jq -r '.path + .range' "$TMP/slices" | sort | uniq -d)" "" "slices asked for twice"
    jq -e 'select(.path | endswith("'"$(layer_digest)"'")).range' "$TMP/slices" |
        sort -u >"$TMP/of_layer"
    equal "$(wc -l <"$TMP/of_layer")" "$1" "slices of the layer"
}

case_slice_cache_of_nginx() {
    make_kit v1 model:model/w.bin:62M
    start up
    slice_cache
    mount_up
    read_mib 5
    each_slice_once 3 # the beginning, the end, and where it was read
    check_bytes "$MNT/model/w.bin" 1 0 $((62 * MIB))
    each_slice_once 16
    equal "$(asked up path=manifests query=ns=)" 1 "manifests"
    umount_kit
    rm -rf "$KITFS_CACHE_DIR"
    mount_up
    check_bytes "$MNT/model/w.bin" 1 0 $((62 * MIB))
    each_slice_once 16
    equal "$(asked up path=manifests)" 2 "manifests"
    umount_kit
}

case_slice_cache_of_nginx_for_four() {
    local pids=() n
    make_kit v1 model:model/w.bin:62M
    start up --latency-ms 20
    slice_cache
    for n in 1 2 3 4; do
        (
            MNT=$TMP/mnt.$n
            KITFS_CACHE_DIR=$TMP/cache.$n mount_up
            check_bytes "$MNT/model/w.bin" 1 0 $((62 * MIB))
            umount_kit
        ) &
        pids+=($!)
    done
    for n in "${pids[@]}"; do
        wait "$n" || fail "one of four"
    done
    each_slice_once 16
}

case_slice_cache_of_nginx_and_redirections() {
    make_kit v1 model:model/w.bin:62M
    start up
    at up rule '{"path": "/blobs/", "server": "main", "action": "redirect", "to": "other",
        "count": 0}'
    slice_cache
    mount_up
    check_bytes "$MNT/model/w.bin" 1 0 $((62 * MIB))
    at up control list server=redirect >"$TMP/slices"
    equal "$(jq -r '.path + .range' "$TMP/slices" | sort | uniq -d)" "" "slices asked for twice"
    equal "$(asked up server=redirect status=206)" "$(asked up server=redirect)" "answers"
    equal "$(asked up server=redirect authorization=True)" 0 "logins where it redirects to"
    umount_kit
}

# The cache dies: the registry itself is asked, and bytes stay right.
case_slice_cache_of_nginx_dies() {
    make_kit v1 model:model/w.bin:62M
    start up
    slice_cache
    mount_up
    read_mib 5
    kill "$(cat "$TMP/nginx/nginx.pid")"
    check_bytes "$MNT/model/w.bin" 1 0 $((62 * MIB))
    equal "$(status_of counters.read_errors)" 0 "errors given to readers"
    umount_kit
}

run_case "$@"
