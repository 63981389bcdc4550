#!/bin/bash
# What `kitfs pack` writes: right for us, for readers that are not ours, and after failures.
# as root, but for tar_zstd|raw|mistakes|ctrl_c|golden|file_too_large|killed
# limit: 180
. "$(dirname "$0")/lib.sh"
golden=$tests/golden
LAYOUT=$TMP/out
MIB=$((1 << 20))

make_tree() { # NAME [OPTIONS of maketree.py]: $TMP/NAME
    local name=$1
    shift
    python3 "$golden/maketree.py" "$name" "$TMP/$name" "$@"
}

pack() { # TREE TAG [OPTIONS]: prints the digest; other lines are kept
    local tree=$1 tag=$2
    shift 2
    within 170 "$KITFS" pack "$TMP/$tree" -t "oci:$LAYOUT:$tag" -q "$@" 2>"$TMP/stderr" || {
        cat "$TMP/stderr" >&2
        fail "pack $tree $*"
    }
}

layers_of() { # TAG: a line for each, MEDIA-TYPE PATH-OF-BLOB
    local digest
    digest=$(manifest_of "$1")
    jq -r --arg blobs "$LAYOUT/blobs/sha256/" \
        '.layers[] | .mediaType + " " + $blobs + .digest[7:]' "$digest"
}

manifest_of() { # TAG: its file
    echo "$LAYOUT/blobs/sha256/$(jq -r --arg tag "$1" '.manifests[] |
        select(.annotations["org.opencontainers.image.ref.name"] == $tag).digest[7:]' \
        "$LAYOUT/index.json")"
}

# As tree_of, without the Kitfile, which is written anew.
files_of() { # DIR
    tree_of "$1" | awk -F '\t' '$5 != "Kitfile"' | sort -t $'\t' -k 5
}

# What packing makes of modes.
packed_files() { # DIR
    files_of "$1" | awk -F '\t' -v OFS='\t' '{
        $2 = $1 == "d" || $2 ~ /[1357]/ ? "755" : "644"; print }'
}

same_as_source() { # TREE DIR
    [ -e "$TMP/$1.tsv" ] || packed_files "$TMP/$1" >"$TMP/$1.tsv"
    files_of "$2" | diff -u "$TMP/$1.tsv" - >"$TMP/diff" || {
        head -n 20 "$TMP/diff"
        fail "what is mounted differs from what was packed"
    }
}

mount_and_compare() { # TREE REF [OPTIONS]
    local tree=$1
    shift
    mount_kit "$@"
    same_as_source "$tree" "$MNT"
    umount_kit
}

unpack_and_compare() { # TREE REF
    within 170 "$KITFS" unpack --plain-http "$2" -d "$TMP/kit-unpacked" -q
    same_as_source "$1" "$TMP/kit-unpacked"
    rm -r "$TMP/kit-unpacked"
}

listed_as_source() { # TREE REF: names, modes and sizes of ls -lR, without a mount
    kit ls -lR "$2" | sed -E 's/ +([0-9]+) /\t\1\t/; s|/$||' |
        grep -v $'\tKitfile$' | sort -t $'\t' -k 3 >"$TMP/listed" || true # there may be none
    (cd "$TMP/$1" && find . -mindepth 1 ! -path ./Kitfile -printf '%y\t%m\t%s\t%P\n') |
        awk -F '\t' -v OFS='\t' '{
            x = $1 == "d" || $2 ~ /[1357]/ ? "x" : "-"
            print ($1 == "d" ? "d" : "-") "rw" x "r-" x "r-" x, $1 == "d" ? 0 : $3, $4
        }' | sort -t $'\t' -k 3 | diff - "$TMP/listed" || fail "ls -lR of $2"
}

pack_and_check() { # TREE [OPTIONS of pack]: by the format's text, without a mount
    local tree=$1
    shift
    make_tree "$tree"
    pack "$tree" v1 "$@" >"$TMP/digest"
    python3 "$golden/readkit.py" "$LAYOUT" v1 >"$TMP/kit.txt"
    listed_as_source "$tree" "oci:$LAYOUT:v1"
}

