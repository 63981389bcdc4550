#!/bin/bash
# Where kits are put: registries, well and badly behaved, layout folders, kit's store.
# put_kit stands for what packs.
# as root, but for layout|many_packers_of_one_layout|killed_packer|kits_store
# limit: 90
. "$(dirname "$0")/lib.sh"
put_kit=${KITFS%/tools/kitfs}/tests/integration/put_kit
held=$((8 << 20)) # a blob of more is streamed
streamed=20000000

put() { # OPTIONS REF SIZE...
    within 50 "$put_kit" "$@"
}

start() { # ARGUMENTS of registry.py
    registry_start --uploads "$@"
    TO=docker://$REG/new/kit:v1
}

# Everything that the manifest names is there, and is what its digest says.
whole() { # HOST/REPOSITORY:TAG DIGEST [skopeo's options]
    local ref=$1 digest=$2
    shift 2
    need skopeo
    within 50 skopeo copy --quiet "${@:---src-tls-verify=false}" "docker://$ref" \
        "oci:$TMP/copy:v1"
    equal "$(jq -r '.manifests[0].digest' "$TMP/copy/index.json")" "$digest" "manifest"
    rm -r "$TMP/copy"
}

case_docker_registry() {
    docker_registry "$TMP"
    local ref=$DOCKER_REGISTRY/a/kit:v1 digest again
    digest=$(put "docker://$ref" 0 1000 $held $((held + 1)) 30000000)
    whole "$ref" "$digest"
    again=$(put "docker://$ref" 0 1000 $held $((held + 1)) 30000000)
    equal "$again" "$digest" "the same kit put again"
    refused "KF_E_REFUSED: .*digest.*did not match" \
        put --wrong-digest "docker://$ref" $streamed
    put --abandon "docker://$ref" $streamed
    digest=$(put --known "docker://$DOCKER_REGISTRY/b/kit:v1" 1000 $held $((held + 1)) 30000000)
    whole "$DOCKER_REGISTRY/b/kit:v1" "$digest"
    equal "$(find "$TMP/data" -path '*/_uploads/*' -name data | wc -l)" 0 "sessions left"
    docker_registry_stop
}

case_docker_registry_over_tls() {
    docker_registry "$TMP" tls
    local ref=$DOCKER_REGISTRY/a/kit:v1 digest
    digest=$(put --tls-cert "$TMP/tls/ca.pem" "docker://$ref" 1000 $streamed)
    whole "$ref" "$digest" --src-tls-verify=false
    docker_registry_stop
}

case_what_is_sent() {
    start
    whole "$REG/new/kit:v1" "$(put "$TO" 1000 $held $((held + 1)) $streamed)"
    equal "$(control list method=PATCH | jq -s -c '[.[] | [.received, .chunked]]')" \
        "[[$((held + 1)),true],[$streamed,true]]" "streams"
    equal "$(control list method=PUT path=uploads | jq -s -c '[.[].received]')" \
        "[1000,$held,0,0,40]" "PUTs of blobs"
    equal "$(requests method=POST)" 5 "sessions"
    equal "$(control list method=PUT path=manifests | jq -r .type)" \
        application/vnd.oci.image.manifest.v1+json "media type"
}

case_what_is_there_is_not_sent() {
    start
    put "$TO" 1000 5000 >/dev/null
    local before
    before=$(control mark)
    put "$TO" 1000 5000 >/dev/null
    equal "$(control list from="$before" | jq -s -c '[.[].method]')" \
        '["HEAD","HEAD","HEAD","PUT"]' "requests for a kit that is there"
}

case_blobs_behind_signed_urls() {
    start
    put "$TO" 1000 >/dev/null
    rule '{"path": "blobs/sha256", "method": "HEAD", "action": "redirect", "count": 0}'
    put "$TO" 1000 >/dev/null
    equal "$(requests method=POST)" 2 "sessions"
    equal "$(requests server=redirect status=403 method=HEAD | sed 's/[1-9].*/some/')" some \
        "HEADs of signed URLs"
}

# The network waits for the packer, many times.
case_slow_writer() {
    start
    whole "$REG/new/kit:v1" "$(put --pause 30 "$TO" $streamed)"
}

