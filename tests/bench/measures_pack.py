"""What `run` measures of packing and of packed kits (docs/ARCHITECTURE.md, section 8)."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import ctl
import measures
import mkkit
import weights

MIB = 1 << 20
GIB = 1 << 30
GB = 1e9
CHUNK = 64 << 10
TOC = "application/vnd.kitfs.toc.v1"
KITFILE = "manifestVersion: 1.0.0\npackage: {name: bench}\nmodel: {path: model}\n"


def context(bench, name, kind, shards=2):
    """A folder to pack, made once: (folder, its safetensors files)."""
    folder = os.path.join(bench.work, "context-" + name)
    if not os.path.exists(folder):
        subprocess.run([sys.executable, measures.TOOL, "make", folder + "/model", "--size",
                        f"{bench.size // MIB}M", "--shards", str(shards), "--dim", "2048"],
                       check=True, stdout=subprocess.DEVNULL)
        for path in measures.shard_paths(folder + "/model"):
            weights.remake(path, kind)
        with open(folder + "/Kitfile", "w", encoding="ascii") as file:
            file.write(KITFILE)
    return folder, measures.shard_paths(folder + "/model")


def with_latency(registry, latency_ms):
    ctl.call(registry.control, "/link", {"latency_ms": latency_ms})


# --- B5: until the first byte -----------------------------------------------------------

def chain(rows):
    """The most requests of which each began when the one before had ended."""
    depths = []
    for row in sorted(rows, key=lambda row: row["at"]):
        before = [depth for end, depth in depths if end <= row["at"]]
        depths.append((row["at"] + row["took"], 1 + max(before, default=0)))
    return max((depth for _, depth in depths), default=0)


def zeros(bench, name, count, size):
    """A kit of files of zeros and a TOC layer, whatever its size: (registry, ref). The
    digest of the large layer is made up; nobody hashes a terabyte."""
    if name not in bench.kits:
        layout = mkkit.Layout(os.path.join(bench.work, "layout-" + name))
        blob, area = (os.path.join(bench.work, word) for word in ("blob", "area"))
        annotation = subprocess.run(
            [bench.linked("bench_toc"), "make", str(count), str(size), blob, area],
            check=True, capture_output=True, text=True).stdout.strip()
        layer = mkkit.Layer("model", "m", ())
        layer.size, layer.digest = os.stat(blob).st_size, mkkit.digest_of(name.encode())
        os.rename(blob, layout.blobs / layer.digest[7:])
        with open(area, "rb") as file:
            area_digest, area_size = layout.put([file.read()])
        os.unlink(area)
        config, manifest = mkkit.documents(name, [layer])
        manifest = json.loads(manifest)
        manifest["layers"][0]["annotations"]["org.kitfs.toc"] = annotation
        manifest["layers"].append({"mediaType": TOC, "digest": area_digest,
                                   "size": area_size})
        layout.put([config])
        layout.tag("v1", *layout.put([mkkit.encode(manifest)]))
        bench.kits[name] = bench.registry("--layout", f"{name}={layout.folder}")
    return bench.kits[name], f"{bench.kits[name].host}/{name}:v1"


def until_first_byte(bench, registry, ref, *names):
    """(requests one after another, requests, seconds) of a cold mount and a read."""
    mark = registry.mark()
    began = time.monotonic()
    with bench.mount(ref, None, *measures.NO_PREFETCH) as mount:
        measures.read_ranges(mount.path(*names), [(0, 1)])
        seconds = time.monotonic() - began
        rows = list(ctl.rows(registry.control, [f"from={mark}"], 5))
    return chain(rows), len(rows), seconds


def b5(bench):
    folder, (shard, *_) = context(bench, "bf16", "bf16")
    kits = {"packed": (*bench.packed("bf16", folder), "model", os.path.basename(shard)),
            "1 GB": (*zeros(bench, "gigabyte", 4, GIB // 4), "m", "00000.bin"),
            "1 TB": (*zeros(bench, "terabyte-toc", 100, 10 * GIB), "m", "00000.bin")}
    times = {}
    for name, (registry, *kit) in kits.items():  # 1 TB has a TOC area of 40 MB
        with_latency(registry, 20)
        depth, count, times[name] = bench.median(
            lambda r=registry, k=kit: until_first_byte(bench, r, *k))
        registry.link("loopback")
        bench.row("B5", f"requests one after another to the first byte, {name}",
                  f"{depth:.0f} of {count:.0f}", f"(20 ms each; {times[name]:.3f} s)", "",
                  "<= 4" if name == "1 TB" else "<= 3")
    bench.row("B5", "mount to the first byte, 1 TB", f"{times['1 TB']:.3f} s",
              f"1 GB {times['1 GB']:.3f} s", f"{times['1 TB'] / times['1 GB']:.2f}",
              "<= 1.5")
    chunks, stored, _, slices, root, piece = run_bench_toc(bench, 20, 5 * GIB)
    bench.row("B5", f"root of 100 GB ({chunks:.0f} chunks, {stored:.0f} bytes) usable in",
              f"{root:.3f} ms", f"a file's slice of {slices / 20 / 1024:.0f} KiB "
              f"{piece:.3f} ms", "", "< 10 ms")


def run_bench_toc(bench, count, size):
    words = subprocess.run([bench.linked("bench_toc"), "measure", str(count), str(size)],
                           check=True, capture_output=True, text=True).stdout.split()
    return map(float, words)


# --- B9: packing ------------------------------------------------------------------------

# A process of its own, which is small: children begin with the size of their parent.
COST = """
import os, resource, subprocess, sys, time
began = time.monotonic()
subprocess.run(["bash", "-e", "-o", "pipefail", "-c", sys.argv[1]], check=True,
               stdout=subprocess.DEVNULL)
