"""What a client may write: upload sessions and manifests, as docker-registry 2.8.2 does it
(each was looked at). Blobs are kept in memory."""
import hashlib
import itertools
import json
import re
import threading

import content
import mkkit
from reply import Gone, Reply

ROUTE = re.compile(r"/v2/(?P<name>.+?)/blobs/uploads/(?P<session>[^/]*)$")
MANIFEST_LIMIT = 4 << 20
PIECE = 256 << 10


class Body:
    """What follows the head of a request. A fault (faults.py) may end the reading."""

    def __init__(self, sock, data, headers):
        self.sock = sock
        self.data = data
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.left = 0 if self.chunked else int(headers.get("content-length", 0))
        self.received = 0
        self.whole = not self.chunked and self.left == 0
        self.fault_at = None  # bytes after which `fault` is called
        self.fault = None

    def fill(self):
        more = self.sock.recv(PIECE)
        if not more:
            raise Gone
        self.data += more

    def line(self):
        while b"\r\n" not in self.data:
            self.fill()
        line, _, self.data = self.data.partition(b"\r\n")
        return line

    def span(self, left):
        while left:
            if not self.data:
                self.fill()
            piece, self.data = self.data[:left], self.data[left:]
            left -= len(piece)
            self.received += len(piece)
            yield piece
            self.check()

    def check(self):
        if self.fault and self.received >= self.fault_at:
            fault, self.fault = self.fault, None
            fault()

    def pieces(self):
        self.check()
        if self.chunked:
            while (length := int(self.line().partition(b";")[0], 16)):
                yield from self.span(length)
                self.line()
            self.line()
        else:
            yield from self.span(self.left)
        self.whole = True


def bare(status, headers):
    """A reply without a body."""
    return Reply(status, {"Content-Length": 0, **headers}, content.MemoryBlob(b""))


class Session:
    def __init__(self, name):
        self.name = name
        self.data = bytearray()
        self.digest = hashlib.sha256()
        self.state = 0

    def append(self, body):
        """A request that breaks leaves what came, and a state that nobody knows."""
        self.state += 1
        for piece in body.pieces():
            self.data += piece
            self.digest.update(piece)


class Uploads:
    """`repositories` and `error` are the registry's; repositories are made when they are
    first written to."""

    def __init__(self, repositories, new_repository, error, headers):
        self.repositories = repositories
        self.new_repository = new_repository
        self.error = error
        self.headers = headers
        self.sessions = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()

    def repository(self, name):
        with self.lock:
            return self.repositories.setdefault(name, self.new_repository())

    def place(self, request, number, session):
        """Status 202 and 204: where the session is, and how much it has."""
        scheme = "https" if request.app.tls else "http"
        host = request.headers.get("host", "127.0.0.1")
        return {"Location": f"{scheme}://{host}/v2/{session.name}/blobs/uploads/{number}"
                            f"?_state={session.state}",
                "Range": f"0-{max(0, len(session.data) - 1)}",
                "Docker-Upload-UUID": str(number), **self.headers}

    def answer(self, request, name, number):
        if request.method == "POST":
            number, session = str(next(self.numbers)), Session(name)
            self.sessions[number] = session
            return bare(202, self.place(request, number, session))
        session = self.sessions.get(number)
        if not session or session.name != name:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", number)
        if request.query.get("_state") != str(session.state):
            del self.sessions[number]
            return self.error(404, "BLOB_UPLOAD_INVALID", number)
        method = getattr(self, request.method.lower(), None)
        if not method:
            return self.error(405, "UNSUPPORTED", request.method)
        return method(request, number, session)

    def get(self, request, number, session):
        return bare(204, self.place(request, number, session))

    def delete(self, _request, number, _session):
        del self.sessions[number]
        return bare(204, self.headers)

    def patch(self, request, number, session):
        session.append(request.body)
        return bare(202, self.place(request, number, session))

    def put(self, request, number, session):
        session.append(request.body)
        digest = request.query.get("digest", "")
        del self.sessions[number]
        if digest != "sha256:" + session.digest.hexdigest():
            return self.error(400, "DIGEST_INVALID", digest)
        self.repository(session.name).blobs[digest] = content.MemoryBlob(bytes(session.data))
        return self.created(session.name, "blobs", digest)

    def created(self, name, kind, digest):
        return bare(201, {"Location": f"/v2/{name}/{kind}/{digest}",
                          "Docker-Content-Digest": digest, **self.headers})

    def put_manifest(self, request, name, what):
        data = b"".join(request.body.pieces())
        repository, digest = self.repository(name), mkkit.digest_of(data)
        if len(data) >= MANIFEST_LIMIT:
            return self.error(400, "MANIFEST_INVALID", "http: request body too large")
        manifest = json.loads(data)
        if request.headers.get("content-type") != mkkit.MANIFEST:
            return self.error(400, "MANIFEST_INVALID", "content type")
        for row in [manifest["config"], *(manifest["layers"] or [])]:
            if repository.blob(row["digest"]) is None:
                return self.error(400, "MANIFEST_BLOB_UNKNOWN", row["digest"])
        if ":" in what and what != digest:
            return self.error(400, "DIGEST_INVALID", what)
        repository.manifests[digest] = data
        repository.blobs[digest] = content.MemoryBlob(data)
        if ":" not in what:
            repository.tags[what] = digest
        return self.created(name, "manifests", digest)
