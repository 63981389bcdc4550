"""Tar bytes as kit writes them (Go's archive/tar): ustar, and a PAX record where a name or
size needs one; uid 1000, gid 0, no times; parents before children; two zero blocks."""
import os

BLOCK = 512
TYPE_FILE = b"0"
TYPE_DIR = b"5"
USTAR_SIZE_LIMIT = 1 << 33


def octal(value, width):
    return b"%0*o\0" % (width - 1, value)


def block(name, mode, uid, size, kind, prefix=b"", numbers=True):
    """One header block. Go leaves the device numbers of an extension header empty."""
    device = octal(0, 8) * 2 if numbers else bytes(16)
    head = b"".join((
        name.ljust(100, b"\0"), octal(mode, 8), octal(uid, 8), octal(0, 8),
        octal(size, 12), octal(0, 12), b" " * 8, kind, bytes(100), b"ustar\0", b"00",
        bytes(64), device, prefix.ljust(155, b"\0"), bytes(12)))
    assert len(head) == BLOCK
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def pax_record(key, value):
    text = b" " + key + b"=" + value + b"\n"
    length = len(text) + 1
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def split_ustar(name):
    """(prefix, name) or None, by Go's splitUSTARPath."""
    if len(name) <= 100:
        return b"", name
    at = name[:156].rfind(b"/")
    if at <= 0 or at > 155 or not 0 < len(name) - at - 1 <= 100:
        return None
    return name[:at], name[at + 1:]


def header(path, kind, mode, size):
    """The header blocks of one entry; `path` is text."""
    name = path.encode()
    ascii_name = bytes(c for c in name if c < 0x80)
    split = split_ustar(name) if ascii_name == name else None
    records = []
    if split is None:
        records.append(pax_record(b"path", name))
    if size >= USTAR_SIZE_LIMIT:
        records.append(pax_record(b"size", b"%d" % size))
    if not records:
        prefix, short = split
        return block(short, mode, 1000, size, kind, prefix)
    data = b"".join(records)
    folder, _, base = ascii_name.rpartition(b"/")
    extension = (folder + b"/" if folder else b"") + b"PaxHeaders.0/" + base
    return (block(extension[:100].rstrip(b"/"), 0, 0, len(data), b"x", numbers=False) +
            data + bytes(-len(data) % BLOCK) +
            block(ascii_name[:100], mode, 1000, 0 if size >= USTAR_SIZE_LIMIT else size,
                  kind))


def size_of(content):
    if isinstance(content, bytes):
        return len(content)
    return content[1] if isinstance(content, tuple) else os.stat(content).st_size


def archive(entries):
    """The parts of an archive: header blocks, contents as they were given, padding. Entries
    are (path, mode, content): None for a folder, bytes, (seed, size) for content by the
    rule of content.py, or an os.PathLike of a file."""
    for path, mode, content in entries:
        if content is None:
            yield header(path, TYPE_DIR, mode, 0)
            continue
        size = size_of(content)
        yield header(path, TYPE_FILE, mode, size)
        yield content
        yield bytes(-size % BLOCK)
    yield bytes(2 * BLOCK)
