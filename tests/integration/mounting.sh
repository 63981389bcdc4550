#!/bin/bash
# Mounting and unmounting: hand-shake, signals, errors, exit codes, and the small verbs.
. "$(dirname "$0")/lib.sh"

case_ready_and_umount() {
    serve_kit 16M
    mount_kit "$KIT" 2>"$TMP/stderr" >"$TMP/stdout"
    equal "$(wc -c <"$TMP/stdout")" 0 "bytes on stdout"
    grep -Eq "^$KIT@sha256:[0-9a-f]+\.\.\. from the registry" "$TMP/stderr" || fail "first line"
    grep -q '^Ready in .* s: 2 files, ' "$TMP/stderr" || fail "ready line"
    grep -q " $MNT fuse.kitfs ro,nosuid,nodev" <(awk '{
        for (i = 7; $i != "-"; i++); print " " $5, $(i + 1), $6 }' /proc/self/mountinfo) ||
        fail "mount options: $(grep "$MNT" /proc/self/mountinfo)"
    grep -q "$KIT@sha256:" /proc/self/mountinfo || fail "the reference is no fsname"
    test -r "$MNT/model/w.bin"
    umount_kit
}

case_quiet() {
    serve_kit 16M
    mount_kit "$KIT" -q 2>"$TMP/stderr"
    equal "$(cat "$TMP/stderr")" "" "stderr with -q"
    umount_kit
}

# What belongs to the mount closes its files: a pipe of the caller ends at once.
case_background_lets_go() {
    serve_kit 16M
    mkdir "$MNT"
    out=$(within 20 "$KITFS" mount --plain-http "$KIT" "$MNT" 2>&1 | cat)
    grep -q Ready <<<"$out"
    umount_kit
}

signal_unmounts() { # SIGNAL
    serve_kit 16M
    mkdir "$MNT"
    "$KITFS" mount -f --plain-http "$KIT" "$MNT" 2>"$TMP/log" &
    front=$!
    until_true 20 test -e "$MNT/model/w.bin" || fail "not mounted: $(cat "$TMP/log")"
    check_bytes "$MNT/model/w.bin" 1 0 4096
    began=$(milliseconds)
    kill "-$1" "$front"
    status=0
    wait "$front" || status=$?
    at_most $(($(milliseconds) - began)) 2000 "milliseconds to end"
    equal "$status" 0 "exit status after SIG$1"
    ! mounted || fail "still mounted"
}

case_sigterm() {
    signal_unmounts TERM
}

case_ctrl_c() {
    signal_unmounts INT
}

case_sigterm_in_background() {
    serve_kit 16M
    mount_kit "$KIT"
    keeper=$(status_of pid_keeper)
    worker=$(status_of pid_worker)
    kill -TERM "$keeper"
    until_true 2 gone "$keeper" && until_true 2 gone "$worker" || fail "still running"
    ! mounted || fail "still mounted"
}

# umount(8) and fusermount3 end it as well.
case_unmounted_by_others() {
    serve_kit 16M
    mount_kit "$KIT"
    keeper=$(status_of pid_keeper)
    if [ "$(id -u)" = 0 ]; then umount "$MNT"; else fusermount3 -u "$MNT"; fi
    until_true 2 gone "$keeper" || fail "the keeper is still there"
}

# What the disk still has to do holds nobody; strace makes it slow.
case_umount_while_the_disk_is_busy_as_root() {
    need strace
    serve_kit 16M
    mount_kit "$KIT"
    keeper=$(status_of pid_keeper)
    worker=$(status_of pid_worker)
    strace -f -qq -p "$worker" -e trace=fdatasync -e inject=fdatasync:delay_enter=8s \
        2>"$TMP/strace" &
    tracer=$!
    until_true 10 grep -q "^TracerPid:[[:space:]]*$tracer" "/proc/$worker/status" ||
        fail "not traced: $(cat "$TMP/strace")"
    check_bytes "$MNT/model/w.bin" 1 0 0
    until_true 10 grep -q fdatasync "$TMP/strace" || fail "nothing is synced"
    began=$(milliseconds)
    kit umount "$MNT"
    at_most $(($(milliseconds) - began)) 1500 "milliseconds of umount"
    gone "$keeper" || fail "the keeper is still there"
    until_true 30 gone "$worker" || fail "the worker is still there"
    wait "$tracer" || true
}

# Both processes are apart, and the worker has nothing to lose.
case_worker_without_privilege() {
    serve_kit 16M
    mount_kit "$KIT"
    worker=$(status_of pid_worker)
    [ "$worker" != "$(status_of pid_keeper)" ] || fail "one process"
    for set in CapEff CapPrm CapInh; do
        equal "$(awk -v set="$set:" '$1 == set {print $2}' "/proc/$worker/status")" \
            0000000000000000 "$set of the worker"
    done
    equal "$(awk '$1 == "NoNewPrivs:" {print $2}' "/proc/$worker/status")" 1 "no_new_privs"
    umount_kit
}

