"""One changed byte anywhere in a proof is noticed: python3 tamper.py proof.json key.pem [every nth byte, default each]."""
import pathlib, random, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs"))
from verify_proof import L, SIGNATURE, Unsound, check, parts, pem_keys

data = pathlib.Path(sys.argv[1]).read_bytes()
keys = pem_keys(pathlib.Path(sys.argv[2]).read_text())
step = int(sys.argv[3]) if len(sys.argv) > 3 else 1
seed = random.randrange(2**32)
dice = random.Random(seed)
check(data, keys)


def noticed(changed):
    try:
        check(bytes(changed), keys)
    except Unsound:
        return True
    return False


tried = 0
for place in range(dice.randrange(step), len(data), step):
    flipped = bytearray(data)
    flipped[place] ^= 1 << dice.randrange(8)
    dropped = data[:place] + data[place + 1:]
    doubled = data[:place + 1] + data[place:]
    for what, changed in (("flipped", flipped), ("dropped", dropped), ("doubled", doubled)):
        # A byte beside its twin dropped or doubled is still a change, since lengths differ.
        if not noticed(changed):
            sys.exit(f"byte {place} of {len(data)} {what} passes (seed {seed})")
        tried += 1
# The same signature spelled with a larger number.
signed, signature = parts(data)
larger = int.from_bytes(signature[32:], "little") + L
respelled = signed + SIGNATURE + (signature[:32] + larger.to_bytes(32, "little")).hex().encode() + b'"\n}\n'
for what, changed in (("respelled", respelled), ("cut", data[:-1]), ("longer", data + b"\n"), ("twice", data + data), ("empty", b""), ("spaced", b" " + data)):
    if not noticed(changed):
        sys.exit(f"a proof that is {what} passes")
print(f"{tried} changes of {len(data)} bytes, all noticed (seed {seed})")
