#!/bin/bash
# kitfs unpack: what it leaves, what is in the way, what cuts it off. (That it leaves what
# kit unpack leaves: trees.sh.)
# as root, but for in_the_way|links_.*|wrong_kinds|modes|folder_modes|killed|ctrl_c|left_files_.*|two_at_once|from_the_cache|without_cache_folder
# limit: 120
. "$(dirname "$0")/lib.sh"
MIB=$((1 << 20))
OUT=$TMP/out
WORK=$OUT/.kitfs-unpack

unpack() { # REF [OPTIONS]: into $OUT
    local ref=$1
    shift
    kit unpack --plain-http "$ref" -d "$OUT" "$@"
}

is_right() { # FILE SIZE [SEED]
    equal "$(stat -c %s "$1")" "$2" "size of $1"
    check_bytes "$1" "${3:-1}" 0 "$2"
}

nothing_but() { # NAMES: in $OUT
    equal "$(ls -A "$OUT" | tr '\n' ' ')" "$1" "what is in the folder"
}

# One large file with a table of contents: model/w.bin, served as kit:v1.
serve_packed() { # MIB
    mkdir -p "$TMP/source/model"
    printf 'manifestVersion: "1.0.0"\nmodel:\n  path: model\n' >"$TMP/source/Kitfile"
    python3 - "$rig" "$1" >"$TMP/source/model/w.bin" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import content
for mib in range(int(sys.argv[2])):
    sys.stdout.buffer.write(content.pattern_bytes(1, mib << 20, 1 << 20))
END
    kit pack "$TMP/source" -t "oci:$TMP/layout:v1" -q >"$TMP/digest"
    registry_start --layout "kit=$TMP/layout"
    KIT=$REG/kit:v1
}

unfinished() { # at least so many bytes of it
    local bytes
    bytes=$(du -sb "$WORK" 2>/dev/null | cut -f 1)
    [ "${bytes:-0}" -ge "$1" ]
}

# Over a slow link, until so many bytes are there; sets UNPACK_PID.
begin_slowly() { # BYTES [OPTIONS]
    local bytes=$1
    shift
    control link '{"rate_total": 3e7}'
    "$KITFS" unpack --plain-http "$KIT" -d "$OUT" "$@" >"$TMP/log" 2>&1 &
    UNPACK_PID=$!
    until_true 30 unfinished "$bytes" || fail "it does not come on: $(cat "$TMP/log")"
}

cut_off() { # SIGNAL: its exit status in STATUS
    STATUS=0
    kill "-$1" "$UNPACK_PID"
    wait "$UNPACK_PID" || STATUS=$?
    control link '{}'
}

# --- what is there already --------------------------------------------------------------

case_in_the_way() {
    make_kit v1 model:model/a.bin:100K part:model/b.bin:100K docs:README:1K
    registry_start --layout "kit=$TMP/layout"
    mkdir -p "$OUT/model"
    echo mine >"$OUT/model/b.bin"
    echo mine >"$OUT/README"
    kit ls --plain-http "$REG/kit:v1" >"$TMP/listed" # the tables are in the cache now
    local mark before
    mark=$(control mark)
    before=$(tree_of "$OUT")
    refused "'README' is there already, and 1 more .*-o .*-i" unpack "$REG/kit:v1"
    equal "$(tree_of "$OUT")" "$before" "the folder"
    equal "$(requests "from=$mark" path=blobs)" 0 "blobs asked for"

    unpack "$REG/kit:v1" -i 2>"$TMP/log"
    grep -q 'Unpacked 2 files, .* 2 that were there kept' "$TMP/log" || fail "$(cat "$TMP/log")"
    equal "$(cat "$OUT/model/b.bin" "$OUT/README" | tr '\n' ' ')" "mine mine " "what was there"
    is_right "$OUT/model/a.bin" 102400 1

    exec 9<"$OUT/README"
    unpack "$REG/kit:v1" -o
    is_right "$OUT/README" 1024 3
    is_right "$OUT/model/b.bin" 102400 2
    equal "$(cat <&9)" mine "what a reader of the old file sees"
    nothing_but "Kitfile README model "
}