# Packs, checks, reads, mounts from layout and registry.
round_trip() { # TREE [OPTIONS of pack]
    local tree=$1 path
    pack_and_check "$@"
    while IFS= read -r path; do
        kit cat "oci:$LAYOUT:v1" "${path#"$TMP/$tree/"}" | cmp - "$path"
    done < <(find "$TMP/$tree" -type f ! -path "*/Kitfile" | sort | awk 'NR % 9 == 1' | head -n 8)
    mount_and_compare "$tree" "oci:$LAYOUT:v1"
    unpack_and_compare "$tree" "oci:$LAYOUT:v1"
    registry_start --layout "kit=$LAYOUT"
    KITFS_CACHE_DIR=$TMP/cache2 mount_and_compare "$tree" "$REG/kit:v1"
    registry_stop
}

media_types() {
    layers_of "${1:-v1}" | sed 's/.*\.v1\.//; s/ .*//' | sort -u | tr '\n' ' '
}

case_tar_zstd() {
    round_trip mixed
    equal "$(media_types)" "tar+zstd " "layers"
    grep -q '^content' "$TMP/kit.txt" || fail "no content ids"
}

case_tar() {
    round_trip mixed --compression none
    equal "$(media_types)" "application/vnd.kitfs.toc.v1 tar " "layers"
    grep -q '^content' "$TMP/kit.txt" || fail "no content ids"
}

case_raw() {
    round_trip mixed --layer-format raw
    equal "$(media_types)" "application/vnd.kitfs.toc.v1 raw tar " "layers"
    equal "$(layers_of v1 | cut -d ' ' -f 2 | sort | uniq -d)" "" "equal layers"
}

case_model_pack() {
    round_trip mixed --use-model-pack
    equal "$(media_types)" "raw tar " "layers"
}

case_model_pack_tar() { round_trip mixed --use-model-pack --layer-format tar; }
case_no_toc() { round_trip mixed --toc none --compression none; }
case_no_seek_table() { round_trip mixed --no-seek-table; }
case_small_chunks() { round_trip mixed --chunk-size 64K --level 9 --threads 3; }
case_large_chunks() { round_trip mixed --chunk-size 16M --compression none; }

case_many_files() {
    pack_and_check many
    mount_and_compare many "oci:$LAYOUT:v1"
    unpack_and_compare many "oci:$LAYOUT:v1"
}

case_many_files_tar() {
    pack_and_check many --compression none
    unpack_and_compare many "oci:$LAYOUT:v1"
}

# For others; we read such layers by their frames.
case_no_toc_tar_zstd() {
    make_tree mixed
    pack mixed v1 --toc none
    python3 "$golden/readkit.py" "$LAYOUT" v1 >"$TMP/kit.txt"
    unpack_all mixed tar --zstd -xf -
    mount_and_compare mixed "oci:$LAYOUT:v1"
}

case_empty_kits() {
    for options in "" "--compression none" "--layer-format raw" --use-model-pack; do
        for tree in nothing empty_folder; do
            # shellcheck disable=SC2086 # words
            round_trip $tree $options
        done
    done
}

# A file that is larger than ustar can say.
case_sparse_9_gib() {
    make_tree small
    truncate -s 9663676416 "$TMP/small/model/sparse.bin"
    printf end >>"$TMP/small/model/sparse.bin"
    pack small v1
    mount_kit "oci:$LAYOUT:v1"
    equal "$(stat -c %s "$MNT/model/sparse.bin")" 9663676419 "size"
    equal "$(within 20 tail -c 5 "$MNT/model/sparse.bin" | tr '\0' 0)" 00end "its end"
    within 20 cmp -n $((20 * MIB)) "$TMP/small/model/sparse.bin" "$MNT/model/sparse.bin"
    within 20 cmp "$TMP/small/model/w.bin" "$MNT/model/w.bin"
    umount_kit
    layers_of v1 | grep model.v1 | cut -d ' ' -f 2 >"$TMP/blob"
    { zstd -dcq <"$(cat "$TMP/blob")" | head -c $((20 * MIB)) | tar tv; } \
        >"$TMP/members" 2>"$TMP/stderr" || true # what is cut off is zeros
    grep -q ' 9663676419 .* model/sparse\.bin$' "$TMP/members" || fail "what GNU tar sees"
}