case_worker_dies() {
    serve_kit 16M
    mount_kit "$KIT"
    keeper=$(status_of pid_keeper)
    kill -KILL "$(status_of pid_worker)"
    # Replacing it is a later promise; hanging would break an old one.
    within 10 stat "$MNT/model" >"$TMP/stat" 2>&1 || [ $? -eq 1 ] || fail "stat hangs"
    kit umount "$MNT" 2>"$TMP/stderr" || true
    ! mounted || fail "still mounted"
    until_true 2 gone "$keeper" || fail "the keeper is still there"
}

case_busy() {
    serve_kit 16M
    mount_kit "$KIT"
    (cd "$MNT" && exec sleep 60) &
    holder=$!
    until_true 5 holds "$holder"
    refused "Cannot unmount $MNT: .*sleep \($holder\)" kit umount "$MNT"
    keeper=$(status_of pid_keeper)
    began=$(milliseconds)
    kit umount --lazy "$MNT"
    at_most $(($(milliseconds) - began)) 2500 "milliseconds of umount --lazy"
    ! mounted || fail "still mounted"
    kill "$holder" # the last user gone, the rest goes too
    until_true 2 gone "$keeper" || fail "the keeper is still there"
}

holds() { # PID
    [ "$(readlink "/proc/$1/cwd")" = "$MNT" ]
}

case_umount_of_other_things() {
    mkdir "$MNT"
    refused "Cannot unmount $MNT" kit umount "$MNT"
    refused "Cannot unmount $TMP/none" kit umount "$TMP/none"
}

case_unknown_tag_and_repository() {
    serve_kit 16M
    refused "Cannot mount $KIT.*" kit mount --plain-http "$KIT" /proc/nowhere
    refused "Cannot mount $REG/kit:v11?.*no such tag.*did you mean v1" \
        kit mount --plain-http "$REG/kit:v11" "$MNT"
    refused "Cannot mount $REG/none:v1" kit mount --plain-http "$REG/none:v1" "$MNT"
    refused "Cannot read $REG/none:v1|Cannot (list|cat|show) " \
        kit cat --plain-http "$REG/none:v1" x
    ! mounted || fail "mounted"
}

case_bad_references() {
    make_kit v1 docs:README.md:10K
    for ref in '' ':' 'UPPER.x/Case:v1' 'a.b/c:' 'a.b/c@sha256:12' 'a.b/../c:v1' \
        "oci:$TMP/none:v1" "oci:$TMP/layout:v2"; do
        refused 'Cannot mount' kit mount "$ref" "$MNT"
    done
    refused "kit's store" kit mount "store:x:v1" "$MNT"
}

# No tag: a layout with one kit needs none; a registry's is `latest`, as in kit.
case_no_tag() {
    make_kit latest docs:README.md:10K
    registry_start --layout "kit=$TMP/layout"
    mount_kit "oci:$TMP/layout"
    umount_kit
    mount_kit "$REG/kit" 2>"$TMP/stderr"
    grep -q latest "$TMP/stderr" || fail "latest is not mentioned"
    umount_kit
}

case_directory_rules() {
    serve_kit 16M
    mkdir -p "$TMP/full/x"
    refused "Cannot mount .*empty" kit mount --plain-http "$KIT" "$TMP/full"
    : >"$TMP/file"
    refused "Cannot mount" kit mount --plain-http "$KIT" "$TMP/file"
    kit mount --plain-http "$KIT" "$MNT" # made when missing
    mounted || fail "not mounted"
    refused "Cannot mount" kit mount --plain-http "$KIT" "$MNT"
    umount_kit
}

# Killed with nobody to unmount: ENOTCONN, which the next mount clears and says so.
case_dead_mount_is_cleared() {
    serve_kit 16M
    mount_kit "$KIT"
    keeper=$(status_of pid_keeper)
    worker=$(status_of pid_worker)
    kill -STOP "$keeper" "$worker" # so that neither sees the other die and tidies up
    kill -KILL "$keeper" "$worker"
    until_true 5 gone "$worker" && until_true 5 gone "$keeper" || fail "not killed"
    mounted || fail "no dead mount to test with"
    mount_kit "$KIT" 2>"$TMP/stderr"
    grep -qi 'dead' "$TMP/stderr" || fail "nothing is said: $(cat "$TMP/stderr")"
    test -r "$MNT/model/w.bin"
    umount_kit
}

case_help_and_mistakes() {
    kit --help | grep -q mount
    for verb in mount umount ls cat list status version doctor; do
        kit "$verb" --help >"$TMP/help" || fail "help of $verb"
        grep -q "kitfs $verb" "$TMP/help" || fail "help of $verb"
        kit "$verb" -h | diff "$TMP/help" - || fail "-h of $verb"
    done
    refused "did you mean.*mount" kit muont
    refused "did you mean --prefetch" kit mount --prefecth none a b
    refused '.' kit mount onlyone
    refused '.' kit mount --prefetch sometimes a.b/c:v1 "$MNT"
    refused '.' kit mount --cache-size lots a.b/c:v1 "$MNT"
    refused '.' kit
}

