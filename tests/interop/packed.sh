# What the tests with software by others share. Sourced by bash, after lib.sh.

# Packs the folder `model` of a context as the kit oci:$TMP/layout:TAG. Leaves the file of
# that layer in LAYER, and its length in LAYER_SIZE.
pack_model() { # CONTEXT TAG [OPTIONS of pack]
    local context=$1 tag=$2
    shift 2
    printf 'manifestVersion: 1.0.0\npackage: {name: packed}\nmodel: {path: model}\n' \
        >"$TMP/Kitfile"
    kit pack "$context" -f "$TMP/Kitfile" -t "oci:$TMP/layout:$tag" --progress none -q \
        --metadata-file "$TMP/packed.json" "$@" >"$TMP/manifest-digest"
    LAYER=$(jq -r '.layers[0].digest' "$TMP/packed.json")
    LAYER=$TMP/layout/blobs/sha256/${LAYER#sha256:}
    LAYER_SIZE=$(stat -c %s "$LAYER")
}

need_go() { # VERSION
    local has
    need go
    has=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')
    [ "$(printf '%s\n' "$1" "$has" | sort -V | head -n 1)" = "$1" ] ||
        skip "go $has is older than $1"
}

# Runs a command that fills the folder given to it as its last argument, unless that was
# done before with the same files of ours. Sets INSTALLED to the folder. The command has the
# user's own HOME, where compilers keep themselves and what they downloaded.
install_once() { # NAME "FILES OF OURS" COMMAND...
    local name=$1 files=$2
    shift 2
    # shellcheck disable=SC2086 # a list of names without spaces
    INSTALLED=$KITFS_INTEROP_CACHE/$name-$(cat $files | sha256sum | cut -c 1-16)
    [ ! -e "$INSTALLED/ready" ] || return 0
    local making=$INSTALLED.making.$$
    mkdir -p "$making"
    HOME=$(getent passwd "$(id -u)" | cut -d : -f 6) "$@" "$making" \
        >"$TMP/install.log" 2>&1 || {
        rm -rf "$making"
        skip "cannot install $name: $(tail -n 1 "$TMP/install.log")"
    }
    touch "$making/ready"
    rm -rf "$INSTALLED"
    mv "$making" "$INSTALLED"
}

# Packed straight into a registry, mounted, read whole, and mounted again from the cache.
through() { # HOST:PORT
    local ref=$1/a/kit:v1
    mkdir -p "$TMP/kit/model"
    seq 1000000 >"$TMP/kit/model/text"
    python3 "$tests/clients/safetensors_tool.py" make "$TMP/kit/model" --size 24M \
        --shards 2 >"$TMP/made"
    printf 'manifestVersion: 1.0.0\npackage: {name: packed}\nmodel: {path: model}\n' \
        >"$TMP/kit/Kitfile"
    kit pack "$TMP/kit" -t "$ref" --push --plain-http --progress none -q >"$TMP/digest"
    tree_of "$TMP/kit" | grep -v 'Kitfile$' >"$TMP/tree"
    for time in first second; do
        mount_kit "$ref" -q
        equal "$(status_of digest)" "$(cat "$TMP/digest")" "digest, $time mount"
        tree_of "$MNT" | grep -v 'Kitfile$' | diff "$TMP/tree" - || fail "tree, $time mount"
        equal "$(status_of counters.read_errors)" 0 "errors given to readers"
        [ $time = first ] || equal "$(status_of counters.fetched_bytes)" 0 "bytes fetched again"
        umount_kit
    done
    kit verify --plain-http "$ref" >"$TMP/verified"
}