case_docker_registry() {
    need skopeo
    docker_registry "$TMP/registry"
    make_tree mixed
    local tag=0
    for options in "" "--compression none" "--layer-format raw" --use-model-pack \
        "--toc none --compression none"; do
        tag=$((tag + 1))
        # shellcheck disable=SC2086 # words
        pack mixed v$tag $options
        docker_registry_push "$LAYOUT" v$tag kit:v$tag
        KITFS_CACHE_DIR=$TMP/cache$tag mount_and_compare mixed "$DOCKER_REGISTRY/kit:v$tag"
    done
}

# --- readers that are not ours ----------------------------------------------------------

unpack_all() { # TREE COMMAND...: each layer is the input of the command, in an empty folder
    local tree=$1 blob
    shift
    rm -rf "$TMP/unpacked"
    mkdir "$TMP/unpacked"
    while read -r _ blob; do
        (cd "$TMP/unpacked" && within 50 "$@" <"$blob")
    done < <(layers_of v1)
    same_as_source "$tree" "$TMP/unpacked"
}

through_zstd() { zstd -dcq | tar xf -; }

python_unpacks() {
    python3 -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall()'
}

case_others_read_tar_zstd() {
    need zstd bsdtar
    make_tree mixed
    pack mixed v1
    layers_of v1 | while read -r _ blob; do
        zstd -tq <"$blob" || fail "zstd -t"
    done
    export -f through_zstd python_unpacks
    unpack_all mixed bash -c through_zstd
    unpack_all mixed tar --zstd -xf -
    unpack_all mixed bsdtar -xf -
    unpack_all mixed bash -c 'zstd -dcq | python_unpacks'
    pack mixed v1 --no-seek-table
    unpack_all mixed tar --zstd -xf -
}

case_others_read_tar() {
    need bsdtar
    make_tree mixed
    pack mixed v1 --compression none
    jq 'del(.layers[-1])' "$(manifest_of v1)" >"$TMP/without-toc" # which is no tar
    cp "$TMP/without-toc" "$(manifest_of v1)"
    export -f python_unpacks
    unpack_all mixed tar -xf -
    unpack_all mixed bsdtar -xf -
    unpack_all mixed bash -c python_unpacks
}

# --- the same bytes ---------------------------------------------------------------------

case_same_input_same_kit() {
    make_tree mixed
    local first
    for options in "" "--compression none" "--layer-format raw"; do
        # shellcheck disable=SC2086 # words
        {
            first=$(pack mixed v1 $options --threads 1)
            equal "$(pack mixed v1 $options --threads 2)" "$first" "digest of 2 threads"
            equal "$(pack mixed v1 $options --threads 8)" "$first" "digest of 8 threads"
        }
    done
    first=$(pack mixed v1)
    rm -r "$TMP/mixed"
    make_tree mixed --order 7 --mtime 1234567890
    touch -d 1999-01-01 "$TMP/mixed/model" "$TMP/mixed/names"
    equal "$(pack mixed v1)" "$first" "digest of a tree made in another order"
    equal "$(umask 077 && cd "$TMP/mixed" && kit pack . -t "oci:$TMP/other:x" -q)" "$first" \
        "digest from within the folder, with another umask"
}

