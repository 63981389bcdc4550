#!/bin/bash
# Credentials: where login leaves them, where mounts find them, who looks for them; and
# where the password of these tests must never be seen.
# limit: 90
. "$(dirname "$0")/lib.sh"
unset REGISTRY_AUTH_FILE DOCKER_CONFIG KITOPS_HOME
PASSWORD=hidden-3141592653
kit_file=$HOME/.local/share/kitops/credentials.json
size=5000000

let_in() { # USER PASSWORD: nobody else, from now on
    python3 -W ignore -c 'import crypt, sys
salt = crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)
print(f"{sys.argv[1]}:{crypt.crypt(sys.argv[2], salt)}")' "$@" >"$TMP/htpasswd.new"
    mv "$TMP/htpasswd.new" "$TMP/htpasswd"
}

# A kit of one file in a registry that lets ci in: sets REG, KIT.
closed_registry() {
    need docker-registry skopeo
    make_kit v1 "model:model/w.bin:$size"
    docker_registry "$TMP"
    docker_registry_push "$TMP/layout" v1 a/kit:v1
    docker_registry_stop
    let_in ci "$PASSWORD"
    cat >"$TMP/closed.yml" <<YML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $TMP/data}}
http: {addr: "127.0.0.1:0", secret: fixed}
auth: {htpasswd: {realm: kit, path: $TMP/htpasswd}}
YML
    docker-registry serve "$TMP/closed.yml" >"$TMP/closed.log" 2>&1 &
    DOCKER_REGISTRY_PID=$!
    until_true 10 grep -q 'listening on' "$TMP/closed.log" || fail "no registry"
    REG=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$TMP/closed.log")
    KIT=$REG/a/kit:v1
}

log_in() { # [OPTIONS]
    kit login --plain-http "$REG" -u ci --password-stdin "$@" <<<"$PASSWORD"
}

entry() { # FILE PASSWORD: as docker writes it
    mkdir -p "$(dirname "$1")"
    jq -n --arg reg "$REG" --arg auth "$(printf 'ci:%s' "$2" | base64 -w 0)" \
        '{auths: {($reg): {auth: $auth}}}' >"$1"
}

helper() { # SUFFIX: a program for docker's file, that gives what is in $TMP/secret
    mkdir -p "$TMP/bin" "$HOME/.docker"
    cat >"$TMP/bin/docker-credential-$1" <<SH
#!/bin/sh
read -r server
echo "\$1 \$server" >>"$TMP/asked"
echo "\$PPID" >"$TMP/parent"
cat "/proc/\$PPID/comm" >"$TMP/parent.comm"
awk '{print \$4}' "/proc/\$PPID/stat" >"$TMP/grandparent"
ls -l /proc/self/fd >"$TMP/fds"
tr '\\0' '\\n' </proc/self/environ >"$TMP/environ"
printf '{"ServerURL":"%s","Username":"ci","Secret":"%s"}' "\$server" "\$(cat "$TMP/secret")"
SH
    chmod +x "$TMP/bin/docker-credential-$1"
    PATH=$TMP/bin:$PATH
    jq -n --arg reg "$REG" --arg suffix "$1" '{credHelpers: {($reg): $suffix}}' \
        >"$HOME/.docker/config.json"
}

nowhere() { # FILE...: the password is not there, nor its form in a header
    local encoded
    encoded=$(printf 'ci:%s' "$PASSWORD" | base64 -w 0)
    [ -r "${@: -1}" ] || fail "no ${*: -1} to look into"
    ! grep -qaF -e "$PASSWORD" -e "$encoded" "$@" || fail "a password in one of $*"
}

case_login_then_mount() {
    closed_registry
    refused "401.*kitfs login $REG" kit mount --plain-http "$KIT" "$MNT"
    log_in 2>"$TMP/said"
    grep -q "^Logged in to $REG; kept in $kit_file$" "$TMP/said" || fail "$(cat "$TMP/said")"
    equal "$(stat -c %a "$kit_file")" 600 "mode of the file"
    equal "$(jq -r ".auths.\"$REG\".auth" "$kit_file" | base64 -d)" "ci:$PASSWORD" "entry"
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 "$size"
    nowhere "$MNT/.kitfs/status.json"
    umount_kit
    docker_registry_stop
}

