"""One answer of the registry, as a plan that faults may change before it is sent."""
import os
import select
import socket
import ssl
import struct
import time

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content",
           206: "Partial Content", 301: "Moved Permanently", 302: "Found",
           304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect",
           400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           405: "Method Not Allowed", 410: "Gone",
           416: "Requested Range Not Satisfiable", 429: "Too Many Requests",
           500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
           504: "Gateway Timeout"}


class Gone(Exception):
    """The client went away, or the fault ends the connection."""


class Reply:
    """`headers` as they go out, in order; the body is bytes [offset, offset + length) of a
    blob (content.py). What follows `length` is for faults alone."""

    def __init__(self, status, headers=None, blob=None, offset=0, length=0):
        self.status = status
        self.headers = dict(headers or {})
        self.blob = blob
        self.offset = offset
        self.length = length
        self.head_only = False       # HEAD, 304
        self.close = False           # after this answer
        self.stall_head = False      # nothing is sent at all
        self.stall_at = None         # body bytes sent before a stall
        self.cut_at = None           # body bytes sent before the connection ends
        self.reset = False           # ... by RST
        self.rate = 0                # bytes a second of this body alone
        self.flip_at = None          # body byte that is sent wrong
        self.chunked = False
        self.raw_head = None         # bytes in the place of the head
        self.extra = b""             # bytes after the body, announced or not
        self.fault = None            # name, for the journal
        self.released = None         # threading.Event that ends a stall

    def head(self):
        if self.raw_head is not None:
            return self.raw_head
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def wait_released(sock, event):
    """A stall ends when the rule is taken back or the client leaves."""
    while not event.is_set():
        readable, _, _ = select.select([sock], [], [], 0.05)
        if readable:
            try:
                if isinstance(sock, ssl.SSLSocket) or not sock.recv(1, socket.MSG_PEEK):
                    raise Gone
                event.wait(0.05)
            except OSError as error:
                raise Gone from error


class Sender:
    """Sends replies over one connection, within the link's limits."""

    def __init__(self, sock, link):
        self.sock = sock
        self.link = link
        self.bucket = link.connection()
        self.plain = not isinstance(sock, ssl.SSLSocket)

    def send(self, reply, count):
        """`count(bytes)` is told of body bytes as they leave."""
        if reply.stall_head:
            wait_released(self.sock, reply.released)
        self.sock.sendall(reply.head())
        if not reply.head_only:
            self.body(reply, count)
            if reply.extra:
                self.sock.sendall(reply.extra)
        if reply.close:
            self.end(reply)

    def end(self, reply):
        if reply.reset:
            linger = struct.pack("ii", 1, 0)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise Gone

    def body(self, reply, count):
        sent = 0
        for stop in sorted({at for at in (reply.stall_at, reply.cut_at, reply.length)
                            if at is not None and at <= reply.length}):
            self.span(reply, sent, stop - sent, count)
            sent = stop
            if stop == reply.cut_at:
                self.end(reply)
            if stop == reply.stall_at:
                wait_released(self.sock, reply.released)
        if reply.chunked:
            self.sock.sendall(b"0\r\n\r\n")

    def span(self, reply, start, length, count):
        own = reply.rate
        simple = reply.flip_at is None and not reply.chunked
        if simple and self.plain and hasattr(reply.blob, "fd"):
            self.sendfile(reply, start, length, count)
            return
        piece = min(self.link.piece(), max(1, own // 10)) if own else self.link.piece()
        at = start
        for part in reply.blob.pieces(reply.offset + start, length):
            while len(part):
                now, part = part[:piece], part[piece:]
                self.pace(len(now), own)
                if reply.flip_at is not None and at <= reply.flip_at < at + len(now):
                    now = bytearray(now)
                    now[reply.flip_at - at] ^= 0x40
                if reply.chunked:
                    self.sock.sendall(b"%x\r\n" % len(now) + bytes(now) + b"\r\n")
                else:
                    self.sock.sendall(now)
                count(len(now))
                at += len(now)

    def sendfile(self, reply, start, length, count):
        piece = self.link.piece()
        if reply.rate:
            piece = min(piece, max(1, reply.rate // 10))
        offset, end = reply.offset + start, reply.offset + start + length
        while offset < end:
            want = min(piece, end - offset)
            self.pace(want, reply.rate)
            while want:
                sent = os.sendfile(self.sock.fileno(), reply.blob.fd, offset, want)
                if sent == 0:
                    raise Gone
                count(sent)
                offset += sent
                want -= sent

    def pace(self, size, own_rate):
        self.link.total.take(size)
        self.bucket.take(size)
        if own_rate:
            time.sleep(size / own_rate)