seconds = time.monotonic() - began
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def cost(command):
    """(seconds, CPU seconds, MiB at most) of a command of the shell and its children."""
    done = subprocess.run([sys.executable, "-S", "-c", COST, command], check=True,
                          capture_output=True, text=True)
    return tuple(map(float, done.stdout.split()))


def pack_rows(bench, what, size, ours, peer_name, peer):
    """Both in turns, into $OUT, which is in memory: no disk is measured."""
    def once(command):
        with tempfile.TemporaryDirectory(prefix="kitfs-bench.", dir="/dev/shm") as out:
            return cost(f"OUT='{out}'; {command}")
    costs = bench.median(lambda: (*once(ours), *once(peer)))
    mine, theirs = costs[:3], costs[3:]
    bench.row("B9", f"pack, {what}", f"{size / GB / mine[0]:.2f} GB/s",
              f"{peer_name} {size / GB / theirs[0]:.2f} GB/s",
              f"{theirs[0] / mine[0]:.2f}", "> 1")
    bench.row("B9", f"... CPU seconds, peak memory, {what}",
              f"{mine[1]:.2f} s, {mine[2]:.0f} MiB",
              f"{theirs[1]:.2f} s, {theirs[2]:.0f} MiB", f"{theirs[1] / mine[1]:.2f}", "")


def b9(bench):
    """What was packed is read again only in the rows that say so: no peer does."""
    sha = "openssl dgst -sha256"
    for kind, name in (("bf16", "bf16 weights"), ("random", "incompressible weights")):
        folder, (shard, *_) = context(bench, kind + "-1", kind, shards=1)
        size = os.stat(shard).st_size
        pack = f"'{bench.kitfs}' pack '{folder}' -q -t \"oci:$OUT/kit:v1\""
        stream = (f"zstd -q -1 -T0 '{shard}' -o $OUT/z; {sha} $OUT/z; {sha} '{shard}'",
                  f"tar -C '{folder}' -cf - model | tee $OUT/t | {sha}")
        pack_rows(bench, name, size, f"{pack} --check never",
                  "zstd -1 -T0, then 2 sha256", stream[0])
        pack_rows(bench, f"{name}, checked after", size, f"{pack} --check always",
                  "zstd -1 -T0, then 2 sha256", stream[0])
        pack_rows(bench, f"{name}, plain tar", size,
                  f"{pack} --check never --compression none",
                  "tar to a file and sha256, one stream", stream[1])


