# Debian's docker-registry for tests, on 127.0.0.1 and a port of its own. Sourced by bash.
#
#   docker_registry_start DIR [WORD...]     sets DOCKER_REGISTRY (host:port) and
#                                           DOCKER_REGISTRY_PID. Words:
#       plain           which it is anyway
#       tls             DIR/tls/ca.pem is the CA
#       htpasswd        Basic; who may in: docker_registry_user
#       token           Bearer, of the token server that was started before
#       proxy=URL       a pull-through cache of another; not with the other's DIR
#       redirect=URL    blobs are elsewhere (docker_registry_blobs)
#       port=N          that port, as after a restart
#   docker_registry_user DIR NAME PASSWORD  known from now on, to htpasswd and tokens
#   docker_registry_tokens DIR [OPTION of token_server.py...]   before `token`: sets
#                                           TOKEN_SERVER (host:port), TOKEN_SERVER_PID;
#                                           journal DIR/tokens.log
#   docker_registry_blobs DIR               before `redirect`: nginx with the blobs of DIR,
#                                           sets BLOBS (host:port), BLOBS_PID; DIR/blobs.log
#                                           has a line "METHOD URI STATUS RANGE|AUTHORIZATION"
#                                           a request, - for what did not come
#   docker_registry_push LAYOUT TAG REPOSITORY[:TAG]    manifests and blobs byte for byte
#   docker_registry_stop
#
# Files lie below DIR. Several instances may share DIR: call start for each, keep the PIDs.

docker_registry_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

docker_registry_start() {
    local dir=$1 name port=0 http= more= word config log try
    shift
    name=registry$(printf -- '-%s' "${@:-plain}" | tr -c 'a-z0-9-' -)
    config=$dir/$name.yml
    log=$dir/$name.log
    mkdir -p "$dir/data"
    local storage="filesystem: {rootdirectory: $dir/data}, delete: {enabled: true}"
    for word in "$@"; do
        case $word in
        plain) ;;
        tls)
            python3 "$docker_registry_here/tls.py" "$dir/tls"
            http=", tls: {certificate: $dir/tls/server.pem, key: $dir/tls/server.key}"
            ;;
        htpasswd) more+="auth: {htpasswd: {realm: kit, path: $dir/htpasswd}}"$'\n' ;;
        token) more+=$(docker_registry_token_auth "$dir")$'\n' ;;
        proxy=*) more+="proxy: {remoteurl: \"${word#*=}\"}"$'\n' ;;
        redirect=*) more+=$(docker_registry_elsewhere "${word#*=}")$'\n' ;;
        port=*) port=${word#*=} ;;
        *)
            echo "no word '$word'" >&2
            return 1
            ;;
        esac
    done
    cat >"$config" <<YML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {$storage}
http: {addr: "127.0.0.1:$port", secret: fixed$http}
$more
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

docker_registry_token_auth() { # DIR
    local scheme=http
    grep -qs '^https$' "$1/tokens.scheme" && scheme=https
    cat <<YML
auth:
  token:
    realm: "$scheme://$TOKEN_SERVER/token"
    service: kit-registry
    issuer: kit-issuer
    rootcertbundle: $1/token.pem
YML
}

docker_registry_elsewhere() { # URL
    echo "middleware: {storage: [{name: redirect, options: {baseurl: \"$1\"}}]}"
}

docker_registry_user() { # DIR NAME PASSWORD
    mkdir -p "$1"
    printf '%s:%s\n' "$2" "$3" >>"$1/users"
    python3 -W ignore - "$2" "$3" >>"$1/htpasswd" <<'PYTHON'
import crypt
import sys
salt = crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)
print(f"{sys.argv[1]}:{crypt.crypt(sys.argv[2], salt)}")
PYTHON
}

docker_registry_ready() { # FILE: sourced once it is there
    local try
    for try in $(seq 100); do
        [ ! -e "$1" ] || break
        sleep 0.1
    done
    # shellcheck disable=SC1090 # made by our own servers
    . "$1"
}

docker_registry_tokens() { # DIR [OPTION...]
    local dir=$1
    shift
    mkdir -p "$dir"
    touch "$dir/users"
    rm -f "$dir/tokens.port"
    case " $* " in
    *' --tls '*) echo https >"$dir/tokens.scheme" ;;
    *) echo http >"$dir/tokens.scheme" ;;
    esac
    python3 "$docker_registry_here/token_server.py" --dir "$dir" --journal "$dir/tokens.log" \
        --port-file "$dir/tokens.port" "$@" &
    TOKEN_SERVER_PID=$!
    docker_registry_ready "$dir/tokens.port"
}

docker_registry_blobs() { # DIR
    mkdir -p "$1/data"
    rm -f "$1/blobs.port"
    python3 "$docker_registry_here/nginx.py" "$1" blobs <<CONF &
log_format seen '\$request_method \$uri \$status \$http_range|\$http_authorization';
access_log $1/blobs.log seen;
server { listen @LISTEN@; root $1/data; }
CONF
    BLOBS_PID=$!
    docker_registry_ready "$1/blobs.port"
    BLOBS=$NGINX
}

docker_registry_push() {
    skopeo copy --quiet --preserve-digests --dest-tls-verify=false \
        "oci:$1:$2" "docker://$DOCKER_REGISTRY/$3"
}

docker_registry_stop() {
    kill "$DOCKER_REGISTRY_PID" 2>/dev/null || true
    wait "$DOCKER_REGISTRY_PID" 2>/dev/null || true
}