case_kitfile_in_the_way() {
    make_kit v1 model:w.bin:1K
    mkdir "$OUT"
    echo other >"$OUT/Kitfile"
    refused "'Kitfile' is there already, and is another one .-o" unpack "oci:$TMP/layout:v1"
    refused "'Kitfile' is there already" unpack "oci:$TMP/layout:v1" -i
    nothing_but "Kitfile "
    unpack "oci:$TMP/layout:v1" -o
    kit info "oci:$TMP/layout:v1" | cmp "$OUT/Kitfile" -
    rm "$OUT/w.bin"
    unpack "oci:$TMP/layout:v1" # the same Kitfile is not in the way
    is_right "$OUT/w.bin" 1024
}

case_links_are_not_followed() {
    make_kit v1 model:model/w.bin:1K docs:README:1K
    mkdir -p "$OUT/inside" "$TMP/outside"
    for target in inside "$TMP/outside" nowhere; do
        ln -sfn "$target" "$OUT/model"
        for option in -o -i -q; do
            refused "'model' is a symbolic link" unpack "oci:$TMP/layout:v1" $option
        done
    done
    nothing_but "inside model "
    rm "$OUT/model"
    ln -s "$TMP/outside/file" "$OUT/README"
    refused "'README' is a symbolic link" unpack "oci:$TMP/layout:v1"
    refused "'README' is a symbolic link" unpack "oci:$TMP/layout:v1" -o
    unpack "oci:$TMP/layout:v1" -i
    [ -L "$OUT/README" ] || fail "-i keeps what is there"
    equal "$(ls -A "$TMP/outside")" "" "what is outside"
    rm -r "$OUT"
    ln -s "$TMP/outside" "$OUT" # the folder that was named may be a link
    unpack "oci:$TMP/layout:v1"
    is_right "$TMP/outside/model/w.bin" 1024
}

case_wrong_kinds() {
    make_kit v1 model:model/w.bin:1K
    mkdir -p "$OUT/model/w.bin"
    refused "w.bin' is there already, and is no regular file" unpack "oci:$TMP/layout:v1" -o
    rm -r "$OUT/model"
    echo file >"$OUT/model"
    refused "'model' is there already, and is no folder" unpack "oci:$TMP/layout:v1" -o
    refused "'model' is there already, and is no folder" unpack "oci:$TMP/layout:v1" -i
    rm "$OUT/model"
    mkfifo "$OUT/Kitfile"
    refused "'Kitfile' is there already, and is no regular file" unpack "oci:$TMP/layout:v1" -o
    rm -r "$OUT"
    echo file >"$OUT"
    refused "$OUT.*ot a directory|$OUT.*file" unpack "oci:$TMP/layout:v1"
    make_kit v2 model:.kitfs-unpack/x:1K
    rm "$OUT"
    refused "kitfs-unpack' of its own" unpack "oci:$TMP/layout:v2"
}

case_other_file_system_as_root() {
    make_kit v1 model:model/w.bin:1K
    mkdir -p "$OUT/model"
    mount -t tmpfs none "$OUT/model"
    refused "'model' is on another file system" unpack "oci:$TMP/layout:v1"
    umount "$OUT/model"
    nothing_but "model "
}

# --- what is left -----------------------------------------------------------------------

case_modes() {
    cat >"$TMP/spec" <<'END'
{"layers": [{"kind": "model", "path": "m", "files": [
    {"path": "m/plain", "size": 10}, {"path": "m/secret", "size": 10, "mode": 384},
    {"path": "m/suid", "size": 10, "mode": 3565}, {"path": "m/read", "size": 10, "mode": 292}]}]}
END
    make_kit v1 --spec "$TMP/spec"
    unpack "oci:$TMP/layout:v1"
    equal "$(cd "$OUT" && stat -c '%a %n' m m/* Kitfile | tr '\n' ' ')" \
        "755 m 644 m/plain 444 m/read 600 m/secret 755 m/suid 644 Kitfile " "modes"
    rm -r "$OUT"
    (umask 077 && unpack "oci:$TMP/layout:v1")
    equal "$(cd "$OUT" && stat -c '%a %n' . m m/* Kitfile | tr '\n' ' ')" \
        "700 . 700 m 600 m/plain 400 m/read 600 m/secret 700 m/suid 600 Kitfile " \
        "modes with another umask"
    at_most $(($(date +%s) - $(stat -c %Y "$OUT/m/plain"))) 60 "age"
}

