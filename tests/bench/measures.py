"""What `run` measures, one function a number of docs/ARCHITECTURE.md, section 8; packing
and packed kits are in measures_pack.py."""
import json
import os
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
GB = 1e9
NO_PREFETCH = ("--prefetch", "none")
TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                    "../clients/safetensors_tool.py")


def speed(size, seconds):
    return f"{size / seconds / 1e6:.0f} MB/s"


def local_copy(bench, source, path):
    """A local file written in aligned writes of 2 MiB."""
    with open(source, "rb", buffering=0) as old, open(path, "wb", buffering=0) as new:
        while data := old.read(2 * MIB):
            new.write(data)


def model_kit(bench):
    registry, ref = bench.kit("model", f"model:model/w.bin:{bench.size}")
    return registry, ref, *bench.layer("model")


def b1b(bench):
    """Chunks in the cache, pages dropped: every read reaches kitfs, none the network."""
    _, ref, _, _ = model_kit(bench)
    local = os.path.join(bench.work, "local.bin")
    ways = {"1 MiB sequential": ("seq", MIB), "128 KiB random": ("random", 128 << 10, 2000, 7),
            "page touch": ("touch", 1)}
    kept = tempfile.mkdtemp(prefix="kept.", dir=bench.work)  # for all rounds
    with bench.mount(ref, kept) as mount:
        path = mount.path("model", "w.bin")
        local_copy(bench, path, local)
        bench.read("seq", local, MIB)

        os.sync()  # pages on their way to a disk cannot be dropped
        time.sleep(2)  # the worker's own writing is over, too

        def measure(way, arguments):
            bench.read("forget", path, local)
            before = mount.cpu()
            size, seconds = bench.read(way, path, *arguments)
            cpu = mount.cpu() - before
            return seconds, bench.read(way, local, *arguments)[1], size, cpu / size * GB
        for name, (way, *arguments) in ways.items():
            ours, theirs, size, cpu = bench.median(lambda w=way, a=arguments: measure(w, a))
            bench.row("B1b", f"cached, not complete: {name}", speed(size, ours),
                      f"local file {speed(size, theirs)}", f"{theirs / ours:.2f}", ">= 0.20")
            bench.row("B1b", f"... worker's CPU, {name}", f"{cpu:.2f} s/GB", "", "",
                      "<= 0.6 s/GB")
    os.unlink(local)


def forget_peer(bench):
    """What the peer wrote must not be on its way to the disk while kitfs is measured."""
    path = os.path.join(bench.work, "peer.out")
    if os.path.exists(path):
        os.unlink(path)


def b2(bench):
    """Cold sequential read against a parallel download, in turns."""
    registry, ref, blob, size = model_kit(bench)
    peers = {"L": (), "M": (),
             "loopback": ("sha256=1", "write=" + os.path.join(bench.work, "peer.out"))}
    for link, options in peers.items():
        registry.link(link)

        def measure(options=options):
            peer = bench.download(registry, blob, size, *options)[0]
            forget_peer(bench)
            with bench.mount(ref) as mount:
                seconds = bench.read("seq", mount.path("model", "w.bin"), MIB)[1]
            return seconds, peer
        ours, theirs = bench.median(measure)
        bench.row("B2", f"cold sequential read, {link}", speed(size, ours),
                  f"{'ranges+sha256+write' if options else '8 connections'} "
                  f"{speed(size, theirs)}", f"{theirs / ours:.2f}", ">= 0.9")
    registry.link("loopback")


def shards(bench, name, size, count, dim):
    """A kit of safetensors shards: (registry, ref, folder with the local files)."""
    context = os.path.join(bench.work, "context-" + name)
    if not os.path.exists(context):
        subprocess.run([sys.executable, TOOL, "make", context + "/model", "--size",
                        f"{size // MIB}M", "--shards", str(count), "--dim", str(dim)],
                       check=True, stdout=subprocess.DEVNULL)
    return *bench.kit(name, "model:model", context=context), context + "/model"


def shard_paths(folder):
    return sorted(os.path.join(folder, name) for name in os.listdir(folder)
                  if name.endswith(".safetensors"))


