#!/usr/bin/env python3
"""Verifies a journal: python3 verify_journal.py <store>/journal. Exit 0: sound, 1: not."""
import hashlib, json, pathlib, sys

seq, prev = 0, "0" * 64
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.jsonl")):
    data = file.read_bytes()
    if data and int(file.stem) != seq + 1:
        sys.exit(f"{file}: begins at line {int(file.stem)}, expected {seq + 1}")
    if data and not data.endswith(b"\n"):
        sys.exit(f"{file}: the last line has no end")
    for line in data.split(b"\n")[:-1]:
        covered, _, tail = line.rpartition(b',"hash":')
        digest = hashlib.sha256(covered).hexdigest()
        if tail != b'"%s"}' % digest.encode():
            sys.exit(f"{file}: line {seq + 1}: its hash does not match")
        entry = json.loads(line)
        if entry["seq"] != seq + 1 or entry["prev"] != prev:
            sys.exit(f"{file}: line {seq + 1}: the chain is broken")
        seq, prev = entry["seq"], digest
print(f"{seq} lines, last hash {prev}")