# ... and the packer for the network.
case_slow_network() {
    start
    rule '{"method": "PATCH", "action": "delay", "ms": 1000}'
    whole "$REG/new/kit:v1" "$(put "$TO" $streamed)"
}

# --- refusals ---------------------------------------------------------------------------

refused_with() { # METHOD STATUS PATTERN SIZE
    start
    rule "{\"method\": \"$1\", \"action\": \"refuse\", \"code\": $2, \"count\": 0}"
    refused "$3" put "$TO" "$4"
    equal "$(requests method="$1")" 1 "requests that were refused"
}

case_login_wanted() { refused_with POST 401 'KF_E_REFUSED.*401.*wants a login' 1000; }
case_forbidden() { refused_with POST 403 'KF_E_REFUSED.*403.*check that you may write' 1000; }
case_no_repository() { refused_with POST 404 'KF_E_NOTFOUND.*404.*created before' 1000; }
case_read_only() { refused_with POST 405 'KF_E_REFUSED.*405.*mirror' $streamed; }
case_too_large() { refused_with PUT 413 'KF_E_REFUSED.*413.*of this size' 1000; }

case_login_wanted_for_a_look() {
    start
    rule '{"method": "HEAD", "action": "refuse", "code": 401}'
    refused 'KF_E_REFUSED.*401.*wants a login' put "$TO" 1000
}

# They want to know the size before; what pack makes of that: straight.sh.
case_no_patch() {
    for status in 405 411 413 416 501; do
        refused_with PATCH $status "KF_E_UNSUPPORTED.*$status.*size before" $streamed
        equal "$(requests method=DELETE)" 1 "sessions given up"
        registry_stop
    done
}

# One PUT is all that some take; what is held is sent so.
case_no_patch_but_small() {
    start
    rule '{"method": "PATCH", "action": "refuse", "code": 405, "count": 0}'
    whole "$REG/new/kit:v1" "$(put "$TO" 1000 $held)"
}

case_wrong_digest() {
    start
    refused 'KF_E_REFUSED.*cannot upload .*400.*digest invalid' put --wrong-digest "$TO" 1000
    refused 'KF_E_REFUSED.*cannot upload .*400.*digest invalid' \
        put --wrong-digest "$TO" $streamed
}

case_manifest_refused() {
    start
    rule '{"method": "PUT", "path": "manifests", "action": "refuse", "code": 400,
        "text": "{\"errors\": [{\"code\": \"X\", \"message\": \"no such blob\"}]}"}'
    refused 'KF_E_REFUSED.*cannot put manifest .*400.*no such blob' put "$TO" 1000
}

case_manifest_stored_as_another() {
    start
    rule "{\"method\": \"PUT\", \"path\": \"manifests\", \"action\": \"headers\",
        \"Docker-Content-Digest\": \"sha256:$(printf '%064d' 1)\"}"
    refused 'KF_E_CORRUPT.*stored the manifest as' put "$TO" 1000
}

# --- what passes ------------------------------------------------------------------------

passes() { # SIZE RULE...
    local size=$1
    shift
    start
    rule "$@"
    whole "$REG/new/kit:v1" "$(put "$TO" "$size")"
}

case_unavailable_twice() {
    passes $streamed '{"method": "POST", "action": "refuse", "count": 2}'
    equal "$(requests method=POST)" 4 "sessions asked for"
}

case_retry_after() {
    local began
    began=$(milliseconds)
    passes 1000 '{"method": "PUT", "action": "refuse", "retry_after": 2}'
    [ $(($(milliseconds) - began)) -ge 2000 ] || fail "Retry-After is not waited for"
}

case_put_refused_midway() {
    passes $held '{"method": "PUT", "action": "refuse", "after": 100000, "count": 2}'
    equal "$(requests method=POST)" 4 "a new session for each try, and the config's"
}

case_put_cut() { passes $held '{"method": "PUT", "action": "hangup", "after": 100000}'; }
case_put_answer_lost() { passes 1000 '{"method": "PUT", "action": "lost"}'; }
case_closing_put_refused() { passes $streamed '{"method": "PUT", "action": "refuse"}'; }

case_closing_answer_lost() {
    passes $streamed '{"method": "PUT", "action": "lost"}'
    equal "$(requests method=PATCH)" 1 "streams"
}