# A folder that its owner may not write into.
case_folder_modes() {
    mkdir -p "$TMP/source/d/e"
    echo hi >"$TMP/source/d/e/f"
    chmod 644 "$TMP/source/d/e/f"
    chmod 500 "$TMP/source/d/e"
    chmod 555 "$TMP/source/d"
    make_kit v1 --context "$TMP/source" model:d
    unpack "oci:$TMP/layout:v1"
    equal "$(cd "$OUT" && stat -c '%a %n' d d/e d/e/f | tr '\n' ' ')" \
        "555 d 500 d/e 644 d/e/f " "modes"
    chmod -R u+w "$OUT" "$TMP/source"
}

case_quiet_and_progress() {
    need script
    make_kit v1 model:w.bin:64M
    registry_start --layout "kit=$TMP/layout"
    equal "$(unpack "$REG/kit:v1" -q 2>&1)" "" "output with -q"
    rm -r "$OUT"
    control link '{"rate_total": 4e7}'
    script -qec "'$KITFS' unpack --plain-http '$REG/kit:v1' -d '$OUT'" /dev/null >"$TMP/screen"
    grep -q 'layer 1 of 1 .*%  .* MiB of 64.0 MiB, .*/s, .* left' "$TMP/screen" ||
        fail "no bar: $(cat "$TMP/screen")"
    grep -q 'Unpacked 2 files, 64.0 MiB, from the registry in .* s: 64.. MiB fetched\.' \
        "$TMP/screen" || fail "no summary: $(cat "$TMP/screen")"
}

# --- what is fetched --------------------------------------------------------------------

case_each_byte_once() {
    serve_kit 100M
    unpack "$KIT" -q
    is_right "$OUT/model/w.bin" $((100 * MIB))
    at_most "$(sent path=blobs)" $((100 * MIB + 300 * 1024)) "bytes fetched" # headers twice
    equal "$(find "$KITFS_CACHE_DIR/objects" -type f | wc -l)" 0 "objects in the cache"
}

case_each_chunk_once() {
    serve_packed 64
    unpack "$KIT" -q
    is_right "$OUT/model/w.bin" $((64 * MIB))
    at_most "$(sent path=blobs)" "$(du -sb "$TMP/layout" | cut -f 1)" "bytes fetched"
    equal "$(find "$KITFS_CACHE_DIR/objects" -name '*.data' -size +64k | wc -l)" 0 \
        "objects in the cache"
}

