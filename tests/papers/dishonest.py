"""A merchant who signs what the journal does not say is found out: python3 dishonest.py proof.json <journal>.

Each case is changed and signed anew, so that the signature is good and only the rest is not."""
import base64, hashlib, json, pathlib, secrets, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs"))
from verify_proof import BASE, DER_HEAD, L, P, Unsound, check, times

proof = json.loads(pathlib.Path(sys.argv[1]).read_text())
journal = sys.argv[2]

# RFC 8032, 5.1.5: a key of our own, which the proofs name.
digest = hashlib.sha512(secrets.token_bytes(32)).digest()
scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)


def packed(point):
    x, y = (one * pow(point[2], -1, P) % P for one in point[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little")


public = packed(times(scalar, BASE))


def sign(message):
    """RFC 8032, 5.1.6."""
    r = int.from_bytes(hashlib.sha512(digest[32:] + message).digest(), "little") % L
    begun = packed(times(r, BASE))
    h = int.from_bytes(hashlib.sha512(begun + public + message).digest(), "little") % L
    return begun + ((r + h * scalar) % L).to_bytes(32, "little")


def sealed(changed):
    text = json.dumps(changed, indent=2, ensure_ascii=False).rstrip("}").rstrip()
    return f'{text},\n  "signature": "{sign(text.encode()).hex()}"\n}}\n'.encode()


def rehashed(line, old, new):
    """A line with another text and a hash that fits it."""
    covered = line.rpartition(',"hash":')[0]
    assert old in covered, (old, covered)
    covered = covered.replace(old, new, 1)
    return f'{covered},"hash":"{hashlib.sha256(covered.encode()).hexdigest()}"}}'


def change(**members):
    def apply(one):
        one["order"].update(members)
    return apply


def totals(**members):
    def apply(one):
        one["totals"].update(members)
    return apply


def lines(edit):
    def apply(one):
        one["lines"] = edit(one["lines"])
    return apply


order = proof["order"]["order_id"]
IN_JOURNAL = "the last line changed and hashed anew, which only the journal shows"
paid = next(at for at, line in enumerate(proof["lines"]) if '"kind":"PAID"' in line)
CASES = {
    "another amount": change(amount=20_000),
    "another currency": change(currency="XAF"),
    "another day": change(paid_at="2026-01-01T00:00:00.000Z"),
    "another transaction": change(transaction_id=proof["order"]["order_id"] + "R2"),
    "a refund that was none": change(status="REFUNDED"),
    "other totals": totals(paid=20_000, kept=20_000),
    "a refund in the totals": totals(refunded=15_000, kept=0),
    "the first line gone": lines(lambda all: all[1:]),
    "a middle line gone": lines(lambda all: all[:1] + all[2:]),
    "the payment gone": lines(lambda all: all[:paid]),
    "two lines changed round": lines(lambda all: [all[1], all[0]] + all[2:]),
    "a line twice": lines(lambda all: all[:2] + all[1:]),
    "no lines": lines(lambda all: []),
    "a line changed": lines(lambda all: all[:-1] + [all[-1].replace('"at":"2', '"at":"3')]),
    "a line changed and hashed anew, which the chain does not bear":
        lines(lambda all: [rehashed(all[0], '"buyer":{}', '"buyer":{ }')] + all[1:]),
    "a line of another order": lines(lambda all: all[:-1] + [rehashed(all[-1], f'"{order}"', f'"{order[:-1]}0"')]),
    "a line from before": lines(lambda all: all[:-1] + [rehashed(all[-1], f'"seq":{json.loads(all[-1])["seq"]},', '"seq":1,')]),
    IN_JOURNAL: lines(lambda all: all[:-1] + [rehashed(all[-1], '"at":"2', '"at":"3')]),
    "an older format": lambda one: one.update(format="auditshield-proof-0"),
}


def passes(changed, folder=None):
    try:
        check(sealed(changed), journal=folder)
        return True
    except Unsound as fault:
        print(f"  {fault}")
        return False


proof.pop("signature")
proof["public_key"] = base64.b64encode(DER_HEAD + public).decode()
if not passes(proof, journal):
    sys.exit("an honest proof, signed here, does not pass: the cases below would show nothing")
for name, apply in CASES.items():
    print(name)
    changed = json.loads(json.dumps(proof))
    apply(changed)
    if changed == proof or passes(changed, journal if name == IN_JOURNAL else None):
        sys.exit(f"passes: {name}")
print(f"{len(CASES)} dishonest proofs, all found out")