case_closing_answer_wrong() { passes $streamed '{"method": "PUT", "action": "status"}'; }

case_manifest_unavailable_once() {
    passes 1000 '{"method": "PUT", "path": "manifests", "action": "refuse"}'
}

case_relative_location() {
    passes $streamed '{"method": "POST", "action": "location", "count": 0}' \
        '{"method": "PATCH", "action": "location", "count": 0}'
}

case_location_at_another_host() {
    passes $streamed '{"method": "POST", "action": "location", "to": "other", "count": 0}'
    equal "$(requests server=redirect method=PATCH)" 1 "streams to the other host"
}

case_redirected_session() {
    passes $streamed '{"method": "POST", "action": "redirect", "to": "relative", "count": 2}'
}

case_no_location() {
    start
    rule '{"method": "POST", "action": "location", "to": "nowhere"}'
    refused 'KF_E_MALFORMED.*without saying where' put "$TO" 1000
}

case_wrong_location() {
    start
    rule '{"method": "POST", "action": "location", "to": "/v2/new/kit/blobs/uploads/77"}'
    refused 'KF_E_NOTFOUND.*404.*unknown' put "$TO" $streamed
}

# --- blobs that are known before --------------------------------------------------------

# The journal has requests in the order of their ends, and an answer is read before that.
case_known() {
    start
    whole "$REG/new/kit:v1" "$(put --known "$TO" 1000 $held $((held + 1)) $streamed)"
    equal "$(control list path=blobs | jq -s -c '[sort_by(.at)[].method | select(. != "GET")]')" \
        "$(jq -c -n '[range(5) | "HEAD", "POST", "PUT"]')" "requests"
    equal "$(control list method=PUT path=uploads | jq -s -c '[sort_by(.at)[] | [.received, .chunked]]')" \
        "[[1000,false],[$held,false],[$((held + 1)),false],[$streamed,false],[40,false]]" "PUTs"
    local before
    before=$(control mark)
    put --known "$TO" 1000 $held $((held + 1)) $streamed >/dev/null
    equal "$(control list from="$before" | jq -s -c '[sort_by(.at)[].method]')" \
        '["HEAD","HEAD","HEAD","HEAD","HEAD","PUT"]' "requests for what is there"
}

case_known_slow_writer() {
    start
    whole "$REG/new/kit:v1" "$(put --known --pause 30 "$TO" $streamed)"
}

case_known_is_another() {
    start
    refused "KF_E_CORRUPT.*no longer 'sha256:.*' of $streamed bytes" \
        put --known --wrong-digest "$TO" $streamed
    refused 'KF_E_CORRUPT.*no longer' put --known --wrong-digest "oci:$TMP/layout:v1" 1000
    equal "$(find "$TMP/layout/blobs" -type f | wc -l)" 0 "files"
}

# What was lost is the answer alone.
case_known_answer_lost() {
    start
    rule '{"method": "PUT", "action": "lost"}'
    whole "$REG/new/kit:v1" "$(put --known "$TO" $streamed)"
    equal "$(requests method=PUT "received=^$streamed$")" 1 "PUTs of the blob"
}

case_known_cut() {
    start
    rule '{"method": "PUT", "action": "hangup", "after": 1000000}'
    refused 'KF_E_UNREACHABLE' put --known "$TO" $streamed
    equal "$(requests method=DELETE)" 1 "sessions given up"
    whole "$REG/new/kit:v1" "$(put --known "$TO" $streamed)"
}

case_known_refused() {
    start
    rule '{"method": "PUT", "action": "refuse", "code": 413, "after": 1000000}'
    refused 'KF_E_REFUSED.*413.*of this size' put --known "$TO" 100000000
    at_most "$(control list method=PUT | jq .received)" 20000000 "bytes sent in vain"
}

case_known_given_up() {
    start
    put --known --abandon "$TO" $((held + 1000000))
    equal "$(requests method=DELETE)" 1 "sessions given up"
    equal "$(control list method=HEAD status=200 | wc -l)" 0 "blobs there"
}

# --- streams that break -----------------------------------------------------------------

