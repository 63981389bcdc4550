#!/usr/bin/env python3
"""overlap.py ROWS N: whether N requests of a journal were ever being served together."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
ends = [(row["at"], 1) for row in rows] + [(row["at"] + row["took"], -1) for row in rows]
together = most = 0
for _, step in sorted(ends):
    together += step
    most = max(most, together)
print(f"{most} requests together")
sys.exit(most < int(sys.argv[2]))
