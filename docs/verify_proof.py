#!/usr/bin/env python3
"""Vérifie une preuve de vente · Verifies a proof of sale. Python 3 alone, nothing to install.

  python3 verify_proof.py preuve.json --key boutique.pem     signature, journal lines, totals
  python3 verify_proof.py preuve.pdf --key boutique.pem      the same of the file that is attached to a PDF
  python3 verify_proof.py preuve.json --key boutique.pem --journal <store>/journal   and each line in the whole journal
  python3 verify_proof.py preuve.json --extract signed.bin signature.bin             for OpenSSL:
  openssl pkeyutl -verify -pubin -inkey boutique.pem -rawin -in signed.bin -sigfile signature.bin

Without --key the file is checked against the key that it names itself: that shows that nothing was changed since it was
signed, not who signed. Of a PDF the attached file is verified and nothing else: compare what its pages say with what is
printed here. Exit 0: sound, 1: not.
"""
import argparse, base64, hashlib, json, pathlib, re, sys, zlib

SIGNATURE = b',\n  "signature": "'
DER_HEAD = bytes.fromhex("302a300506032b6570032100")


class Unsound(Exception):
    """What is wrong."""


def need(truth, what):
    if not truth:
        raise Unsound(what)


# Ed25519 (RFC 8032, 5.1.7). Verification holds no secret, so it need not be quick or constant in time.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
I = pow(2, (P - 1) // 4, P)


def recover(y, sign):
    """The point with this y (extended coordinates), or None."""
    if y >= P:
        return None
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * I % P
    if (x * x - xx) % P or (x == 0 and sign):
        return None
    x = P - x if x % 2 != sign else x
    return (x, y, 1, x * y % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    total = (0, 1, 1, 0)
    while n:
        total = add(total, p) if n & 1 else total
        p, n = add(p, p), n >> 1
    return total


def point(data):
    number = int.from_bytes(data, "little")
    return recover(number & ((1 << 255) - 1), number >> 255)


BASE = recover(4 * pow(5, -1, P) % P, 0)


def verified(key, message, signature):
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


def once(pairs):
    names = [name for name, _ in pairs]
    need(len(names) == len(set(names)), "a member is named twice")
    return dict(pairs)


def streams(pdf):
    """Every stream of a PDF, as it stands and unpacked: other programs pack what they save again."""
    for raw in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S):
        yield raw
        try:
            yield zlib.decompressobj().decompress(raw)
        except zlib.error:
            pass


def attached(data):
    """The proof that is attached to a PDF; what is no PDF, as it is."""
    if not data.startswith(b"%PDF-"):
        return data
    found = [one for one in streams(data) if one.startswith(b'{\n  "format": "auditshield-proof-')]
    need(len(found) == 1, f"{len(found)} proofs are attached to the PDF")
    return found[0]


def parts(data):
    """The signed bytes and the signature. Every byte of the file belongs to one of them, or is fixed."""
    signed, _, tail = data.rpartition(SIGNATURE)
    need(re.fullmatch(rb'[0-9a-f]{128}"\n}\n', tail), "the file does not end with a signature")
    return signed, bytes.fromhex(tail[:128].decode())


def chained(lines, order):
    """The lines' own hashes, their order and their continuity; their events."""
    before, events = None, []
    for version, text in enumerate(lines, 1):
        covered, _, tail = text.rpartition(',"hash":')
        digest = hashlib.sha256(covered.encode()).hexdigest()
        need(tail == '"%s"}' % digest, f"journal line {version}: its hash does not match")
        entry = json.loads(text, object_pairs_hook=once)
        need(entry["order"] == order, f"journal line {version} is of another order")
        need(entry["version"] == version, f"journal line {version}: a line of the order is missing")
        if before:
            need(entry["seq"] > before["seq"], f"journal line {version} stands in the wrong place")
            need(entry["seq"] != before["seq"] + 1 or entry["prev"] == before["hash"], f"journal line {version}: the chain is broken")
        events += [dict(event, at=entry["at"]) for event in entry["events"]]
        before = entry
    return events


def told(events):
    """What the lines say of the order, whatever the file's head says."""
    created, paid, accepted, refunded = None, None, set(), False
    for event in events:
        kind = event["kind"]
        if kind == "CREATED":
            need(created is None, "the order is created twice")
            created, buyer = event, event["buyer"]
        elif kind == "NOTE":
            buyer = event.get("buyer", buyer)
        elif kind == "CHECKED" and event["verdict"] == "accepted":
            accepted.add(event["attempt"])
        elif kind == "PAID":
            need(paid is None, "the order is paid twice")
            need(event.get("approved") or event["attempt"] in accepted, "paid without CinetPay's word for it")
            paid = event
        elif kind == "REFUNDED":
            refunded = True
    need(created and events[0] is created, "the order's first line is missing")
    need(paid, "the lines tell of no payment")
    amount, attempt = created["price"]["amount"], paid["attempt"]
    return {
        "amount": amount, "currency": created["price"]["currency"], "product": created["product"], "tier": created["tier"],
        "created_at": created["at"], "paid_at": paid["at"], "status": "REFUNDED" if refunded else "PAID",
        "provider_tx_id": paid.get("provider_tx_id"), "payment_method": paid.get("payment_method"), "email": buyer.get("email"),
        "name": buyer.get("name"), "phone": buyer.get("phone"), "attempt": attempt,
        "totals": {"currency": created["price"]["currency"], "paid": amount, "refunded": amount if refunded else 0,
                   "kept": 0 if refunded else amount},
    }


def compare(proof, truth):
    order = proof["order"]
    # In the lines the buyer is sealed: {}. Who it was is the signature's word alone.
    buyer = ("email", "name", "phone") if truth["email"] else ()
    for name in ("amount", "currency", "product", "tier", "created_at", "paid_at", "status", "provider_tx_id",
                 "payment_method", *buyer):
        need(order[name] == truth[name], f"order.{name} is not what the lines say")
    attempt = truth["attempt"]
    number = order["order_id"] + (f"R{attempt}" if attempt > 1 else "")
    need(order["transaction_id"] == number, "order.transaction_id is not what the lines say")
    need(proof["totals"] == truth["totals"], "the totals are not what the lines say")


def in_journal(lines, folder):
    """Every line stands in the journal, and the journal is sound (as docs/verify_journal.py checks it)."""
    wanted, seq, prev = {json.loads(line)["seq"]: line.encode() for line in lines}, 0, "0" * 64
    for file in sorted(pathlib.Path(folder).glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n")[:-1]:
            covered, _, tail = line.rpartition(b',"hash":')
            digest = hashlib.sha256(covered).hexdigest()
            entry = json.loads(line)
            sound = tail == b'"%s"}' % digest.encode() and entry["seq"] == seq + 1 and entry["prev"] == prev
            need(sound, f"{file}: line {seq + 1} is damaged")
            seq, prev = entry["seq"], digest
            need(wanted.pop(seq, line) == line, f"journal line {seq} differs from the proof's")
    need(not wanted, f"not in the journal: lines {sorted(wanted)}")


def pem_keys(text):
    found = re.findall("-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", text, re.S)
    return ["".join(one.split()) for one in found]


def check(data, keys=None, journal=None):
    """The proof, read; raises Unsound."""
    signed, signature = parts(data)
    try:
        proof = json.loads(data, object_pairs_hook=once)
        need(proof["format"] == "auditshield-proof-1", "not a proof that this script knows")
        named = proof["public_key"]
        der = base64.b64decode(named, validate=True)
        need(der.startswith(DER_HEAD) and len(der) == 44, "not an Ed25519 key")
        need(keys is None or named in keys, "signed with another key than the one given")
        need(verified(der[12:], signed, signature), "the signature is not valid")
        compare(proof, told(chained(proof["lines"], proof["order"]["order_id"])))
        if journal:
            in_journal(proof["lines"], journal)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
        raise Unsound(f"unreadable: {fault}") from fault
    return proof


def main():
    usage = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usage.add_argument("proof")
    usage.add_argument("--key", help="public key(s), PEM, had from the merchant on another way")
    usage.add_argument("--journal", help="the journal's folder")
    usage.add_argument("--extract", nargs=2, metavar=("SIGNED", "SIGNATURE"), help="write both for OpenSSL")
    args = usage.parse_args()
    given = pathlib.Path(args.proof).read_bytes()
    try:
        data = attached(given)
        if args.extract:
            for place, content in zip(args.extract, parts(data)):
                pathlib.Path(place).write_bytes(content)
        proof = check(data, pem_keys(pathlib.Path(args.key).read_text()) if args.key else None, args.journal)
    except Unsound as fault:
        sys.exit(f"NON / NOT SOUND: {fault}")
    order, totals = proof["order"], proof["totals"]
    print(f"{order['order_id']}  {order['status']}  {totals['paid']} {totals['currency']}  {order['paid_at']}  {order['email']}")
    print(f"{len(proof['lines'])} lignes du journal, signature valable / journal lines, signature valid")
    if data != given:
        print("PDF : seul le fichier joint est vérifié, comparez ses pages à ces lignes / only the attached file is verified, compare the pages with these lines")
    if not args.key:
        print_of = hashlib.sha256(base64.b64decode(proof["public_key"])).hexdigest()[:32]
        print(f"clé / key {print_of}: comparez-la à celle du marchand / compare it with the merchant's (--key)")


if __name__ == "__main__":
    main()
