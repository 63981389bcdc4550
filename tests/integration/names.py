#!/usr/bin/env python3
"""names.py ZONE: answers questions for names (RFC 1035, UDP) on port 53 of 127.0.0.1, for
tests in a network of their own. ZONE is read for each question: one word for all names,
"silent" (no answer) or "unknown" (no such name), or addresses, which all names have."""
import ipaddress
import socket
import struct
import sys

A, AAAA, IN = 1, 28, 1
NXDOMAIN = 3


def end_of_name(message, at):
    while message[at]:
        at += 1 + message[at]
    return at + 1


def record(address):
    data = address.packed
    return struct.pack(">HHHIH", 0xC00C, A if address.version == 4 else AAAA, IN, 0,
                       len(data)) + data


def answer(message, zone):
    end = end_of_name(message, 12)
    kind = struct.unpack_from(">H", message, end)[0]
    found = [record(address) for address in map(ipaddress.ip_address, zone)
             if (A if address.version == 4 else AAAA) == kind]
    code = 0 if zone else NXDOMAIN
    head = struct.pack(">HHHHHH", *struct.unpack_from(">H", message), 0x8180 | code, 1,
                       len(found), 0, 0)
    return head + message[12:end + 4] + b"".join(found)


def main():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    while True:
        message, sender = sock.recvfrom(512)
        with open(sys.argv[1], encoding="ascii") as file:
            zone = file.read().split()
        if zone != ["silent"]:
            sock.sendto(answer(message, [] if zone == ["unknown"] else zone), sender)


if __name__ == "__main__":
    main()
