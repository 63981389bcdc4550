"""The things that go wrong, by rule: a rule picks requests and names an action, an action
changes the reply (reply.py). tests/registry/README.md lists them.

A rule is {"path": REGEX, "method": "GET", "range": REGEX, "server": "main", "nth": 1,
"count": 1, "action": NAME, ...}: of the requests that match, those from the nth on, count
of them (0: all), get the action with the other fields as its arguments.
"""
import re
import threading
from urllib.parse import quote, urlsplit

import content
from reply import Gone, Reply

FIELDS = {"path", "method", "range", "server", "nth", "count", "action"}
ACTIONS = {}   # change the reply to a request that was carried out
REFUSALS = {}  # end the reading of a request's body


class Refused(Exception):
    def __init__(self, reply):
        super().__init__()
        self.reply = reply


def action(function):
    ACTIONS[function.__name__.strip("_")] = function
    return function


def refusal(function):
    REFUSALS[function.__name__] = function
    return function


class Rule:
    def __init__(self, spec):
        self.path = re.compile(spec.get("path", ""))
        self.range = re.compile(spec.get("range", ""))
        self.method = spec.get("method", "GET")
        self.server = spec.get("server")
        self.nth = spec.get("nth", 1)
        self.count = spec.get("count", 1)
        self.action = spec["action"]
        self.options = {key: spec[key] for key in spec.keys() - FIELDS}
        self.released = threading.Event()
        self.seen = 0
        self.lock = threading.Lock()
        if self.action not in ACTIONS and self.action not in REFUSALS:
            raise ValueError(f"no action '{self.action}'")

    def takes(self, request):
        if (request.method != self.method or not self.path.search(request.target) or
                not self.range.search(request.headers.get("range", "")) or
                self.server not in (None, request.server)):
            return False
        with self.lock:
            self.seen += 1
            behind = self.seen - self.nth
        return behind >= 0 and (self.count == 0 or behind < self.count)

    def before(self, request, row):
        """A reply that stands for the request's own, or None; the fault may come while the
        body is read, too."""
        if self.action not in REFUSALS:
            return None
        row["fault"] = self.action
        request.body.fault_at = self.options.get("after", 0)

        def strike():
            REFUSALS[self.action](request, self)
        if request.body.fault_at == 0:
            try:
                strike()
            except Refused as refused:
                return refused.reply
        request.body.fault = strike
        return None

    def apply(self, request, reply):
        if self.action in REFUSALS:
            return
        reply.fault = self.action
        reply.released = self.released
        ACTIONS[self.action](request, reply, **self.options)


def error(reply, status, text, **headers):
    body = text.encode()
    reply.status = status
    reply.headers = {"Content-Type": "text/plain", "Content-Length": len(body), **headers}
    reply.blob, reply.offset, reply.length = content.MemoryBlob(body), 0, len(body)


@action
def drop(_request, reply, after=1000):
    reply.cut_at, reply.close = min(after, reply.length), True


@action
def rst(_request, reply, after=1000):
    reply.cut_at, reply.close, reply.reset = min(after, reply.length), True, True


@action
def stall(_request, reply, after=1000):
    reply.stall_at = min(after, reply.length)


@action
def stallhdr(_request, reply):
    reply.stall_head = True


@action
def drip(_request, reply, rate=100):
    reply.rate = rate


@action
def wrongrange(_request, reply, shift=4096):
    """Right length, wrong place: both the header and the bytes."""
    total = reply.blob.size
    reply.offset = max(0, min(reply.offset + shift, total - reply.length))
    last = reply.offset + reply.length - 1
    reply.headers["Content-Range"] = f"bytes {reply.offset}-{last}/{total}"


@action
def wrongtotal(_request, reply):
    """The right range of something of another size."""
    reply.headers["Content-Range"] = re.sub(r"\d+$", str(reply.blob.size + 1),
                                            reply.headers["Content-Range"])


@action
def norange(_request, reply):
    reply.headers.pop("Content-Range", None)


@action
def short206(_request, reply, length=1000):
    reply.length = min(length, reply.length)
    last = reply.offset + reply.length - 1
    reply.headers["Content-Range"] = f"bytes {reply.offset}-{last}/{reply.blob.size}"
    reply.headers["Content-Length"] = reply.length


@action
def full200(_request, reply):
    reply.status, reply.offset, reply.length = 200, 0, reply.blob.size
    reply.headers.pop("Content-Range", None)
    reply.headers["Content-Length"] = reply.length


@action
def gzip(_request, reply):
    """An encoding that nobody asked for (the bytes are not even that)."""
    reply.headers["Content-Encoding"] = "gzip"


@action
def chunked(_request, reply):
    reply.headers.pop("Content-Length", None)
    reply.headers["Transfer-Encoding"] = "chunked"
    reply.chunked = True