case_version() {
    kit version | grep -Eq '[0-9]+\.[0-9]+\.[0-9]+' || fail "no version"
}

case_options_from_o_and_environment() {
    serve_kit 16M
    mkdir "$MNT"
    kit mount -o "ro,plain-http,prefetch=none,umask=077" "$KIT" "$MNT"
    equal "$(stat -c %a "$MNT/model/w.bin")" 600 "mode with umask=077"
    umount_kit
    KITFS_PLAIN_HTTP=true KITFS_UMASK=027 kit mount "$KIT" "$MNT"
    equal "$(stat -c %a "$MNT/model/w.bin")" 640 "mode with KITFS_UMASK=027"
    umount_kit
    KITFS_UMASK=027 kit mount --plain-http --umask 022 "$KIT" "$MNT"
    equal "$(stat -c %a "$MNT/model/w.bin")" 644 "the command line wins"
    equal "$(stat -c %u:%g "$MNT/model/w.bin")" "$(id -u):$(id -g)" "owner"
    umount_kit
}

case_status() {
    serve_kit 16M
    mount_kit "$KIT"
    check_bytes "$MNT/model/w.bin" 1 0 0
    kit status >"$TMP/status"
    grep -Eq "^$MNT +$KIT.* unverified " "$TMP/status" || fail "status: $(cat "$TMP/status")"
    kit status "$MNT" >"$TMP/status"
    grep -q '100%' "$TMP/status" || fail "local share: $(cat "$TMP/status")"
    kit status --json "$MNT" | jq -e --argjson kitfile "$(stat -c %s "$MNT/Kitfile")" '
        (if type == "array" then .[0] else . end) |
        .state == "unverified" and .files == 2 and .size_bytes - $kitfile == 16777216 and
        .local_bytes == .size_bytes and .counters.fetched_bytes >= 16777216' \
        >"$TMP/verdict" || fail "status --json"
    within 5 ls -a "$MNT" >"$TMP/listing"
    ! grep -q kitfs "$TMP/listing" || fail ".kitfs is in a listing"
    umount_kit
    refused 'mounted' kit status "$MNT"
}

case_list() {
    make_kit v2 docs:README.md:10K
    serve_kit 1M
    equal "$(kit list --plain-http "$REG/kit" | grep -Eo '\bv[0-9]' | sort | tr '\n' ' ')" \
        "v1 v2 " "tags"
    refused "Cannot list" kit list --plain-http "$REG/none"
}

case_cat_ranges() {
    serve_kit 40M
    kit cat --plain-http "$KIT" model/w.bin | python3 "$here/compare.py" 1
    equal "$(kit cat --plain-http --offset 20M --length 1000 "$KIT" model/w.bin |
        sha256sum)" "$(python3 -c '
import sys
sys.path.insert(0, sys.argv[1])
import content
sys.stdout.buffer.write(content.pattern_bytes(1, 20 << 20, 1000))' "$rig" | sha256sum)" \
        "a range"
    refused 'Cannot' kit cat --plain-http "$KIT" model/none
    refused 'Cannot' kit cat --plain-http "$KIT" model
    refused 'Cannot' kit ls --plain-http "$KIT" none
    equal "$(kit ls --plain-http "$KIT" model)" "w.bin" "ls of a folder"
    kit ls -l --plain-http "$KIT" model/w.bin | grep -q 'rw-r--r--' || fail "ls -l"
    kit ls -R --json --plain-http "$KIT" | jq -e . >"$TMP/json"
}

case_doctor() {
    serve_kit 1M
    kit doctor >"$TMP/doctor" || fail "$(cat "$TMP/doctor")"
    grep -q '^ok .*/dev/fuse' "$TMP/doctor" || fail "$(cat "$TMP/doctor")"
    grep -q "^ok .*$KITFS_CACHE_DIR" "$TMP/doctor" || fail "$(cat "$TMP/doctor")"
    kit doctor --plain-http "$KIT" >"$TMP/doctor" || fail "$(cat "$TMP/doctor")"
    grep -q '^ok .*range' "$TMP/doctor" || fail "$(cat "$TMP/doctor")"
    ! kit doctor --plain-http "$REG/none:v1" >"$TMP/doctor" || fail "doctor is content"
    grep -q '^fail' "$TMP/doctor" || fail "$(cat "$TMP/doctor")"
}

# mount(8) calls us as mount.fuse.kitfs.
case_mount_helper() {
    serve_kit 16M
    ln -s "$KITFS" "$TMP/mount.fuse.kitfs"
    mkdir "$MNT"
    within 50 "$TMP/mount.fuse.kitfs" "$KIT" "$MNT" -o ro,plain-http,prefetch=none
    check_bytes "$MNT/model/w.bin" 1 0 4096
    umount_kit
    status=0
    within 50 "$TMP/mount.fuse.kitfs" "$REG/none:v1" "$MNT" -o plain-http 2>"$TMP/err" ||
        status=$?
    equal "$status" 32 "exit status of a mount helper that failed"
}

run_case "$@"