from_cache() {
    local mark
    mount_kit "$KIT"
    cat "$MNT"/*/* >/dev/null
    until_true 20 all_kept || fail "not kept: $(status_of counters)"
    umount_kit
    mark=$(control mark)
    unpack "$KIT" -q
    at_most "$(sent "from=$mark" path=blobs)" 4096 "bytes fetched"
    rm -r "$OUT"
    registry_stop
}

all_kept() {
    [ "$(status_of counters.cache_written_bytes)" -ge $((40 * MIB)) ]
}

# The digest of a plain layer is that of its headers, too, which are not kept.
case_from_the_cache() {
    serve_kit 40M
    from_cache
    refused "not wholly in the cache, and this is offline" unpack "$KIT" --offline
    registry_start --layout "kit=$TMP/layout"
    unpack "$REG/kit:v1" -q
    is_right "$OUT/model/w.bin" $((40 * MIB))
}

case_from_the_cache_with_toc() {
    serve_packed 40
    from_cache
    unpack "$KIT" -q --offline
    is_right "$OUT/model/w.bin" $((40 * MIB))
}

case_without_cache_folder() {
    make_kit v1 model:w.bin:1M
    (unset HOME XDG_CACHE_HOME KITFS_CACHE_DIR
        cd / && KITFS_CACHE_DIR=/proc/nothing unpack "oci:$TMP/layout:v1" -q)
    is_right "$OUT/w.bin" "$MIB"
}

# One layer that does not come holds up no other.
case_layers_at_once() {
    make_kit v1 model:a.bin:8M code:b.bin:8M docs:c.bin:8M dataset:d.bin:8M
    registry_start --layout "kit=$TMP/layout"
    local first
    first=$(jq -r '.layers[0].digest' "$TMP/layout/blobs/sha256/$(cut -c 8- "$TMP/manifest-digest")")
    kit ls --plain-http "$REG/kit:v1" >"$TMP/listed"
    rule "{\"path\": \"$first\", \"action\": \"stallhdr\", \"count\": 0}"
    "$KITFS" unpack --plain-http "$REG/kit:v1" -d "$OUT" -q &
    UNPACK_PID=$!
    until_true 20 three_done || fail "only $(find "$WORK" -name done | wc -l) layers"
    nothing_but ".kitfs-unpack "
    control clear
    wait "$UNPACK_PID"
    is_right "$OUT/a.bin" $((8 * MIB)) 1
    is_right "$OUT/d.bin" $((8 * MIB)) 4
}

three_done() {
    [ "$(find "$WORK" -name done 2>/dev/null | wc -l)" -eq 3 ]
}

case_memory() {
    local limit=256
    [ -z "$SANITIZED" ] || limit=768 # a sanitizer multiplies it
    make_kit v1 model:a.bin:512M code:b.bin:512M
    registry_start --layout "kit=$TMP/layout"
    python3 - $limit "$KITFS" unpack --plain-http "$REG/kit:v1" -d "$OUT" -q <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[2:], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert peak <= int(sys.argv[1]) * 1024, f"{peak} KiB"
END
}

# --- cut off ----------------------------------------------------------------------------

# What was fetched before and after is the whole once, and at most a window for each time
# that it was cut off.
resumed() { # MIB [TIMES]
    local before after mark
    before=$(sent path=blobs)
    mark=$(control mark)
    nothing_but ".kitfs-unpack "
    unpack "$KIT" 2>"$TMP/log"
    after=$(sent "from=$mark" path=blobs)
    grep -q ' from an earlier run\.' "$TMP/log" || fail "not resumed: $(cat "$TMP/log")"
    is_right "$OUT/model/w.bin" $(($1 * MIB))
    at_most "$after" $((($1 - 20) * MIB)) "bytes fetched the second time"
    at_most $((before + after)) $((($1 + 8 + 16 * ${2:-1}) * MIB)) "bytes fetched in all"
    nothing_but "Kitfile model "
}

case_killed() {
    serve_kit 64M
    begin_slowly $((24 * MIB))
    cut_off KILL
    resumed 64
}

case_killed_with_toc() {
    serve_packed 64
    begin_slowly $((24 * MIB))
    cut_off KILL
    resumed 64
}

case_killed_again_and_again() {
    serve_kit 64M
    for part in 8 16 24 32 40; do
        begin_slowly $((part * MIB))
        cut_off KILL
        nothing_but ".kitfs-unpack "
    done
    resumed 64 5
}

case_ctrl_c() {
    serve_kit 64M
    begin_slowly $((24 * MIB))
    cut_off INT
    equal "$STATUS" 130 "exit status"
    grep -q 'interrupted' "$TMP/log" || fail "$(cat "$TMP/log")"
    grep -q "What was unpacked stays in $WORK: the same command goes on" "$TMP/log" ||
        fail "$(cat "$TMP/log")"
    resumed 64
}

deaf_registry() {
    local began
    begin_slowly $((24 * MIB))
    rule '{"path": "blobs", "action": "stallhdr", "count": 0}'
    sleep 0.5
    began=$(milliseconds)
    cut_off INT
    at_most $(($(milliseconds) - began)) 5000 "milliseconds to the end"
    equal "$STATUS" 130 "exit status"
    control clear
    resumed 64
}

case_ctrl_c_while_a_registry_is_silent() {
    serve_kit 64M
    deaf_registry
}

case_ctrl_c_while_a_registry_is_silent_with_toc() {
    serve_packed 64
    deaf_registry
}

case_network_lost() {
    serve_kit 64M
    begin_slowly $((24 * MIB)) --read-timeout 2s
    registry_stop
    STATUS=0
    wait "$UNPACK_PID" || STATUS=$?
    equal "$STATUS" 1 "exit status"
    grep -q 'the same command goes on' "$TMP/log" || fail "$(cat "$TMP/log")"
    nothing_but ".kitfs-unpack "
    registry_start --layout "kit=$TMP/layout" # the same kit from elsewhere
    unpack "$REG/kit:v1" 2>"$TMP/log"
    grep -q ' from an earlier run\.' "$TMP/log" || fail "not resumed"
    at_most "$(sent path=blobs)" $((44 * MIB)) "bytes fetched the second time"
    is_right "$OUT/model/w.bin" $((64 * MIB))
}

# What an earlier run left is believed only as far as it was checked.
case_left_files_damaged() {
    serve_kit 64M
    begin_slowly $((24 * MIB))
    cut_off KILL
    local file
    file=$(find "$WORK" -type f -size +1M)
    printf X | dd of="$file" bs=1 seek=5000000 conv=notrunc status=none
    unpack "$KIT" -q
    is_right "$OUT/model/w.bin" $((64 * MIB))
}

# After a boot files of layers with a TOC come anew: only the chunks were checked.
case_left_files_of_another_boot() {
    serve_packed 64
    begin_slowly $((24 * MIB))
    cut_off KILL
    local file
    file=$(find "$WORK" -type f -size +1M)
    printf X | dd of="$file" bs=1 seek=5000000 conv=notrunc status=none
    echo another >"$(dirname "$file")/boot"
    unpack "$KIT" -q
    is_right "$OUT/model/w.bin" $((64 * MIB))
}

case_left_files_of_others() {
    make_kit v1 model:w.bin:1K
    mkdir -p "$OUT/.kitfs-unpack"
    chmod 777 "$OUT/.kitfs-unpack"
    refused "is not ours alone: remove it" unpack "oci:$TMP/layout:v1"
    rmdir "$WORK"
    mkdir "$TMP/elsewhere"
    ln -s "$TMP/elsewhere" "$WORK"
    refused "kitfs-unpack'" unpack "oci:$TMP/layout:v1"
    equal "$(ls -A "$TMP/elsewhere")" "" "what is elsewhere"
}

case_two_at_once() {
    serve_kit 64M
    begin_slowly $((8 * MIB))
    refused "another kitfs is unpacking into it" unpack "$KIT"
    control link '{}'
    wait "$UNPACK_PID"
    is_right "$OUT/model/w.bin" $((64 * MIB))
}

# Another kit goes into the folder: what was left of the first one goes.
case_another_kit_instead() {
    serve_kit 64M
    begin_slowly $((8 * MIB))
    cut_off KILL
    make_kit v2 docs:README:1K
    unpack "oci:$TMP/layout:v2" -q
    nothing_but "Kitfile README "
}

# While files are moved: some are in their places, some are not.
case_cut_off_while_moving_as_root() {
    need setpriv
    make_kit v1 model:model/w.bin:1M docs:README:1K
    registry_start --layout "kit=$TMP/layout"
    mkdir -p "$OUT/model" "$TMP/nobody"
    chmod 700 "$TMP/nobody"
    chown 65534 "$OUT" "$TMP/nobody"
    chmod 755 "$TMP" "$OUT/model" # and model is root's
    as_nobody() {
        HOME=$TMP KITFS_CACHE_DIR=$TMP/nobody within 50 setpriv --reuid 65534 --clear-groups \
            "$KITFS" unpack --plain-http "$REG/kit:v1" -d "$OUT"
    }
    refused "cannot put into place 'model/w.bin': Permission denied" as_nobody
    nothing_but ".kitfs-unpack README model "
    chown 65534 "$OUT/model"
    local mark
    mark=$(control mark)
    as_nobody
    equal "$(sent "from=$mark" path=blobs)" 0 "bytes fetched again"
    is_right "$OUT/model/w.bin" "$MIB" 1
    is_right "$OUT/README" 1024 2
    nothing_but "Kitfile README model "
}

# --- damage and full disks --------------------------------------------------------------

case_flipped_byte() {
    make_kit v1 model:model/a.bin:20M docs:README:1K
    registry_start --layout "kit=$TMP/layout"
    local layer
    layer=$(jq -r '.layers[0].digest' "$TMP/layout/blobs/sha256/$(cut -c 8- "$TMP/manifest-digest")")
    kit ls --plain-http "$REG/kit:v1" >"$TMP/listed" # headers are right
    rule "{\"path\": \"$layer\", \"action\": \"flip\", \"at\": 1000000, \"count\": 0}"
    refused "layer '$layer' \(model\): the digest of its blob is sha256:" unpack "$REG/kit:v1"
    nothing_but ".kitfs-unpack "
    equal "$(find "$WORK" -size +64k)" "" "files of the layer"
    control clear
    unpack "$REG/kit:v1"
    is_right "$OUT/model/a.bin" $((20 * MIB)) 1
    is_right "$OUT/README" 1024 2
}

case_flipped_byte_with_toc() {
    serve_packed 32
    rule '{"path": "blobs", "range": "bytes=[1-9]", "action": "flip", "at": 100000, "nth": 3, "count": 0}'
    refused 'digest|chunk' unpack "$KIT"
    nothing_but ".kitfs-unpack "
    control clear
    unpack "$KIT" -q
    is_right "$OUT/model/w.bin" $((32 * MIB))
}

case_another_diff_id() {
    make_kit v1 model:w.bin:1K
    python3 - "$TMP/layout" "$(cat "$TMP/manifest-digest")" <<'END'
import hashlib, json, pathlib, sys
blobs = pathlib.Path(sys.argv[1], "blobs/sha256")
def put(value):
    data = json.dumps(value).encode()
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"digest": "sha256:" + name, "size": len(data)}
manifest = json.loads((blobs / sys.argv[2][7:]).read_bytes())
config = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
config["model"]["diffId"] = "sha256:" + "0" * 64
manifest["config"].update(put(config))
index = json.loads(pathlib.Path(sys.argv[1], "index.json").read_bytes())
index["manifests"][0].update(put(manifest))
pathlib.Path(sys.argv[1], "index.json").write_text(json.dumps(index))
END
    refused "Kitfile says another digest of its content" unpack "oci:$TMP/layout:v1"
    [ ! -e "$OUT/w.bin" ] || fail "it is there"
}

case_disk_full_as_root() {
    serve_kit 32M
    mkdir "$OUT"
    mount -t tmpfs -o size=16m none "$OUT"
    refused "cannot write 'model/w.bin': No space left on device" unpack "$KIT"
    grep -q "the same command goes on" "$TMP/stderr" || fail "$(cat "$TMP/stderr")"
    nothing_but ".kitfs-unpack "
    mount -o remount,size=64m "$OUT"
    unpack "$KIT" 2>"$TMP/log"
    grep -q ' from an earlier run\.' "$TMP/log" || fail "not resumed"
    is_right "$OUT/model/w.bin" $((32 * MIB))
    umount "$OUT"
}

case_file_too_large() {
    serve_packed 32
    refused "cannot write 'model/w.bin': File too large" \
        bash -c "ulimit -f 16384; exec '$KITFS' unpack --plain-http '$KIT' -d '$OUT'"
    unpack "$KIT" -q
    is_right "$OUT/model/w.bin" $((32 * MIB))
}

run_case "$@"
