#!/usr/bin/env python3
"""A registry for tests: serves OCI layouts, keeps a journal, and breaks things by rule.

    registry.py [--layout NAME=DIR]... [--synthetic NAME:TAG=SPEC.json]...
                [--uploads] [--latency-ms N] [--rate-total BYTES] [--rate-conn BYTES]
                [--journal FILE] [--port N] [--port-file FILE] [--tls DIR]

Listens on three ports of 127.0.0.1 chosen by the system (the registry: on --port) and
writes them, once it serves, into the port file as lines of shell: PORT (the registry),
REDIRECT (where signed URLs of the action "redirect" lead), CONTROL (plain HTTP, used by
ctl.py). Ends on SIGTERM.
tests/registry/README.md has the rules and the journal's fields.
"""
import argparse
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from urllib.parse import parse_qs, unquote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import content  # noqa: E402
import faults  # noqa: E402
import store  # noqa: E402
import tls  # noqa: E402
import uploads  # noqa: E402
from reply import Gone, Reply, Sender  # noqa: E402
from shape import Link  # noqa: E402

HEAD_LIMIT = 64 << 10
TLS_HELLO = 0x16  # of a client that tries https first, and would wait for an answer
KEY = b"signed URLs of the test registry"
SIGNED = "/_signed"
API = {"Docker-Distribution-Api-Version": "registry/2.0"}
ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags)/(?P<what>[^/]+)$")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Request:
    def __init__(self, app, server, connection, head, sock, data):
        lines = head.decode("latin-1").split("\r\n")
        self.method, target, _ = lines[0].split(" ", 2)
        self.target = re.sub("^http://[^/]*", "", target)  # as proxies are asked
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            before = self.headers.get(name)
            self.headers[name] = f"{before}, {value}" if before else value
        self.app = app
        self.server = server
        self.connection = connection
        path, _, query = self.target.partition("?")
        self.path = unquote(path)
        self.query = {key: values[0] for key, values in parse_qs(query).items()}
        self.body = uploads.Body(sock, data, self.headers)


class Journal:
    """One JSON object a request, in memory and in a file."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1, encoding="utf-8") if path else None
        self.rows = []
        self.busy = 0
        self.start = time.monotonic()
        self.condition = threading.Condition()

    def begin(self):
        with self.condition:
            self.busy += 1
        return time.monotonic()

    def end(self, began, row):
        row["at"] = round(began - self.start, 4)
        row["took"] = round(time.monotonic() - began, 4)
        with self.condition:
            self.busy -= 1
            row["n"] = len(self.rows) + 1
            self.rows.append(row)
            if self.file:
                self.file.write(json.dumps(row) + "\n")
            self.condition.notify_all()

    def read(self, first, wait):
        """Rows from the first on, once no request is being served (or `wait` passed)."""
        with self.condition:
            self.condition.wait_for(lambda: self.busy == 0, wait)
            return self.rows[first:]


def error(status, code, detail):
    body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " "),
                                   "detail": detail}]}).encode()
    return Reply(status, {"Content-Type": "application/json; charset=utf-8", **API,
                          "Content-Length": len(body)},
                 content.MemoryBlob(body), 0, len(body))


def parse_range(text, size):
    """(offset, length); None: no range that we serve alone; ValueError: not satisfiable."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", text.replace(" ", ""))
    if not match:
        if "," in text:
            return None  # several: the whole resource, as S3 does
        raise ValueError("invalid range\n")
    first, last = match.groups()
    if not first:
        if not last:
            raise ValueError("invalid range\n")
        length = min(int(last), size)
        return size - length, length
    if last and int(last) < int(first):
        raise ValueError("invalid range\n")
    if int(first) >= size:
        raise ValueError("invalid range: failed to overlap\n")
    return int(first), min(int(last) if last else size - 1, size - 1) - int(first) + 1


def linger(sock):
    """Closing while bytes come in would reset the connection, and take back the answer."""
    with contextlib.suppress(OSError):
        sock.settimeout(2)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(64 << 10):
            pass


