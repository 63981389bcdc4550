# What the test scripts share. Sourced by bash; the runner (./run) sets TMP, KITFS, HOME and
# KITFS_CACHE_DIR, and ends whatever a test leaves behind.
#
# A test fails where a command fails. A script with functions case_NAME ends with:
#     run_case "$@"
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tests=$(dirname "$here")
rig=$tests/registry
MNT=$TMP/mnt
# Reports of sanitizers change what memory means.
if [ -z "${SANITIZED+x}" ]; then
    SANITIZED=$(grep -qa __asan_init "$KITFS" && echo 1 || true)
fi
trap 'echo "line $LINENO of $(basename "$0"): $BASH_COMMAND" >&2' ERR

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

skip() {
    echo "skip: $*"
    exit 77
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "no $program"
    done
}

run_case() {
    CASE=$1
    "case_$CASE"
}

within() { # SECONDS COMMAND...: everything that touches a mount has a limit
    timeout -s KILL "$@"
}

kit() { # any verb of kitfs
    within 50 "$KITFS" "$@"
}

equal() { # ACTUAL EXPECTED WHAT
    [ "$1" = "$2" ] || fail "$3: '$1' where '$2' is expected"
}

at_most() { # NUMBER LIMIT WHAT
    [ "$1" -le "$2" ] || fail "$3: $1, at most $2"
}

milliseconds() {
    echo $(($(date +%s%N) / 1000000))
}

until_true() { # SECONDS COMMAND...
    local end=$(($(milliseconds) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(milliseconds)" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# Runs a command that must fail: exit status 1, nothing on stdout, and one line on stderr
# that begins with [ERROR] and matches the pattern. It is kept in $TMP/error.
refused() { # PATTERN COMMAND...
    local pattern=$1 status=0
    shift
    "$@" >"$TMP/output" 2>"$TMP/stderr" || status=$?
    grep '^\[ERROR\]' "$TMP/stderr" >"$TMP/error" || true
    if [ "$status" -ne 1 ] || [ "$(wc -l <"$TMP/error")" -ne 1 ] ||
        ! grep -Eqi -- "$pattern" "$TMP/error"; then
        cat "$TMP/stderr"
        fail "'$*' ended with $status; expected 1 and one [ERROR] line like '$pattern'"
    fi
}

# --- the registry -----------------------------------------------------------------------

# shellcheck source=tests/registry/docker_registry.sh
. "$rig/docker_registry.sh"

registry_start() { # ARGUMENTS of registry.py: sets REG (host:port), CONTROL, REDIRECT
    local ports=$TMP/ports.$RANDOM
    python3 "$rig/registry.py" --journal "$TMP/journal" --port-file "$ports" "$@" &
    REGISTRY_PID=$!
    until_true 20 test -e "$ports" || fail "the registry does not start"
    # shellcheck disable=SC1090 # made by registry.py
    . "$ports"
    REG=127.0.0.1:$PORT
}

docker_registry() { # DIR [WORD...]: sets DOCKER_REGISTRY (host:port)
    need docker-registry
    docker_registry_start "$@"
}

registry_stop() {
    kill "$REGISTRY_PID"
    wait "$REGISTRY_PID" 2>/dev/null || true
}

control() {
    python3 "$rig/ctl.py" "$CONTROL" "$@"
}

rule() { # JSON...
    control rule "$@"
}

requests() { # FILTER...: how many the journal holds
    control count "$@" | cut -d ' ' -f 1
}

sent() { # FILTER...: body bytes of them
    control count "$@" | cut -d ' ' -f 2
}

make_kit() { # ARGUMENTS of mkkit.py after the layout: into $TMP/layout
    python3 "$rig/mkkit.py" "$TMP/layout" "$@" >"$TMP/manifest-digest"
}

# One file whose bytes are known: model/w.bin (seed 1) in $TMP/layout, served as kit:v1.
serve_kit() { # SIZE [ARGUMENTS of registry.py]
    make_kit v1 "model:model/w.bin:$1"
    shift
    registry_start --layout "kit=$TMP/layout" "$@"
    KIT=$REG/kit:v1
}

check_bytes() { # FILE SEED OFFSET LENGTH: compares with what content.py says
    within 50 python3 "$here/bytes.py" "$@"
}

# --- mounts -----------------------------------------------------------------------------

mount_kit() { # REF [OPTIONS]: at $MNT, without prefetch unless told otherwise
    local ref=$1
    shift
    mkdir -p "$MNT"
    kit mount --plain-http --prefetch none "$@" "$ref" "$MNT"
}

# Within two seconds, and no process stays; a disk that is busy may hold the worker.
umount_kit() { # [OPTIONS]
    local began keeper worker
    keeper=$(status_of pid_keeper || true)
    worker=$(status_of pid_worker || true)
    began=$(milliseconds)
    kit umount "$@" "$MNT"
    at_most $(($(milliseconds) - began)) 2000 "milliseconds of umount"
    ! mounted || fail "still mounted after umount"
    for pid in $keeper $worker; do
        until_true 30 gone "$pid" || fail "process $pid is there after umount"
    done
}

mounted() {
    grep -q " / $MNT ro,.* - fuse.kitfs " /proc/self/mountinfo
}

# Not there, or a zombie that only waits for its parent. (The first thread of a dying
# process is a zombie before the others have closed its files.)
gone() { # PID
    [ ! -e "/proc/$1" ] || { grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" &&
        [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 | wc -l)" -le 1 ]; } 2>/dev/null
}

status_of() { # FIELD, as jq names it below the top
    within 5 jq -r ".$1" "$MNT/.kitfs/status.json"
}

worker_rss_kib() {
    awk '/^VmRSS/ {print $2}' "/proc/$(status_of pid_worker)/status"
}

# Memory does not follow the size of what is read. A sanitizer multiplies it.
memory_is_bounded() {
    local limit=262144
    [ -z "$SANITIZED" ] || limit=1572864
    at_most "$(worker_rss_kib)" "$limit" "resident KiB of the worker"
}

tree_of() { # DIR: type, mode, size, sha256, path of all below it
    within 50 python3 "$here/tree.py" "$1"
}

expected_tree() { # TSV of tests/data/kits: without set-id bits
    awk -F '\t' -v OFS='\t' '{ $2 = substr($2, length($2) - 2); print }' "$1" |
        sort -t $'\t' -k 5
}

same_tree() { # DIR TSV
    expected_tree "$2" >"$TMP/expected"
    tree_of "$1" | sort -t $'\t' -k 5 >"$TMP/actual"
    diff -u "$TMP/expected" "$TMP/actual" || fail "the tree of $1 differs from $2"
}
