#!/usr/bin/env python3
"""Talks to a running registry.py through its control port.

    ctl.py CONTROL rule '{"path": "blobs", "action": "drop"}'   arm a rule
    ctl.py CONTROL clear                                        take all back, end stalls
    ctl.py CONTROL link '{"latency_ms": 20, "rate_total": 1e8}' another link
    ctl.py CONTROL tag NAME TAG DIGEST                          move a tag
    ctl.py CONTROL mark                                         number of requests so far
    ctl.py CONTROL count [FILTER...]                            requests and body bytes
    ctl.py CONTROL list [FILTER...]                             their journal rows

mark, count and list wait until no request is being served, at most --wait seconds (2).
A FILTER is FIELD=REGEX on the journal's fields; from=N leaves out the first N rows.
"""
import json
import re
import sys
import urllib.error
import urllib.request


def call(port, path, data=None):
    body = None if data is None else json.dumps(data).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=60) as answer:
        return json.load(answer)


def rows(port, filters, wait):
    wanted = dict(text.split("=", 1) for text in filters)
    first = int(wanted.pop("from", 0))
    for row in call(port, f"/journal?from={first}&wait={wait}"):
        if all(re.search(regex, str(row[field])) for field, regex in wanted.items()):
            yield row


def main(port, verb, *rest):
    rest, wait = list(rest), 2
    if "--wait" in rest:
        at = rest.index("--wait")
        wait = float(rest[at + 1])
        del rest[at:at + 2]
    if verb == "rule":
        for text in rest:
            call(port, "/rules", json.loads(text))
    elif verb == "clear":
        call(port, "/clear", {})
    elif verb == "link":
        call(port, "/link", json.loads(rest[0]))
    elif verb == "tag":
        call(port, "/tag", dict(zip(("name", "tag", "digest"), rest)))
    elif verb == "mark":
        print(len(call(port, f"/journal?from=0&wait={wait}")))
    elif verb == "count":
        found = list(rows(port, rest, wait))
        print(len(found), sum(row["sent"] for row in found))
    elif verb == "list":
        for row in rows(port, rest, wait):
            print(json.dumps(row))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except urllib.error.HTTPError as problem:
        sys.exit(f"ctl: {problem.read().decode()}")