case_login_that_is_refused() {
    closed_registry
    refused "does not take these credentials" \
        kit login --plain-http "$REG" -u ci --password-stdin <<<"wrong"
    [ ! -e "$kit_file" ] || fail "it is kept all the same"
    refused "needs -u" kit login --plain-http "$REG" --password-stdin <<<"$PASSWORD"
    refused "no terminal" kit login --plain-http "$REG" </dev/null
    refused "password is empty" kit login --plain-http "$REG" -u ci --password-stdin </dev/null
    refused "no host" kit login --plain-http "a host" -u ci --password-stdin <<<"$PASSWORD"
    docker_registry_stop
    refused "Cannot log in to $REG" log_in
    [ ! -e "$kit_file" ] || fail "it is kept all the same"
}

case_logout() {
    closed_registry
    log_in
    kit logout "$REG" 2>"$TMP/said"
    grep -q "^Removed the login to $REG from $kit_file$" "$TMP/said" || fail "$(cat "$TMP/said")"
    refused 401 kit mount --plain-http "$KIT" "$MNT"
    kit logout "$REG" 2>"$TMP/said"
    grep -q "^There was no login to $REG in $kit_file$" "$TMP/said" || fail "$(cat "$TMP/said")"
    docker_registry_stop
}

# What login does not know stays, and other programs read what it writes.
case_login_into_a_file_that_is_there() {
    closed_registry
    echo '{"HttpHeaders": {"X": "y"}, "auths": {"o.io": {"auth": "bzpw"}}}' >"$TMP/auth.json"
    log_in --authfile auth.json
    equal "$(jq -c '[.HttpHeaders.X, .auths["o.io"].auth, (.auths | length)]' "$TMP/auth.json")" \
        '["y","bzpw",2]' "what was there"
    skopeo inspect --raw --tls-verify=false --authfile "$TMP/auth.json" "docker://$KIT" >/dev/null
    [ ! -e "$kit_file" ] || fail "kept in kit's file, too"
    docker_registry_stop
}

case_every_way_to_name_a_file() {
    closed_registry
    entry "$TMP/auth.json" "$PASSWORD"
    refused 401 kit ls --plain-http "$KIT"
    kit ls --plain-http --authfile auth.json "$KIT" >"$TMP/listed"
    grep -q model "$TMP/listed" || fail "nothing is listed"
    KITFS_AUTHFILE=auth.json kit cat --plain-http "$KIT" Kitfile >/dev/null
    REGISTRY_AUTH_FILE=auth.json kit inspect --plain-http "$KIT" >/dev/null
    XDG_RUNTIME_DIR=$TMP/run
    export XDG_RUNTIME_DIR
    entry "$TMP/run/containers/auth.json" "$PASSWORD"
    kit list --plain-http "$REG/a/kit" >/dev/null
    unset XDG_RUNTIME_DIR
    mkdir -p "$MNT"
    kit mount "$KIT" "$MNT" -o plain_http,authfile=auth.json
    check_bytes "$MNT/model/w.bin" 1 0 "$size"
    umount_kit
    refused "auth.none" kit mount --plain-http --authfile auth.none "$KIT" "$MNT"
    docker_registry_stop
}

# By a child of the keeper, which has none of the keeper's files.
case_helper_of_a_mount() {
    closed_registry
    helper x
    printf %s "$PASSWORD" >"$TMP/secret"
    KITFS_LOG=$TMP/log mount_kit "$KIT" --log-level trace
    check_bytes "$MNT/model/w.bin" 1 0 "$size"
    equal "$(sort -u "$TMP/asked")" "get $REG" "what it was asked"
    equal "$(cat "$TMP/parent.comm")" kitfs-creds "its parent"
    equal "$(cat "$TMP/grandparent")" "$(status_of pid_keeper)" "its parent's parent"
    gone "$(cat "$TMP/parent")" || fail "the child is still there"
    ! grep -q 'fuse\|socket' "$TMP/fds" || fail "it has $(cat "$TMP/fds")"
    for pid in "$(status_of pid_keeper)" "$(status_of pid_worker)"; do
        nowhere "/proc/$pid/cmdline"
    done
    nowhere "$TMP/environ" "$TMP/log" "$MNT/.kitfs/status.json"
    umount_kit
    docker_registry_stop
}