# A stream cannot be continued: it ends at once, the session is given up, and another run
# passes.
breaks() { # ACTION as JSON fields
    start
    rule "{\"method\": \"PATCH\", \"after\": 1000000, $1}"
    refused 'KF_E_UNREACHABLE' put "$TO" 100000000
    at_most "$(control list method=PATCH | jq .received)" 20000000 "bytes sent in vain"
    equal "$(requests method=DELETE)" 1 "sessions given up"
    whole "$REG/new/kit:v1" "$(put "$TO" $streamed)"
}

case_unavailable_in_mid_stream() { breaks '"action": "refuse", "code": 503'; }
case_stream_cut() { breaks '"action": "hangup"'; }

case_abandoned() {
    start
    put --abandon "$TO" 1000 $streamed
    equal "$(requests method=DELETE)" 1 "sessions given up"
    equal "$(requests method=PUT)" 0 "blobs put"
}

# --- folders ----------------------------------------------------------------------------

case_layout() {
    local digest
    digest=$(put "oci:$TMP/new/layout:v1" 0 1000 $streamed)
    whole_layout "$digest" v1
    put "oci:$TMP/new/layout:v2" 0 1000 $streamed >/dev/null
    whole_layout "$digest" v1
    whole_layout "$digest" v2
    digest=$(put "oci:$TMP/new/layout:v1" 7)
    whole_layout "$digest" v1
    equal "$(jq '.manifests | length' "$TMP/new/layout/index.json")" 2 "manifests"
    equal "$(find "$TMP/new/layout" -name '*.tmp' | wc -l)" 0 "temporary files"
}

whole_layout() { # DIGEST TAG
    need skopeo
    within 50 skopeo copy --quiet "oci:$TMP/new/layout:$2" "oci:$TMP/copy:v1"
    equal "$(jq -r '.manifests[0].digest' "$TMP/copy/index.json")" "$1" "manifest of $2"
    rm -r "$TMP/copy"
}

case_many_packers_of_one_layout() {
    local tag pids=()
    for tag in a b c d e f g h; do
        put "oci:$TMP/layout:$tag" 1000 50000 >/dev/null &
        pids+=($!)
    done
    wait "${pids[@]}"
    equal "$(jq -c '[.manifests[].annotations[]] | sort' "$TMP/layout/index.json")" \
        '["a","b","c","d","e","f","g","h"]' "tags"
}

case_killed_packer() {
    "$put_kit" --pause 1000 "oci:$TMP/layout:v1" 30000000 &
    local pid=$!
    until_true 10 leftover || fail "nothing is written"
    put "oci:$TMP/layout:v2" 1000 >/dev/null
    leftover || fail "the file of a living writer is gone"
    kill -KILL $pid
    wait $pid 2>/dev/null || true
    put "oci:$TMP/layout:v3" 1000 >/dev/null
    ! leftover || fail "the dead writer's file is there"
}

leftover() {
    [ -n "$(find "$TMP/layout/blobs" -name '.kitfs-*.tmp' 2>/dev/null)" ]
}

case_kits_store() {
    export KITOPS_HOME=$TMP/home
    local one two store=$TMP/home/storage
    one=$(put my/kit:v1 1000)
    two=$(put store:my/kit:v2 2000)
    put example.com:5000/kit:v1 2000 >/dev/null
    equal "$(jq -c '[.manifests[] | keys]' "$store/index.json")" \
        '[["digest","mediaType","size"],["digest","mediaType","size"]]' "index"
    local my
    my=$store/$(printf localhost/my/kit | basenc --base64url)
    equal "$(jq -r '.v1.digest + .v2.digest' "$my-tags.json")" "$one$two" "tags"
    equal "$(jq -r '[.manifests[].digest] | add' "$my-index.json")" "$one$two" "manifests"
    equal "$(jq -r .v1.digest "$store/$(printf example.com:5000/kit |
        basenc --base64url)-tags.json")" "$two" "tag of another repository"
    equal "$(stat -c %a "$store/blobs/sha256/${one#sha256:}")" 600 "mode of a blob"
    one=$(put my/kit:v1 3000)
    equal "$(jq -r .v1.digest "$my-tags.json")" "$one" "a tag that moved"
    equal "$(jq '.manifests | length' "$my-index.json")" 3 "manifests of the repository"
}

run_case "$@"