case_source_date_epoch() {
    make_tree small
    local plain dated
    plain=$(pack small v1)
    equal "$(jq '.annotations["org.opencontainers.image.created"]' "$(manifest_of v1)")" null \
        "created, which nobody said"
    export SOURCE_DATE_EPOCH=1700000000
    dated=$(pack small v1)
    [ "$plain" != "$dated" ] || fail "SOURCE_DATE_EPOCH changes nothing"
    equal "$(pack small v1)" "$dated" "the second time"
    equal "$(jq -r '.annotations["org.opencontainers.image.created"]' "$(manifest_of v1)")" \
        2023-11-14T22:13:20Z created
    pack small v1 --use-model-pack >"$TMP/digest"
    grep -q '2023-11-14T22:13:20Z' "$(manifest_of v1)" || fail "mtime of a raw layer"
    SOURCE_DATE_EPOCH=tomorrow refused "SOURCE_DATE_EPOCH 'tomorrow'" \
        kit pack "$TMP/small" -t "oci:$LAYOUT:v2"
}

# A changed digest is a change of the format: golden/README.md.
case_golden() {
    make_tree golden
    pack golden zstd >"$TMP/digest"
    pack golden tar --compression none >"$TMP/digest"
    pack golden raw --layer-format raw --chunk-size 256K >"$TMP/digest"
    for tag in zstd tar raw; do
        echo "# $tag"
        python3 "$golden/readkit.py" "$LAYOUT" $tag
    done >"$TMP/golden.txt"
    diff -u "$golden/golden.txt" "$TMP/golden.txt" || fail "the format changed"
}

# --- sharing ----------------------------------------------------------------------------

chunks() { # TAG
    python3 "$golden/readkit.py" --chunks "$LAYOUT" "$1"
}

shared() { # OLD NEW: tenths of a percent of the new one's bytes that are in the old one
    awk 'NR == FNR {old[$2]; next}
        {all += $1} $2 in old {same += $1} END {printf "%d\n", 1000 * same / all}' "$1" "$2"
}

case_versions_share_chunks() {
    for tree in version_1 header_edited sharded one_token_more; do
        make_tree "$tree"
        pack "$tree" "$tree"
        chunks "$tree" >"$TMP/$tree.chunks"
    done
    pack version_1 tar --compression none
    chunks tar >"$TMP/tar.chunks"
    for tree in header_edited sharded one_token_more tar; do
        permille=$(shared "$TMP/version_1.chunks" "$TMP/$tree.chunks")
        echo "$tree shares $permille per mille"
        [ "$permille" -ge 990 ] || fail "$tree shares $permille per mille only"
    done
}

# What has been read of one version or in one carrier is not fetched for another.
case_one_cache_for_all_as_root() {
    local mark
    make_tree version_1
    make_tree header_edited
    pack version_1 v1
    pack header_edited v2
    pack version_1 tar --compression none
    pack version_1 model-pack --use-model-pack --layer-format tar
    registry_start --layout "kit=$LAYOUT"
    mount_and_compare version_1 "$REG/kit:v1"
    for tag in tar model-pack v2; do
        mark=$(control mark)
        tree=version_1
        [ $tag != v2 ] || tree=header_edited
        mount_and_compare "$tree" "$REG/kit:$tag"
        at_most "$(sent "from=$mark" path=blobs)" $((MIB)) "bytes for $tag with what v1 left"
    done
}

# --- damage -----------------------------------------------------------------------------

flip() { # FILE OFFSET: all bits of one byte
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 0xFF]))' "$1" "$2"
}

# Whatever can be read is right; the rest is an error that says where.
right_or_refused() { # PLACE
    local path status
    for path in model/config.json model/w.bin model/large.bin README.md; do
        status=0
        kit cat "oci:$LAYOUT:v1" "$path" >"$TMP/read" 2>"$TMP/stderr" || status=$?
        if [ "$status" -eq 0 ]; then
            cmp "$TMP/read" "$TMP/small/$path" || fail "wrong bytes after damage of $1"
            continue
        fi
        grep -Eq '^\[ERROR\] .*(sha256:|chunk|table of contents|toc|tar|manifest|config|layer|frame)' \
            "$TMP/stderr" || fail "damage of $1: $(cat "$TMP/stderr")"
        noticed=$((noticed + 1))
        cmp -n "$(stat -c %s "$TMP/read")" "$TMP/read" "$TMP/small/$path" ||
            fail "wrong bytes before the error after damage of $1"
    done
}

