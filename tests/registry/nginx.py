#!/usr/bin/env python3
"""Runs nginx in the foreground on a port of 127.0.0.1 chosen by the system.

    nginx.py DIR NAME <HTTP     what stands within `http { }`, with @LISTEN@ for HOST:PORT

Files are DIR/NAME.*: conf, error.log, and NAME.port with the line NGINX=HOST:PORT, which is
there before nginx serves (connections wait: the socket listens already).
"""
import os
import socket
import sys

CONF = """daemon off;
worker_processes 1;
{user}
pid {name}.pid;
error_log {name}.error.log info;
events {{ worker_connections 512; }}
http {{
client_body_temp_path {name}.body;
proxy_temp_path {name}.proxy;
fastcgi_temp_path {name}.fastcgi;
uwsgi_temp_path {name}.uwsgi;
scgi_temp_path {name}.scgi;
{http}
}}
"""


def main(folder, name):
    # nginx takes no port 0, but a socket that it inherits, as from an nginx before it.
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listen = f"127.0.0.1:{listener.getsockname()[1]}"
    path = os.path.join(os.path.abspath(folder), name)
    http = sys.stdin.read().replace("@LISTEN@", listen)
    user = "user root;" if os.getuid() == 0 else ""  # who owns the files of the test
    with open(path + ".conf", "w", encoding="utf-8") as file:
        file.write(CONF.format(name=path, user=user, http=http))
    with open(path + ".port.making", "w", encoding="ascii") as file:
        file.write(f"NGINX={listen}\n")
    os.rename(path + ".port.making", path + ".port")
    os.set_inheritable(listener.fileno(), True)
    os.environ["NGINX"] = f"{listener.fileno()};"
    os.execvp("nginx", ["nginx", "-p", folder, "-e", path + ".error.log", "-c", path + ".conf"])


if __name__ == "__main__":
    main(*sys.argv[1:])