def b3(bench):
    registry, ref, _ = shards(bench, "shards", bench.size // 2, 4, 1024)
    blob, size = bench.layer("shards")
    registry.link("L")
    for threads in (1, 8, 32):
        def measure(threads=threads):
            peer = bench.download(registry, blob, size)[0]
            with bench.mount(ref) as mount:
                files = shard_paths(mount.path("model"))
                seconds = bench.read("touch", *files, threads)[1]
            return seconds, peer
        ours, theirs = bench.median(measure)
        bench.row("B3", f"cold mmap of 4 shards, {threads} threads, L", f"{ours:.2f} s",
                  f"8 connections {theirs:.2f} s", f"{ours / theirs:.2f}", "<= 1.15")
    registry.link("loopback")


def tensors(path):
    """(offset, size) of the tensors of a shard, in file order."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(length))
    head.pop("__metadata__", None)
    return sorted((8 + length + entry["data_offsets"][0],
                   entry["data_offsets"][1] - entry["data_offsets"][0])
                  for entry in head.values())


def read_ranges(path, ranges):
    with open(path, "rb", buffering=0) as file:
        for offset, size in ranges:
            while size > 0:
                got = len(os.pread(file.fileno(), min(size, 8 * MIB), offset))
                offset, size = offset + got, size - got


def b6(bench):
    registry, ref, blob, size = model_kit(bench)
    with bench.mount(ref) as mount:
        mark = registry.mark()
        bench.read("seq", mount.path("model", "w.bin"), MIB)
        fetched = registry.fetched(mark)[1]
    bench.row("B6", "bytes of a whole file", f"{fetched / MIB:.1f} MiB",
              f"its size {bench.size / MIB:.1f} MiB", f"{fetched / bench.size:.3f}", "1.00")
    registry, ref, local = shards(bench, "shard", bench.size * 2, 1, 1024)
    with bench.mount(ref) as mount:
        mark, needed = registry.mark(), 0
        for path in shard_paths(local):
            ranges = tensors(path)
            ranges = ranges[:max(1, len(ranges) // 4)]  # side by side, as a stage's are
            needed += sum(size for _, size in ranges)
            read_ranges(mount.path("model", os.path.basename(path)), ranges)
        fetched = registry.fetched(mark)[1]
    bench.row("B6", "bytes of a quarter of the tensors", f"{fetched / MIB:.1f} MiB",
              f"their sizes {needed / MIB:.1f} MiB", f"{fetched / needed:.3f}", "<= 1.05")
    headers(bench)


def headers(bench):
    """Shards of 20 MiB whose headers are 100 KiB or so."""
    spec = {"layers": [{"kind": "model", "path": "m", "files": [
        {"path": "m/model-%05d-of-00100.safetensors", "size": 20 * MIB, "count": 100}]}]}
    registry, ref = bench.synthetic("headers", spec)
    head = 100 << 10
    with bench.mount(ref) as mount:
        mark = registry.mark()
        for name in sorted(os.listdir(mount.path("m"))):
            read_ranges(mount.path("m", name), [(0, 8), (8, head)])
        requests, fetched = registry.fetched(mark)
    limit = 100 * (2 * head + MIB)
    bench.row("B6", "headers of 100 shards (100 KiB each)",
              f"{fetched / MIB:.1f} MiB, {requests} requests",
              f"2 headers + a chunk each {limit / MIB:.1f} MiB", f"{fetched / limit:.2f}",
              "<= 1")


def b7(bench):
    registry, ref, _, _ = model_kit(bench)
    registry.link("L")
    count = min(bench.size // MIB, 256)

    def measure():
        with bench.mount(ref) as mount:
            random = bench.read("random", mount.path("model", "w.bin"), MIB, count, 3, 8)
        with bench.mount(ref) as mount:
            path = mount.path("model", "w.bin")
            began = time.monotonic()
            read_ranges(path, [(0, count * MIB)])
            return random[1], time.monotonic() - began
    ours, theirs = bench.median(measure)
    bench.row("B7", f"{count} random cold reads of 1 MiB, 8 threads, L", speed(count * MIB, ours),
              f"sequential {speed(count * MIB, theirs)}", f"{theirs / ours:.2f}", ">= 0.5")
    registry.link("loopback")


GROUP = "/sys/fs/cgroup/kitfs-bench"


def in_group(limit):
    """A control group for what is started from here; None where that cannot be had."""
    try:
        os.makedirs(GROUP, exist_ok=True)
        with open(GROUP + "/memory.max", "w", encoding="ascii") as file:
            file.write(str(limit))
        return GROUP
    except OSError:
        return None


def b8(bench):
    spec = {"layers": [{"kind": "model", "path": "m", "files": [
        {"path": "m/huge-%d.bin", "size": 128 << 30, "count": 8},
        {"path": "d/a-file-of-a-dataset-%05d.json", "size": 900, "count": 100000}]}]}
    _, ref = bench.synthetic("terabyte", spec)
    for group in (None, "under a 300 MiB cgroup"):
        if group and not in_group(300 * MIB):
            bench.row("B8", f"memory {group}", "no control groups here", "", "", "")
            return
        cache = tempfile.mkdtemp(prefix="cache.", dir=bench.work)
        with bench.mount(ref, cache) as mount:
            idle = mount.memory()
            if group:
                with open(GROUP + "/cgroup.procs", "w", encoding="ascii") as file:
                    file.write(str(mount.worker))
            readers = [subprocess.Popen(
                ["timeout", "-s", "KILL", "60", "dd",
                 f"if={mount.path('m', f'huge-{number % 8}.bin')}", "of=/dev/null", "bs=1M",
                 "count=32", f"skip={number * 1500}", "status=none"])
                for number in range(64)]
            failed = sum(reader.wait() != 0 for reader in readers)
            peak = mount.memory("VmHWM")
            if not group:
                bench.row("B8", "resident, 1 TB and 100,000 files: idle after mount",
                          f"{idle:.0f} MiB", f"(mounted in {mount.seconds:.1f} s)", "",
                          "<= 32 MiB")
            bench.row("B8", f"... the most with 64 readers {group or ''}".rstrip(),
                      f"{peak:.0f} MiB", f"{failed} readers failed", "", "<= 256 MiB")
        bench.clean()
        if group:
            until_gone(GROUP)


def until_gone(group):
    """The last process of a control group may take a moment to go."""
    for _ in range(50):
        try:
            return os.rmdir(group)
        except OSError:
            time.sleep(0.1)
    return None


def b10(bench):
    """ls -lR through find, which asks for everything and sorts nothing."""
    spec = {"layers": [{"kind": "dataset", "path": "d", "files": [
        {"path": "d/%03d/" + f"file-{number:03d}.json", "size": 0, "count": 1000}
        for number in range(100)]}]}
    registry, ref = bench.synthetic("names", spec)
    local = os.path.join(bench.work, "names")
    for folder in range(1000):
        os.makedirs(f"{local}/{folder:03d}")
        for number in range(100):
            with open(f"{local}/{folder:03d}/file-{number:03d}.json", "wb"):
                pass

    def listing(folder):
        began = time.monotonic()
        subprocess.run(["ls", "-lR", folder], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def measure():
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("2")
        local_first, local_second = listing(local), listing(local)
        with bench.mount(ref) as mount:
            mark = registry.mark()
            first, second = listing(mount.path("d")), listing(mount.path("d"))
            return first, second, local_first, local_second, registry.fetched(mark)[0]
    first, second, local_first, local_second, requests = bench.median(measure)
    for name, ours, theirs, bar in (("first", first, local_first, "<= 1.5"),
                                    ("second", second, local_second, "<= 1.0")):
        bench.row("B10", f"ls -lR of 100,000 files, {name} ({requests:.0f} requests)",
                  f"{ours:.2f} s", f"local disk {theirs:.2f} s", f"{ours / theirs:.2f}", bar)


def b12(bench):
    """Of twenty connections the fifth gives a hundredth of the others."""
    registry, ref, _, _ = model_kit(bench)

    def measure():
        times = []
        for link in ("one slow", "steady"):
            registry.link(link)
            with bench.mount(ref) as mount:
                times.append(bench.read("seq", mount.path("model", "w.bin"), MIB)[1])
                if link == "one slow":
                    replaced = mount.status()["counters"]["slow_replaced"]
        return *times, replaced
    slow, steady, replaced = bench.median(measure)
    bench.row("B12", f"1 in 20 connections 100x slow ({replaced:.0f} replaced)",
              f"{slow:.2f} s", f"none slow {steady:.2f} s", f"{slow / steady:.2f}", "<= 1.2")
    registry.link("loopback")


def b19(bench):
    registry, ref, blob, size = model_kit(bench)

    def measure():
        peer = bench.download(registry, blob, size, "sha256=1",
                              "write=" + os.path.join(bench.work, "peer.out"))[1]
        forget_peer(bench)
        with bench.mount(ref) as mount:
            before = mount.cpu()
            bench.read("seq", mount.path("model", "w.bin"), MIB)
            return (mount.cpu() - before) / size * GB, peer / size * GB
    ours, theirs = bench.median(measure)
    bench.row("B19", "worker's CPU, socket to reader, cold", f"{ours:.2f} s/GB",
              f"ranges+sha256+write {theirs:.2f} s/GB", f"{ours / theirs:.2f}",
              "<= 2.2 s/GB")


ALL = {"B1b": b1b, "B2": b2, "B3": b3, "B6": b6, "B7": b7, "B8": b8, "B10": b10, "B12": b12,
       "B19": b19}