# --- B11: a new version -----------------------------------------------------------------

def change(path, share):
    """Other values in the last part of a file: how many bytes."""
    size = os.stat(path).st_size
    changed = int(share * size) // MIB * MIB
    with open(path, "r+b") as file:
        file.seek(size - changed)
        for _ in range(changed // MIB):
            file.write(weights.tensors("bf16", random.Random(changed), MIB))
    return changed


def read_model(bench, ref, cache, registry):
    with bench.mount(ref, cache) as mount:
        mark = registry.mark()
        for path in measures.shard_paths(mount.path("model")):
            bench.read("seq", path, MIB)
        return registry.fetched(mark)[1]


def b11(bench):
    old, _ = context(bench, "bf16", "bf16")
    new = os.path.join(bench.work, "context-bf16-next")
    shutil.copytree(old, new)
    changed = sum(change(path, 0.05) for path in measures.shard_paths(new + "/model"))
    old_registry, old_ref = bench.packed("bf16", old)
    registry, ref = bench.packed("bf16-next", new)
    cache = tempfile.mkdtemp(prefix="cache.", dir=bench.work)
    read_model(bench, old_ref, cache, old_registry)
    fetched = read_model(bench, ref, cache, registry)
    bench.clean()
    size = bench.layer("bf16-next")[1]
    bench.row("B11", "bytes fetched of a version with 5 % other values",
              f"{fetched / MIB:.1f} of {size / MIB:.1f} MiB",
              f"changed, unpacked {changed / MIB:.1f} MiB", f"{fetched / size:.3f}",
              "<= 0.05")


# --- B13: many readers ------------------------------------------------------------------

def b13(bench):
    """A file of chunks of 64 KiB, each of which a reader of its own waits for. Every fourth
    is read, so that neither the kernel nor we see neighbours, and read ahead."""
    readers, step = 64, 4 * CHUNK
    folder = os.path.join(bench.work, "context-small")
    os.makedirs(folder + "/model")
    with open(folder + "/Kitfile", "w", encoding="ascii") as file:
        file.write(KITFILE)
    with open(folder + "/model/w.bin", "wb") as file:
        for _ in range(bench.size // MIB):
            file.write(os.urandom(MIB))
    count = bench.size // step
    bench.packed("small", folder, "--chunk-size", "64K", "--compression", "none")
    blob, _ = bench.layer("small")

    def measure():
        with bench.served("small", 20) as server, bench.mount(
                server.ref, None, *measures.NO_PREFETCH, "--connections",
                str(readers)) as mount:
            path = mount.path("model", "w.bin")
            measures.read_ranges(path, [(0, 1)])  # the file's slice is there from now on
            lookups = subprocess.Popen(
                [bench.reader, "lookup", mount.path("model"), str(count / 3200)],
                stdout=subprocess.PIPE, text=True)
            size, seconds = bench.read("random", path, CHUNK, count, 13, readers, step)
            p99 = float(lookups.communicate()[0].split()[2])
            peer = bench.download(server, blob, count * CHUNK, f"connections={readers}",
                                  f"range={CHUNK}")[0]
        return size / CHUNK / seconds, count / peer, p99 / 1000
    ours, theirs, p99 = bench.median(measure)
    bench.row("B13", f"{readers} readers, 20 ms a fetch of 64 KiB, {readers} connections",
              f"{ours:.0f} reads/s", f"bare requests {theirs:.0f}/s (at best 3200)",
              f"{ours / theirs:.2f}", ">= 2900/s")
    bench.row("B13", "... p99 of LOOKUP beside them", f"{p99:.1f} ms", "", "", "<= 5 ms")


ALL = {"B5": b5, "B9": b9, "B11": b11, "B13": b13}
