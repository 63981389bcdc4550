"""A certificate authority and a server certificate for 127.0.0.1, made with openssl:
DIR/ca.pem is what clients are to trust. Used also by docker_registry.sh: tls.py DIR
makes what is missing."""
import os
import ssl
import subprocess
import sys

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make(folder):
    os.makedirs(folder, exist_ok=True)

    def at(name):
        return os.path.join(folder, name)
    openssl("req", "-x509", *CURVE, "-keyout", at("ca.key"), "-out", at("ca.pem"),
            "-subj", "/CN=kitfs tests CA", "-days", "2")
    openssl("req", "-new", *CURVE, "-keyout", at("server.key"), "-out", at("server.csr"),
            "-subj", "/CN=localhost")
    with open(at("server.ext"), "w", encoding="ascii") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", at("server.csr"), "-CA", at("ca.pem"), "-CAkey",
            at("ca.key"), "-CAcreateserial", "-out", at("server.pem"), "-days", "2",
            "-extfile", at("server.ext"))


def context(folder):
    if not os.path.exists(os.path.join(folder, "server.pem")):
        make(folder)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(os.path.join(folder, "server.pem"),
                         os.path.join(folder, "server.key"))
    return made


if __name__ == "__main__":
    if not os.path.exists(os.path.join(sys.argv[1], "server.pem")):
        make(sys.argv[1])