case_helper_of_a_mount_in_the_foreground() {
    closed_registry
    helper x
    printf %s "$PASSWORD" >"$TMP/secret"
    mkdir -p "$MNT"
    within 60 "$KITFS" mount -f --plain-http "$KIT" "$MNT" &
    local mount=$!
    until_true 20 mounted || fail "not mounted"
    check_bytes "$MNT/model/w.bin" 1 0 "$size"
    equal "$(cat "$TMP/grandparent")" "$(status_of pid_keeper)" "its parent's parent"
    umount_kit
    wait "$mount"
    docker_registry_stop
}

case_helper_that_fails() {
    closed_registry
    helper x
    echo '{"credsStore": "not-there"}' >"$HOME/.docker/config.json"
    refused "docker-credential-not-there.*not installed" kit mount --plain-http "$KIT" "$MNT"
    printf '#!/bin/sh\necho the keyring is locked\nexit 1\n' >"$TMP/bin/docker-credential-x"
    echo '{"credsStore": "x"}' >"$HOME/.docker/config.json"
    refused "docker-credential-x.*the keyring is locked" kit ls --plain-http "$KIT"
    docker_registry_stop
}

case_login_by_a_helper() {
    closed_registry
    mkdir -p "$TMP/bin" "$(dirname "$kit_file")"
    cat >"$TMP/bin/docker-credential-x" <<SH
#!/bin/sh
case \$1 in
store) cat >"$TMP/stored" ;;
get) cat "$TMP/stored" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm "$TMP/stored" ;;
esac
SH
    chmod +x "$TMP/bin/docker-credential-x"
    PATH=$TMP/bin:$PATH
    echo '{"credsStore": "x"}' >"$kit_file"
    log_in 2>"$TMP/said"
    grep -q "kept in docker-credential-x$" "$TMP/said" || fail "$(cat "$TMP/said")"
    nowhere "$kit_file"
    kit ls --plain-http "$KIT" >/dev/null
    kit logout "$REG"
    [ ! -e "$TMP/stored" ] || fail "the helper still has it"
    refused 401 kit ls --plain-http "$KIT"
    docker_registry_stop
}

# A secret of Kubernetes, changed under the mount as Kubernetes does it: by a link.
case_changed_under_the_mount() {
    closed_registry
    entry "$TMP/secret/..1/.dockerconfigjson" "$PASSWORD"
    ln -s ..1 "$TMP/secret/..data"
    ln -s ..data/.dockerconfigjson "$TMP/secret/.dockerconfigjson"
    mount_kit "$KIT" --authfile secret/.dockerconfigjson
    check_bytes "$MNT/model/w.bin" 1 0 100000
    let_in ci another
    entry "$TMP/secret/..2/.dockerconfigjson" another
    ln -s ..2 "$TMP/secret/..new"
    mv -T "$TMP/secret/..new" "$TMP/secret/..data"
    check_bytes "$MNT/model/w.bin" 1 4000000 1000000
    umount_kit
    docker_registry_stop
}

typed() { # QUESTION=ANSWER... -- COMMAND...
    within 60 python3 "$here/typed.py" "$TMP/terminal" "$@"
}

case_password_at_a_terminal() {
    closed_registry
    typed Username=ci "Password=$PASSWORD" -- "$KITFS" login --plain-http "$REG"
    grep -q "Logged in to $REG" "$TMP/terminal" || fail "$(cat "$TMP/terminal")"
    nowhere "$TMP/terminal"
    equal "$(tail -n 1 "$TMP/terminal")" "echo on" "the terminal afterwards"
    kit ls --plain-http "$KIT" >/dev/null
    docker_registry_stop
}

case_interrupted_at_a_terminal() {
    REG=registry.example
    local status=0
    typed Password=^C -- "$KITFS" login "$REG" -u ci || status=$?
    [ "$status" -gt 128 ] || fail "exit status $status"
    equal "$(tail -n 1 "$TMP/terminal")" "echo on" "the terminal afterwards"
    [ ! -e "$kit_file" ] || fail "something is kept"
}

# While the password is on its way in.
case_password_is_in_no_argument() {
    closed_registry
    mkfifo "$TMP/pipe"
    kit login --plain-http "$REG" -u ci --password-stdin --log-level trace <"$TMP/pipe" \
        2>"$TMP/said" &
    local login=$!
    exec 5>"$TMP/pipe"
    echo "$PASSWORD" >&5
    sleep 0.2
    nowhere /proc/[0-9]*/cmdline "/proc/$login/cmdline"
    exec 5>&-
    wait "$login"
    nowhere "$TMP/said"
    docker_registry_stop
}

run_case "$@"