@action
def chunkcut(request, reply, after=1000):
    chunked(request, reply)
    drop(request, reply, after)


@action
def nolen(_request, reply, after=None):
    """No length and the end of the connection as the end of the body, maybe too early."""
    reply.headers.pop("Content-Length", None)
    reply.close = True
    if after is not None:
        reply.cut_at = min(after, reply.length)


@action
def long(_request, reply, extra=4096):
    reply.extra = b"x" * extra
    reply.headers["Content-Length"] = reply.length + extra


@action
def bad416(_request, reply, size=None):
    """docker-registry's way: the length of the blob, and 33 bytes."""
    size = reply.blob.size if size is None else size
    error(reply, 416, "invalid range: failed to overlap\n",
          **{"Content-Range": f"bytes */{size}"})
    reply.headers["Content-Length"] = size
    reply.stall_at = reply.length


@action
def status(_request, reply, code=503, retry_after=None, text="no\n"):
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    error(reply, code, text, **headers)


@action
def flip(_request, reply, at=0):
    reply.flip_at = min(at, reply.length - 1)


@action
def html(_request, reply):
    error(reply, 200, "<html><body>Please log in to the network</body></html>\n")
    reply.headers["Content-Type"] = "text/html"


@action
def hugehdr(_request, reply, size=300000):
    reply.headers["X-Filler"] = "x" * size


@action
def garbage(_request, reply):
    reply.raw_head = b"\x16\x03\x01 this is not HTTP at all\r\n\r\n"
    reply.close = True


@action
def redirect(request, reply, to="other", code=307, ttl=60, host=None, query=""):
    """`to`: relative (same host), other (a signed URL on the second port, with more in its
    query), or a URL."""
    target = request.target
    if to == "relative":
        location = target + ("&" if "?" in target else "?") + "redirected=1"
        if "redirected=1" in target:
            return
    elif to == "other":
        if request.server != "main":
            return
        location = request.app.sign(target, ttl, host) + (f"&{query}" if query else "")
    else:
        location = to
    error(reply, code, "", Location=location)


@action
def loop(request, reply, code=307):
    path, _, query = request.target.partition("?")
    turn = int(query.removeprefix("turn=") or 0) if query.startswith("turn=") else 0
    error(reply, code, "", Location=f"{quote(path, safe='/:@')}?turn={turn + 1}")


@action
def edit(_request, reply):
    """Other content of right form: for a manifest or config, one more space at the end."""
    body = b"".join(reply.blob.pieces(reply.offset, reply.length)) + b" "
    reply.blob, reply.offset, reply.length = content.MemoryBlob(body), 0, len(body)
    reply.headers["Content-Length"] = len(body)


@action
def truncate(_request, reply, keep=0.5):
    """Fewer bytes, and the length says so: nothing that HTTP could notice."""
    reply.length = int(reply.length * keep)
    reply.headers["Content-Length"] = reply.length


@action
def body(_request, reply, text="", pad=0, code=200, content_type=None):
    """Any body in the place of the right one, with so many spaces behind it."""
    kind = content_type or reply.headers.get("Content-Type", "application/octet-stream")
    error(reply, code, text + " " * pad)
    reply.headers["Content-Type"] = kind


@action
def headers(_request, reply, **changes):
    """Sets header lines; null takes one away."""
    for name, value in changes.items():
        if value is None:
            reply.headers.pop(name, None)
        else:
            reply.headers[name] = value


@action
def delay(_request, reply, ms=100):
    """Right, but later than the others."""
    reply.released.wait(ms / 1000)


@action
def lost(_request, reply):
    """It was carried out, but nobody hears of it."""
    reply.raw_head, reply.head_only, reply.close = b"", True, True


@action
def location(request, reply, to="relative"):
    """Where an upload goes on: relative, other (the second port), nowhere, or a URL."""
    there = urlsplit(reply.headers["Location"])
    path = there.path + ("?" + there.query if there.query else "")
    if to == "nowhere":
        del reply.headers["Location"]
    elif to == "other":
        reply.headers["Location"] = f"http://127.0.0.1:{request.app.ports['redirect']}{path}"
    else:
        reply.headers["Location"] = path if to == "relative" else to


@refusal
def refuse(_request, rule):
    """A status after some bytes of the body (`after=0`); the rest is not read."""
    text = rule.options.get("text", "no\n")
    reply = Reply(0)
    extra = {"Retry-After": rule.options["retry_after"]} \
        if "retry_after" in rule.options else {}
    error(reply, rule.options.get("code", 503), text, **extra)
    raise Refused(reply)


@refusal
def hangup(_request, _rule):
    """The connection ends after some bytes of the body."""
    raise Gone


@refusal
def deaf(_request, rule):
    """Nothing more of the body is read."""
    rule.released.wait()
    raise Gone