damage() { # FILE OFFSET PLACE
    local before=$noticed
    flip "$1" "$2"
    rm -rf "$KITFS_CACHE_DIR"
    right_or_refused "$3"
    flip "$1" "$2"
    [ "$noticed" -gt "$before" ] || unnoticed="$unnoticed $3"
}

damage_all() { # OPTIONS of pack
    local blob offset size
    noticed=0 unnoticed=
    make_tree small
    pack small v1 --chunk-size 64K "$@"
    damage "$(manifest_of v1)" 60 manifest
    damage "$(manifest_of v1)" $(($(stat -c %s "$(manifest_of v1)") / 2)) manifest-middle
    jq -r '.layers[] | (.annotations["org.kitfs.toc"] // "") + " " + .digest' \
        "$(manifest_of v1)" >"$TMP/layers"
    read -r link digest <"$TMP/layers"
    blob=$LAYOUT/blobs/sha256/${digest#sha256:}
    size=$(stat -c %s "$blob")
    for offset in 0 5 2000 70000 $((size / 3)) $((size / 2)); do
        damage "$blob" "$offset" "layer at $offset"
    done
    IFS=';' read -r _ _ where area root _ length <<<"$link"
    [ "$where" = - ] || blob=$LAYOUT/blobs/sha256/${where#sha256:}
    for offset in 0 20 $((root - 1)) "$root" $((root + 1000)) $((length - 1)); do
        damage "$blob" $((area + offset)) "table at $offset"
    done
    equal "$unnoticed" "" "damage that nobody noticed"
}

case_damaged_tar_zstd() { damage_all; }
case_damaged_tar() { damage_all --compression none; }

# Behind the table nothing is needed that the table does not say.
case_damaged_tail() {
    noticed=0
    make_tree small
    pack small v1
    local blob size
    blob=$(layers_of v1 | head -n 1 | cut -d ' ' -f 2)
    size=$(stat -c %s "$blob")
    for offset in 1 9 20 $((size / 100)); do
        flip "$blob" $((size - offset))
        rm -rf "$KITFS_CACHE_DIR"
        right_or_refused "the last $offset"
        flip "$blob" $((size - offset))
    done
}

# A chunk that comes wrong is asked for again; one that stays wrong is EIO, and never kept.
case_flipped_on_the_way() {
    local digest
    make_tree small
    for options in "" "--compression none"; do
        # shellcheck disable=SC2086 # words
        pack small v1 $options
        digest=$(jq -r '.layers[0].digest' "$(manifest_of v1)")
        registry_start --layout "kit=$LAYOUT"
        mount_kit "$REG/kit:v1" --read-timeout 10s
        rule "{\"path\": \"$digest\", \"action\": \"flip\", \"at\": 1000, \"count\": 1}"
        within 30 cmp "$TMP/small/model/w.bin" "$MNT/model/w.bin"
        rule "{\"path\": \"$digest\", \"action\": \"flip\", \"at\": 1000, \"count\": 0}"
        ! within 30 cat "$MNT/model/large.bin" >"$TMP/read" 2>"$TMP/stderr" ||
            fail "wrong chunks are taken"
        grep -q 'Input/output error' "$TMP/stderr" || fail "$(cat "$TMP/stderr")"
        cmp -n "$(stat -c %s "$TMP/read")" "$TMP/read" "$TMP/small/model/large.bin"
        control clear
        sleep 1.1 # failures are held for a second
        within 30 cmp "$TMP/small/model/large.bin" "$MNT/model/large.bin"
        umount_kit
        registry_stop
        rm -rf "$KITFS_CACHE_DIR"
    done
}

# --- ends that nobody wants -------------------------------------------------------------

begin_with_v0() {
    make_tree small
    make_tree large
    pack small v0 >"$TMP/digest"
    cp "$LAYOUT/index.json" "$TMP/index.json"
}

temporary_files() { # those that have begun
    find "$LAYOUT" -name '.*' -type f -size +0
}

some_temporary_file() {
    [ -n "$(temporary_files)" ]
}

start_packing() { # sets PACKER
    "$KITFS" pack "$TMP/large" -t "oci:$LAYOUT:v1" --threads 1 >"$TMP/output" 2>"$TMP/stderr" &
    PACKER=$!
    until_true 20 some_temporary_file || fail "nothing is written"
}

nothing_but_v0() {
    cmp "$LAYOUT/index.json" "$TMP/index.json"
    mount_and_compare small "oci:$LAYOUT:v0"
}

then_it_succeeds() {
    pack large v1 >"$TMP/digest"
    equal "$(temporary_files)" "" "temporary files after the next run"
    python3 "$golden/readkit.py" "$LAYOUT" v1 >"$TMP/kit.txt"
    equal "$(jq '.manifests | length' "$LAYOUT/index.json")" 2 "manifests"
}

case_killed() {
    begin_with_v0
    start_packing
    kill -KILL "$PACKER"
    wait "$PACKER" 2>/dev/null || true
    nothing_but_v0
    then_it_succeeds
}

interrupted_by() { # SIGNAL
    local status=0
    begin_with_v0
    start_packing
    kill "-$1" "$PACKER"
    wait "$PACKER" || status=$?
    equal "$status" 130 "exit status"
    grep -q '^\[ERROR\] Cannot pack .*interrupted' "$TMP/stderr" || fail "$(cat "$TMP/stderr")"
    equal "$(cat "$TMP/output")" "" "output"
    equal "$(temporary_files)" "" "temporary files"
    nothing_but_v0
    then_it_succeeds
}

case_ctrl_c() { interrupted_by INT; }
case_sigterm() { interrupted_by TERM; }

case_disk_full_as_root() {
    mkdir "$LAYOUT"
    mount -t tmpfs -o size=64m tmpfs "$LAYOUT"
    begin_with_v0
    refused "cannot write .*No space left" \
        kit pack "$TMP/large" -t "oci:$LAYOUT:v1"
    equal "$(temporary_files)" "" "temporary files"
    nothing_but_v0
    mount -o remount,size=512m "$LAYOUT"
    then_it_succeeds
    umount "$LAYOUT"
}

case_file_too_large() {
    begin_with_v0
    refused "File too large" \
        bash -c "ulimit -f $((64 << 10)); exec \"\$@\"" - \
        timeout -s KILL 50 "$KITFS" pack "$TMP/large" -t "oci:$LAYOUT:v1"
    equal "$(temporary_files)" "" "temporary files"
    nothing_but_v0
    then_it_succeeds
}

# What changes while it is packed is not packed.
case_file_changes() {
    begin_with_v0
    start_packing
    kill -STOP "$PACKER"
    printf x | dd of="$TMP/large/w.bin" conv=notrunc status=none
    kill -CONT "$PACKER"
    wait "$PACKER" && fail "it was packed"
    grep -q "^\[ERROR\] Cannot pack .*'w.bin' changed while it was packed" "$TMP/stderr" ||
        fail "$(cat "$TMP/stderr")"
    nothing_but_v0
    then_it_succeeds
}

# --- mistakes ---------------------------------------------------------------------------

pack_small() { # OPTIONS
    kit pack "$TMP/small" -t "oci:$LAYOUT:v1" "$@"
}

case_mistakes() {
    make_tree small
    pack small v1
    cp "$LAYOUT/index.json" "$TMP/index.json"
    refused 'name where the kit goes with --tag \(-t\)' kit pack "$TMP/small"
    refused "cannot open folder '$TMP/none': No such file" \
        kit pack "$TMP/none" -t "oci:$LAYOUT:v1"
    refused "no Kitfile in '$TMP'" kit pack "$TMP" -t "oci:$LAYOUT:v1"
    refused '--level goes from 1 to 19' pack_small --level 20
    refused 'raw layers are not compressed: leave out --compression zstd' \
        pack_small --layer-format raw --compression zstd
    refused '--chunk-size goes from 64K to 16M' pack_small --chunk-size 65535
    refused '--chunk-size goes from 64K to 16M' pack_small --chunk-size 17M
    refused "annotation 'x' is not KEY=VALUE" pack_small --annotation x
    refused "'gzip' is none of zstd\|none" pack_small --compression gzip
    refused 'argument is missing' kit pack -t "oci:$LAYOUT:v1"
    refused "'oci:.*' is a folder" pack_small --push
    refused "cannot write '$TMP/none/metadata'.*" pack_small -q --metadata-file "$TMP/none/metadata"
    refused 'digest' kit pack "$TMP/small" -t "oci:$LAYOUT@sha256:$(printf '%064d' 1)"
    cmp "$LAYOUT/index.json" "$TMP/index.json"
    refused 'cannot write' bash -c '"$@" >/dev/full' - "$KITFS" pack "$TMP/small" \
        -t "oci:$LAYOUT:v1"
}

# golden/should-fail/NAME.yaml: "# error: PATTERN" in the first line, or "# warning: PATTERN".
case_kitfiles_with_mistakes() {
    mkdir -p "$TMP/context/model" "$TMP/outside"
    echo x >"$TMP/context/model/x"
    ln -s model "$TMP/context/link"
    mkfifo "$TMP/context/pipe"
    for file in "$golden"/should-fail/*.yaml; do
        local first
        first=$(head -n 1 "$file")
        echo "$file: $first"
        case $first in
        '# error: '*)
            refused "${first#\# error: }" \
                kit pack "$TMP/context" -f "$file" -t "oci:$LAYOUT:v1"
            ;;
        '# warning: '*)
            kit pack "$TMP/context" -f "$file" -t "oci:$LAYOUT:v1" >"$TMP/output" 2>"$TMP/stderr"
            grep -Eq "^\[WARN \] .*${first#\# warning: }" "$TMP/stderr" ||
                fail "no such warning: $(cat "$TMP/stderr")"
            ;;
        *) fail "$file does not say what is wrong with it" ;;
        esac
    done
    [ ! -e "$LAYOUT/index.json" ] || equal "$(jq '.manifests | length' "$LAYOUT/index.json")" 1 \
        "kits, of those that only warn"
}

bundle() { # FILE NAME: a zip archive that holds that name
    mkdir -p "$(dirname "$1")"
    python3 -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as bundle:
    bundle.writestr(sys.argv[2], "{}")' "$1" "$2"
}

case_mcp_servers() {
    mkdir "$TMP/agent"
    cat >"$TMP/agent/Kitfile" <<'EOF'
manifestVersion: 1.0.0
mcpServers:
- {name: db, path: servers/db.mcpb}
EOF
    bundle "$TMP/agent/servers/db.mcpb" manifest.json
    pack agent v1
    equal "$(layers_of v1 | grep -c 'modelkit\.mcpb\.v1\.raw ')" 1 "bundles"
    kit cat "oci:$LAYOUT:v1" servers/db.mcpb | cmp - "$TMP/agent/servers/db.mcpb"
    refused "ModelPack has no place for MCP servers \('servers/db\.mcpb'\)" \
        kit pack "$TMP/agent" -t "oci:$LAYOUT:v2" --use-model-pack
    bundle "$TMP/agent/servers/db.mcpb" server/manifest.json
    refused "'servers/db\.mcpb' has no manifest\.json at its root" \
        kit pack "$TMP/agent" -t "oci:$LAYOUT:v2"
    echo hello >"$TMP/agent/servers/db.mcpb"
    refused "'servers/db\.mcpb' is no zip archive" kit pack "$TMP/agent" -t "oci:$LAYOUT:v2"
    : >"$TMP/agent/servers/db.mcpb"
    refused "'servers/db\.mcpb' is not a file with content" \
        kit pack "$TMP/agent" -t "oci:$LAYOUT:v2"
    equal "$(jq '.manifests | length' "$LAYOUT/index.json")" 1 "kits"
}

# --- what is said -----------------------------------------------------------------------

case_quiet_and_metadata() {
    make_tree mixed
    local digest
    digest=$(kit pack "$TMP/mixed" -t "oci:$LAYOUT:v1" -q --metadata-file "$TMP/metadata" \
        --annotation org.example.a=b=c --annotation x=1 --annotation x=2 2>"$TMP/stderr")
    equal "$(cat "$TMP/stderr")" "" "stderr with -q"
    equal "$digest" "sha256:$(basename "$(manifest_of v1)")" "the one line"
    equal "$(jq -r .digest "$TMP/metadata")" "$digest" "digest in the metadata"
    equal "$(jq -r .reference "$TMP/metadata")" "oci:$LAYOUT:v1" "reference"
    equal "$(jq '.layers | length' "$TMP/metadata")" 11 "layers in the metadata"
    equal "$(jq -c '[.layers[].digest]' "$TMP/metadata")" \
        "$(jq -c '[.layers[].digest]' "$(manifest_of v1)")" "digests of layers"
    equal "$(jq -c '[.annotations["org.example.a"], .annotations.x]' "$(manifest_of v1)")" \
        '["b=c","2"]' "annotations"
    pack_mixed=$(kit pack "$TMP/mixed" -t "oci:$LAYOUT:v2" --compression none 2>"$TMP/stderr")
    grep -q '^Packed .*' <<<"$pack_mixed" || fail "$pack_mixed"
    tail -n 1 <<<"$pack_mixed" | grep -Eq '^sha256:[0-9a-f]{64}$' || fail "$pack_mixed"
    ! grep -q 'kit before 1.15' "$TMP/stderr" || fail "a warning about plain tar"
    kit pack "$TMP/mixed" -t "oci:$LAYOUT:v3" >"$TMP/output" 2>"$TMP/stderr"
    equal "$(grep -c 'kit before 1.15.*--compression none' "$TMP/stderr")" 1 "warnings"
}

# What raw cannot hold is said, once each.
case_raw_that_becomes_tar() {
    make_tree mixed
    kit pack "$TMP/mixed" -t "oci:$LAYOUT:v1" --layer-format raw >"$TMP/output" 2>"$TMP/stderr"
    for path in model src sizes empty.txt empty same.txt names; do
        equal "$(grep -c "^\[WARN \] '$path' is packed as tar" "$TMP/stderr")" 1 "lines for $path"
    done
    equal "$(grep -c 'is packed as tar' "$TMP/stderr")" 7 "lines"
}

case_kitfile_from_elsewhere() {
    make_tree small
    local digest
    digest=$(pack small v1)
    mv "$TMP/small/Kitfile" "$TMP/elsewhere"
    equal "$(pack small v1 -f "$TMP/elsewhere")" "$digest" "with --file"
    equal "$(kit pack "$TMP/small" -t "oci:$LAYOUT:v1" -q -f - <"$TMP/elsewhere")" "$digest" \
        "from stdin"
    cp "$TMP/elsewhere" "$TMP/small/.kitfile"
    equal "$(pack small v1)" "$digest" "called .kitfile"
}

# What the help shows: the layout in the folder that is packed.
case_layout_inside_of_the_folder() {
    make_tree empty_folder
    echo hello >"$TMP/empty_folder/a.txt"
    local first
    first=$(cd "$TMP/empty_folder" && kit pack . -t oci:./layout:v1 -q)
    equal "$(cd "$TMP/empty_folder" && kit pack . -t oci:./layout:v1 2>"$TMP/stderr" |
        tail -n 1)" "$first" "the second time"
    grep -q "'layout' is left out: the kit goes there" "$TMP/stderr" || fail "nothing is said"
    equal "$(kit cat "oci:$TMP/empty_folder/layout:v1" a.txt)" hello "a.txt"
}

case_ignored() {
    make_tree small
    printf '**/*.bin\n!model/w.bin\n' >"$TMP/small/.kitignore"
    pack small v1
    equal "$(kit ls -R "oci:$LAYOUT:v1" | grep -v '^Kitfile$' | tr '\n' ' ')" \
        "README.md model/ model/config.json model/w.bin " "files"
}

run_case "$@"