class App:
    def __init__(self, args):
        self.address = args.address
        self.repositories = store.load(args.layout, args.synthetic)
        self.journal = Journal(args.journal)
        self.link = Link(args.latency_ms, args.rate_total, args.rate_conn)
        self.rules = []
        self.connections = 0
        self.ports = {}
        self.tls = tls.context(args.tls) if args.tls else None
        self.uploads = uploads.Uploads(self.repositories, store.Repository, error, API) \
            if args.uploads else None

    def sign(self, target, ttl, host):
        target = target.partition("?")[0]
        expires = f"{time.time() + ttl:.3f}"
        mac = hmac.new(KEY, f"{target} {expires}".encode(), hashlib.sha256).hexdigest()
        scheme = "https" if self.tls else "http"
        return (f"{scheme}://{host or '127.0.0.1'}:{self.ports['redirect']}{SIGNED}{target}"
                f"?expires={expires}&signature={mac}")

    def signed_target(self, request):
        """The path behind a signed URL, or None when it is expired or changed."""
        target = request.target.partition("?")[0].removeprefix(SIGNED)
        expires = request.query.get("expires", "0")
        mac = hmac.new(KEY, f"{target} {expires}".encode(), hashlib.sha256).hexdigest()
        good = hmac.compare_digest(mac, request.query.get("signature", ""))
        return target if good and float(expires) > time.time() else None

    def write(self, request):
        """The answer to a request that writes, or None when it is not one."""
        upload = uploads.ROUTE.match(request.path)
        if upload:
            return self.uploads.answer(request, upload["name"], upload["session"])
        route = ROUTE.match(request.path)
        if request.method == "PUT" and route and route["kind"] == "manifests":
            return self.uploads.put_manifest(request, route["name"], route["what"])
        return None

    def answer(self, request):
        written = self.write(request) if self.uploads else None
        if written:
            return written
        if request.server == "redirect":
            target = self.signed_target(request)
            if target is None or request.method != "GET":
                return error(403, "ACCESS_DENIED", "signature")
            request.path = unquote(target)
        if request.method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", request.method)
        if request.path in ("/v2", "/v2/"):
            return Reply(200, {"Content-Type": "application/json", **API,
                               "Content-Length": 2}, content.MemoryBlob(b"{}"), 0, 2)
        route = ROUTE.match(request.path)
        repository = route and self.repositories.get(route["name"])
        if not repository:
            return error(404, "NAME_UNKNOWN", request.path)
        return getattr(self, route["kind"])(request, repository, route["what"])

    def tags(self, request, repository, what):
        names = sorted(repository.tags)
        last, count = request.query.get("last", ""), int(request.query.get("n", 0))
        rest = [name for name in names if name > last]
        page = rest[:count] if count else rest
        name = request.path.removeprefix("/v2/").removesuffix("/tags/" + what)
        body = json.dumps({"name": name, "tags": page}).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", **API,
                   "Content-Length": len(body)}
        if len(page) < len(rest):
            headers["Link"] = f'</v2/{name}/tags/list?n={count}&last={page[-1]}>; rel="next"'
        return Reply(200, headers, content.MemoryBlob(body), 0, len(body))

    def manifests(self, request, repository, what):
        found = repository.manifest(what)
        if not found:
            return error(404, "MANIFEST_UNKNOWN", {"Tag": what})
        digest, data = found
        kind = json.loads(data).get("mediaType", MANIFEST)
        if kind not in request.headers.get("accept", ""):
            return error(404, "MANIFEST_UNKNOWN", "accept header does not support it")
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest, **API,
                   "Etag": f'"{digest}"', "Content-Length": len(data)}
        if digest in request.headers.get("if-none-match", ""):
            reply = Reply(304, {"Etag": f'"{digest}"', **API})
            reply.head_only = True
            return reply
        return Reply(200, headers, content.MemoryBlob(data), 0, len(data))

    def blobs(self, request, repository, what):
        blob = repository.blob(what)
        if blob is None:
            return error(404, "BLOB_UNKNOWN", what)
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "max-age=31536000",
                   "Content-Type": "application/octet-stream", **API,
                   "Docker-Content-Digest": what, "Etag": f'"{what}"'}
        wanted = request.headers.get("range")
        try:
            span = parse_range(wanted, blob.size) if wanted else None
        except ValueError as reason:
            return self.unsatisfiable(headers, blob.size, str(reason))
        if span is None:
            return Reply(200, {**headers, "Content-Length": blob.size}, blob, 0, blob.size)
        offset, length = span
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{blob.size}"
        headers["Content-Length"] = length
        return Reply(206, headers, blob, offset, length)

    @staticmethod
    def unsatisfiable(headers, size, text):
        """docker-registry leaves the blob's length in the head, sends its text and hangs
        up."""
        body = text.encode()
        del headers["Accept-Ranges"]
        headers.update({"Content-Type": "text/plain; charset=utf-8", "Content-Length": size})
        if "overlap" in text:
            headers["Content-Range"] = f"bytes */{size}"
        reply = Reply(416, headers, content.MemoryBlob(body), 0, len(body))
        reply.cut_at = len(body)
        return reply

    def handle(self, request, sender, first):
        began = self.journal.begin()
        row = {"server": request.server, "conn": request.connection,
               "method": request.method, "path": request.path,
               "query": request.target.partition("?")[2],
               "range": request.headers.get("range"), "status": 0, "length": 0, "sent": 0,
               "fault": None, "done": False, "received": 0,
               "chunked": request.body.chunked,
               "type": request.headers.get("content-type"),
               "authorization": "authorization" in request.headers,
               "proxied": "proxy-authorization" in request.headers,
               "extra": "; ".join(sorted(f"{name}: {value}" for name, value
                                         in request.headers.items()
                                         if name.startswith("x-")))}

        def count(sent):
            row["sent"] += sent
        try:
            taken = [rule for rule in list(self.rules) if rule.takes(request)]
            reply = None
            for rule in taken:
                reply = rule.before(request, row) or reply
            try:
                reply = reply or self.answer(request)
            except faults.Refused as refused:
                reply = refused.reply
            reply.head_only = reply.head_only or request.method == "HEAD"
            reply.close = reply.close or request.headers.get("connection") == "close"
            if not request.body.whole:
                reply.headers["Connection"] = "close"
            for rule in taken:
                rule.apply(request, reply)
            row.update(status=reply.status, length=reply.length,
                       fault=reply.fault or row["fault"])
            self.link.delay(first)
            sender.send(reply, count)
            row["done"] = True
        except Gone:
            row["done"] = row["sent"] == row["length"]
            raise
        finally:
            row["received"] = request.body.received
            self.journal.end(began, row)

    def clear_rules(self):
        old, self.rules = self.rules, []
        for rule in old:
            rule.released.set()

    def serve(self, sock, server):
        self.connections += 1
        connection, data, first = self.connections, b"", True
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            sender = Sender(sock, self.link)
            while True:
                while b"\r\n\r\n" not in data:
                    more = sock.recv(64 << 10)
                    data += more
                    if not more or len(data) > HEAD_LIMIT or data[0] == TLS_HELLO:
                        return
                head, _, data = data.partition(b"\r\n\r\n")
                request = Request(self, server, connection, head, sock, data)
                self.handle(request, sender, first)
                data, first = request.body.data, False
                if not request.body.whole:
                    linger(sock)
                    return
        except (Gone, ConnectionError, ssl.SSLError, ValueError):
            pass  # the client is gone, or it does not speak HTTP
        finally:
            sock.close()

    def listen(self, server, port=0):
        listener = socket.create_server((self.address, port), backlog=256)
        self.ports[server] = listener.getsockname()[1]

        def accept():
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=self.serve, args=(sock, server),
                                 daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()


