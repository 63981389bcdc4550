# Debian's docker-registry for tests, on 127.0.0.1 and a port of its own. Sourced by bash.
#
#   docker_registry_start DIR [tls]   sets DOCKER_REGISTRY (host:port) and
#                                     DOCKER_REGISTRY_PID; with tls DIR/tls/ca.pem is the CA
#   docker_registry_push LAYOUT TAG REPOSITORY[:TAG]    manifests and blobs byte for byte
#   docker_registry_stop
#
# Files lie below DIR. Two instances may share DIR: call start for each, keep both PIDs.

docker_registry_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

docker_registry_start() {
    local dir=$1 mode=${2:-plain} config log secure= try
    config=$dir/registry-$mode.yml
    log=$dir/registry-$mode.log
    mkdir -p "$dir/data"
    if [ "$mode" = tls ]; then
        python3 "$docker_registry_here/tls.py" "$dir/tls"
        secure=", tls: {certificate: $dir/tls/server.pem, key: $dir/tls/server.key}"
    fi
    cat >"$config" <<YML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $dir/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0", secret: fixed$secure}
YML
    : >"$log"
    docker-registry serve "$config" >"$log" 2>&1 &
    DOCKER_REGISTRY_PID=$!
    for try in $(seq 100); do
        DOCKER_REGISTRY=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$log" |
            head -n 1)
        [ -z "$DOCKER_REGISTRY" ] || return 0
        kill -0 "$DOCKER_REGISTRY_PID" 2>/dev/null || break
        sleep 0.1
    done
    echo "docker-registry does not start:" >&2
    cat "$log" >&2
    return 1
}

docker_registry_push() {
    skopeo copy --quiet --preserve-digests --dest-tls-verify=false \
        "oci:$1:$2" "docker://$DOCKER_REGISTRY/$3"
}

docker_registry_stop() {
    kill "$DOCKER_REGISTRY_PID" 2>/dev/null || true
    wait "$DOCKER_REGISTRY_PID" 2>/dev/null || true
}
