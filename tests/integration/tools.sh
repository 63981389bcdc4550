#!/bin/bash
# Programs that people point at a mounted kit.
. "$(dirname "$0")/lib.sh"

mount_names() { # a kit with odd names, many small files, empty files and folders
    python3 "$rig/kits2layout.py" "$tests/data/kits/kit-1.11" "$TMP/kits"
    registry_start --layout "kits=$TMP/kits"
    mount_kit "$REG/kits:names-tar"
    want=$TMP/want.tsv
    expected_tree "$tests/data/kits/kit-1.11/expected/names-tar.tsv" >"$want"
}

same_copy() { # DIR
    tree_of "$1" | sort -t $'\t' -k 5 | diff "$want" - || fail "the copy differs"
    umount_kit
}

case_cp() {
    mount_names
    within 50 cp -r --preserve=mode "$MNT" "$TMP/copy"
    same_copy "$TMP/copy"
}

case_tar() {
    mount_names
    mkdir "$TMP/copy"
    within 50 tar -C "$MNT" -cf - . | tar -C "$TMP/copy" -xpf -
    same_copy "$TMP/copy"
}

case_rsync() {
    need rsync
    mount_names
    within 50 rsync -a "$MNT/" "$TMP/copy/"
    within 50 rsync -a --checksum --itemize-changes "$MNT/" "$TMP/copy/" >"$TMP/again"
    equal "$(wc -l <"$TMP/again")" 0 "files that a second rsync would copy"
    same_copy "$TMP/copy"
}

case_find_and_du() {
    mount_names
    (cd "$MNT" && within 50 find . -mindepth 1 -printf '%P\n') | LC_ALL=C sort >"$TMP/found"
    cut -f 5 "$want" | LC_ALL=C sort | diff - "$TMP/found" || fail "find"
    equal "$(within 50 find "$MNT" -type d -empty -printf . | wc -c)" \
        "$(empty_folders)" "empty folders"
    equal "$(within 50 du -s --apparent-size --block-size=1 "$MNT" | cut -f 1)" \
        "$(within 50 find "$MNT" -printf '%s\n' | awk '{n += $1} END {print n}')" "du"
    umount_kit
}

empty_folders() {
    awk -F '\t' '$1 == "d" {dirs[$5] = 1}
        {parent = $5; if (sub("/[^/]*$", "", parent)) full[parent] = 1}
        END {for (dir in dirs) if (!(dir in full)) n++; print n + 0}' "$want"
}

# Types come with the names (d_type), links count, inode numbers are the same twice.
case_scandir() {
    mount_names
    within 50 python3 - "$MNT" <<'PY'
import os, sys
seen = {}
for _ in range(2):
    for folder, dirs, files in os.walk(sys.argv[1]):
        with os.scandir(folder) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                assert entry.inode() == info.st_ino, entry.path
                assert entry.is_dir() == (info.st_mode & 0o170000 == 0o040000), entry.path
                assert seen.setdefault(entry.path, info.st_ino) == info.st_ino, entry.path
        assert os.stat(folder).st_nlink == 2 + len(dirs), folder
assert len(set(seen.values())) == len(seen) > 600
PY
    umount_kit
}

# Every way to write is EROFS.
case_nothing_can_be_written() {
    mount_names
    within 50 python3 - "$MNT" <<'PY'
import errno, os, sys
root = sys.argv[1]
folder = next(entry.path for entry in os.scandir(root) if entry.is_dir())
file = next(os.path.join(at, files[0]) for at, _, files in os.walk(root) if files)
new = os.path.join(folder, "new")
ways = {
    "open for writing": lambda: os.open(file, os.O_WRONLY),
    "open for both": lambda: os.open(file, os.O_RDWR),
    "truncate at open": lambda: os.open(file, os.O_WRONLY | os.O_TRUNC),
    "append": lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
    "create": lambda: os.open(new, os.O_WRONLY | os.O_CREAT),
    "mkdir": lambda: os.mkdir(new),
    "rmdir": lambda: os.rmdir(folder),
    "unlink": lambda: os.unlink(file),
    "rename": lambda: os.rename(file, new),
    "symlink": lambda: os.symlink("x", new),
    "link": lambda: os.link(file, new),
    "mknod": lambda: os.mknod(new),
    "chmod": lambda: os.chmod(file, 0o600),
    "chown": lambda: os.chown(file, os.getuid(), os.getgid()),
    "utime": lambda: os.utime(file),
    "truncate": lambda: os.truncate(file, 0),
    "setxattr": lambda: os.setxattr(file, "user.x", b"x"),
}
bad = []
for name, way in ways.items():
    try:
        way()
        bad.append(f"{name} worked")
    except OSError as problem:
        if problem.errno != errno.EROFS:
            bad.append(f"{name}: {problem}")
if bad:
    sys.exit("\n".join(bad))
PY
    umount_kit
}

# read(2) in all its forms gives the same bytes, and never a short read before the end.
case_ways_to_read() {
    serve_kit 20M
    mount_kit "$KIT"
    within 50 python3 - "$MNT/model/w.bin" "$rig" <<'PY'
import ctypes, mmap, os, sys
sys.path.insert(0, sys.argv[2])
import content
size = 20 << 20
want = content.pattern_bytes(1, 0, size)
fd = os.open(sys.argv[1], os.O_RDONLY)
assert os.fstat(fd).st_size == size and os.fstat(fd).st_blksize == 4096
assert os.pread(fd, 4 << 20, 5 << 20) == want[5 << 20:9 << 20]
assert os.pread(fd, 100, size - 10) == want[-10:]
assert os.pread(fd, 100, size) == b"" and os.pread(fd, 100, size + 5) == b""
assert os.pread(fd, 1, 4095) == want[4095:4096]
buffers = [bytearray(3000), bytearray(5000)]
assert os.preadv(fd, buffers, 777) == 8000
assert b"".join(buffers) == want[777:8777]
direct = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 1 << 20)
assert os.preadv(direct, [page], 12 << 20) == 1 << 20
assert page[:] == want[12 << 20:13 << 20]
assert os.preadv(direct, [page], size - (1 << 20) + 4096) == (1 << 20) - 4096
view = mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ)
assert view[:] == want
populated = mmap.mmap(fd, size, mmap.MAP_SHARED | 0x8000, mmap.PROT_READ)
assert populated[:] == want
out, into = os.pipe()
assert os.splice(fd, into, 4096, offset_src=8192) == 4096
assert os.read(out, 4096) == want[8192:12288]
with open("copy", "wb") as copy:
    assert os.sendfile(copy.fileno(), fd, 100, 1000000) == 1000000
with open("copy", "rb") as copy:
    assert copy.read() == want[100:1000100]
os.posix_fadvise(fd, 0, size, os.POSIX_FADV_DONTNEED)
assert os.pread(fd, 4096, 3 << 20) == want[3 << 20:(3 << 20) + 4096]
assert os.lseek(fd, 0, os.SEEK_END) == size
PY
    umount_kit
}

case_overlayfs_on_top_as_root() {
    need unshare
    [ "$(id -u)" = 0 ] || skip "overlayfs needs root"
    mount_names
    mkdir "$TMP/upper" "$TMP/work" "$TMP/merged"
    mount -t overlay overlay -o "lowerdir=$MNT,upperdir=$TMP/upper,workdir=$TMP/work" \
        "$TMP/merged" || skip "no overlayfs here"
    tree_of "$TMP/merged" | sort -t $'\t' -k 5 | diff "$want" - || fail "overlay differs"
    umount "$TMP/merged"
    umount_kit
}

run_case "$@"