class Control(http.server.BaseHTTPRequestHandler):
    """What tests tell the registry while it runs; see ctl.py."""

    def send_json(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        query = parse_qs(self.path.partition("?")[2])
        first, wait = int(query["from"][0]), float(query["wait"][0])
        self.send_json(self.server.app.journal.read(first, wait))

    def do_POST(self):
        app = self.server.app
        data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path == "/rules":
                app.rules = app.rules + [faults.Rule(data)]
            elif self.path == "/clear":
                app.clear_rules()
            elif self.path == "/link":
                app.link.__init__(**data)
            elif self.path == "/tag":
                app.repositories[data["name"]].tags[data["tag"]] = data["digest"]
            else:
                raise ValueError(f"no '{self.path}'")
        except (KeyError, TypeError, ValueError, re.error) as problem:
            self.send_json({"error": str(problem)}, 400)
            return
        self.send_json({})

    def log_message(self, *_args):
        pass


def write_ports(path, ports):
    with open(path + ".making", "w", encoding="ascii") as file:
        for name, port in ports.items():
            file.write(f"{name}={port}\n")
    os.rename(path + ".making", path)


def start(args):
    """Serves in threads of this process; returns the App and the control server."""
    app = App(args)
    app.listen("main", args.port)
    app.listen("redirect")
    control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
    control.app = app
    threading.Thread(target=control.serve_forever, daemon=True).start()
    ports = {"PORT": app.ports["main"], "REDIRECT": app.ports["redirect"],
             "CONTROL": control.server_port}
    if args.port_file:
        write_ports(args.port_file, ports)
    return app, ports


def parse_args(argv):
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--layout", action="append", default=[], metavar="NAME=DIR")
    options.add_argument("--synthetic", action="append", default=[],
                         metavar="NAME:TAG=SPEC.json")
    options.add_argument("--uploads", action="store_true",
                         help="any repository may be written to")
    options.add_argument("--latency-ms", type=float, default=0)
    options.add_argument("--rate-total", type=float, default=0, metavar="BYTES/S")
    options.add_argument("--rate-conn", type=float, default=0, metavar="BYTES/S")
    options.add_argument("--address", default="127.0.0.1", help="on loopback")
    options.add_argument("--port", type=int, default=0, help="of the registry")
    options.add_argument("--journal")
    options.add_argument("--port-file")
    options.add_argument("--tls", metavar="DIR", help="certificates are made there")
    return options.parse_args(argv)


def main():
    sys.setswitchinterval(0.0005)
    start(parse_args(sys.argv[1:]))
    threading.Event().wait()


if __name__ == "__main__":
    main()
