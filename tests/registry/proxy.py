#!/usr/bin/env python3
"""A forward proxy for tests: CONNECT, and GET of whole URLs as plain http is asked.

    proxy.py FOLDER [--port N] [--user NAME:PASSWORD]

Listens on a port of 127.0.0.1 (chosen by the system, or N) and writes it, once it serves,
to FOLDER/proxy.port. FOLDER/proxy.log has a line "METHOD TARGET STATUS AUTHORIZATION" a
request: what it was asked, what it said, and the credential of the request that it could
read, or -. Ends on SIGTERM, with all connections. What FOLDER/proxy.fault says happens to
the next requests, for as long as it is there:

    status N    the answer is N
    cut N       the connections are closed behind N bytes of the answer; once
"""
import argparse
import base64
import contextlib
import os
import re
import socket
import threading

HEAD_LIMIT = 64 << 10
PIECE = 64 << 10


def read_head(sock):
    """The head's lines, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(PIECE)
        if not piece or len(data) > HEAD_LIMIT:
            return None, b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), rest


class Proxy:
    def __init__(self, folder, user):
        self.folder = folder
        self.user = user and "Basic " + base64.b64encode(user.encode()).decode()
        self.lock = threading.Lock()

    def fault(self):
        """Its two words; a cut is taken."""
        path = os.path.join(self.folder, "proxy.fault")
        with self.lock:
            try:
                with open(path, encoding="ascii") as file:
                    words = file.read().split()
            except FileNotFoundError:
                return "", 0
            if words[0] == "cut":
                os.unlink(path)
            return words[0], int(words[1])

    def log(self, *words):
        with self.lock, open(os.path.join(self.folder, "proxy.log"), "a",
                             encoding="utf-8") as file:
            print(*words, file=file)

    def serve(self, client):
        with client:
            lines, rest = read_head(client)
            if not lines:
                return
            method, target, _ = lines[0].split(" ", 2)
            fields = dict(line.lower().split(": ", 1) for line in lines[1:])
            name, number = self.fault()
            status = number if name == "status" else 0
            if self.user and fields.get("proxy-authorization") != self.user.lower():
                status = 407
            self.log(method, target, status or 200, fields.get("authorization", "-"))
            if status:
                client.sendall(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n"
                               b"Proxy-Authenticate: Basic realm=\"proxy\"\r\n"
                               b"Connection: close\r\n\r\n" % status)
                return
            limit = number if name == "cut" else None
            if method == "CONNECT":
                self.tunnel(client, target, rest, limit)
            else:
                self.forward(client, method, target, lines[1:], limit)

    @staticmethod
    def connect(authority):
        host, _, port = authority.rpartition(":")
        return socket.create_connection((host, int(port)))

    def tunnel(self, client, target, rest, limit):
        with self.connect(target) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(rest)
            up = threading.Thread(target=pass_on, args=(client, server, None), daemon=True)
            up.start()
            pass_on(server, client, limit)
            shut(client)
            up.join()

    def forward(self, client, method, target, lines, limit):
        authority, path = re.match("http://([^/]+)(.*)", target).groups()
        lines = [line for line in lines if not line.lower().startswith("proxy-")]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "Connection: close"])
        with self.connect(authority) as server:
            server.sendall(head.encode("latin-1") + b"\r\n\r\n")
            pass_on(server, client, limit)


def shut(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def pass_on(source, sink, limit):
    """Until one of them ends, or so much has passed."""
    with contextlib.suppress(OSError):
        while limit is None or limit > 0:
            data = source.recv(PIECE if limit is None else min(PIECE, limit))
            if not data:
                break
            sink.sendall(data)
            limit = limit and limit - len(data)
    shut(sink)
    shut(source)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user")
    options = parser.parse_args()
    proxy = Proxy(options.folder, options.user)
    listener = socket.create_server(("127.0.0.1", options.port), backlog=64)
    port = os.path.join(options.folder, "proxy.port")
    with open(port + ".making", "w", encoding="ascii") as file:
        print(listener.getsockname()[1], file=file)
    os.rename(port + ".making", port)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
