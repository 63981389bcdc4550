#!/usr/bin/env python3
"""A token service for tests, in front of registries that trust its certificate.

    token_server.py --dir DIR --port-file FILE --journal FILE [--ttl SECONDS]
                    [--says SECONDS|none] [--field token|access_token]
                    [--identity NAME:TOKEN]... [--no-post] [--anonymous] [--tls DIR]
                    [--port PORT]

DIR/users holds a line NAME:PASSWORD a user and is read for each request. Users may do
everything, with --anonymous others may pull. DIR/token.pem, made when it is missing, is the
certificate to trust (rootcertbundle); tokens are ES256 with x5c, service "kit-registry",
issuer "kit-issuer".

GET takes Basic; POST (with --no-post: 404) grant_type=password, and refresh_token with the
--identity tokens. A token is refused by docker-registry --ttl seconds (60) after it was
given: its `exp` is LEEWAY earlier. --says is what expires_in says (as --ttl). Once it
serves, the port file holds TOKEN_SERVER=HOST:PORT.

Journal: a JSON object a request: at (seconds), method, user (null: nobody), grant, service,
scopes (a list), client (client_id), status, expect: nothing secret is written down.
"""
import argparse
import base64
import http.server
import json
import math
import os
import secrets
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tls  # noqa: E402

LEEWAY = 60  # what docker-registry adds to `exp`
SERVICE, ISSUER = "kit-registry", "kit-issuer"
BODY_LIMIT = 256 << 10


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_signature(der):
    """(r, s) of 32 bytes each, out of DER: SEQUENCE of two INTEGERs."""
    numbers, at = b"", 2
    for _ in range(2):
        length = der[at + 1]
        number = der[at + 2:at + 2 + length].lstrip(b"\0")
        numbers += number.rjust(32, b"\0")
        at += 2 + length
    return numbers


class Signer:
    def __init__(self, folder):
        self.key = os.path.join(folder, "token.key")
        certificate = os.path.join(folder, "token.pem")
        if not os.path.exists(certificate):
            tls.openssl("req", "-x509", *tls.CURVE, "-keyout", self.key, "-out", certificate,
                        "-subj", "/CN=kitfs tests tokens", "-days", "2")
        der = ssl.PEM_cert_to_DER_cert(open(certificate, encoding="ascii").read())
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        self.head = base64url(json.dumps(head).encode())

    def token(self, claims):
        text = f"{self.head}.{base64url(json.dumps(claims).encode())}"
        der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                             input=text.encode(), capture_output=True, check=True).stdout
        return f"{text}.{base64url(raw_signature(der))}"


def access(scopes, actions):
    """What is granted of "repository:NAME:ACTION,ACTION" scopes."""
    granted = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, wanted = rest.rpartition(":")
        some = [action for action in wanted.split(",") if action in actions]
        granted.append({"type": kind, "name": name, "actions": some})
    return granted


class Service:
    def __init__(self, args):
        self.args = args
        self.signer = Signer(args.dir)
        self.identities = {token: name for name, _, token in
                           (pair.partition(":") for pair in args.identity)}
        self.journal = open(args.journal, "a", buffering=1, encoding="utf-8")
        self.lock = threading.Lock()
        self.start = time.monotonic()

    def write(self, row):
        with self.lock:
            self.journal.write(json.dumps(row) + "\n")

    def user(self, name, password):
        with open(os.path.join(self.args.dir, "users"), encoding="utf-8") as file:
            return name if f"{name}:{password}" in file.read().splitlines() else None

    def grant(self, user, scopes):
        """The answer's fields."""
        now = time.time()
        token = self.signer.token({
            "iss": ISSUER, "sub": user or "", "aud": SERVICE, "jti": secrets.token_hex(8),
            "exp": math.ceil(now + self.args.ttl) - LEEWAY, "nbf": int(now) - 1000,
            "iat": int(now), "access": access(scopes, ("pull", "push", "delete") if user
                                              else ("pull",))})
        says = self.args.ttl if self.args.says is None else self.args.says
        return {self.args.field: token, "issued_at": "2020-02-02T02:02:02Z",
                **({} if says == "none" else {"expires_in": int(says)})}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value, row):
        body = json.dumps(value).encode()
        self.server.service.write({**row, "status": status,
                                   "at": round(time.monotonic() - self.server.service.start,
                                               3)})
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="tokens"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def decide(self, user, tried, query, row):
        """Who is known gets a token, who is nobody maybe one for pulling."""
        service = self.server.service
        scopes = [scope for value in query.get("scope", []) for scope in value.split()]
        row = {"method": self.command, "user": user, "scopes": scopes,
               "service": query.get("service", [None])[0],
               "client": query.get("client_id", [None])[0], **row}
        if user is None and (tried or not service.args.anonymous):
            self.answer(401, {"errors": [{"code": "UNAUTHORIZED"}]}, row)
        elif row["service"] != SERVICE:
            self.answer(400, {"errors": [{"code": "UNKNOWN_SERVICE"}]}, row)
        else:
            self.answer(200, service.grant(user, scopes), row)

    def do_GET(self):
        query = parse_qs(self.path.partition("?")[2])
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user = None
        if scheme.lower() == "basic":
            name, _, password = base64.b64decode(value).decode().partition(":")
            user = self.server.service.user(name, password)
        self.decide(user, bool(scheme), query, {"grant": None})

    def do_POST(self):
        length = min(int(self.headers.get("Content-Length", 0)), BODY_LIMIT)
        query = parse_qs(self.rfile.read(length).decode())
        field = {key: values[0] for key, values in query.items()}
        service, row = self.server.service, {"grant": field.get("grant_type")}
        if service.args.no_post:
            self.answer(404, {"errors": []}, {"method": "POST", "user": None, **row})
            return
        if row["grant"] == "refresh_token":
            user = service.identities.get(field.get("refresh_token"))
        else:
            user = service.user(field.get("username"), field.get("password"))
        self.decide(user, True, query, row)

    def log_message(self, *_args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


def number_or_none(text):
    return text if text == "none" else float(text)


def parse(argv):
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--dir", "--port-file", "--journal"):
        options.add_argument(name, required=True)
    options.add_argument("--ttl", type=float, default=60)
    options.add_argument("--says", type=number_or_none)
    options.add_argument("--field", default="token")
    options.add_argument("--identity", action="append", default=[], metavar="NAME:TOKEN")
    options.add_argument("--no-post", action="store_true")
    options.add_argument("--anonymous", action="store_true")
    options.add_argument("--port", type=int, default=0, help="of one that was here before")
    options.add_argument("--tls", metavar="DIR", help="certificates are made there")
    return options.parse_args(argv)


def main():
    args = parse(sys.argv[1:])
    server = Server(("127.0.0.1", args.port), Handler)
    server.service = Service(args)
    if args.tls:
        server.socket = tls.context(args.tls).wrap_socket(server.socket, server_side=True)
    with open(args.port_file + ".making", "w", encoding="ascii") as file:
        file.write(f"TOKEN_SERVER=127.0.0.1:{server.server_port}\n")
    os.rename(args.port_file + ".making", args.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
