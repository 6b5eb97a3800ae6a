"""Compares the mutants that survived with the list of those that may."""

import pathlib
import re
import sys

CAUGHT_PERCENT_MIN = 90


def lines(path):
    return [line for line in path.read_text().splitlines() if line.strip()] if path.exists() else []


def place(mutant):
    """The mutant without its line and column: `src/domain/decide.rs: replace … with …`."""
    return re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", mutant)


def main():
    out, listed, scope = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    # A mutant that never ends was noticed: the daemon's tests would hang too.
    caught = lines(out / "caught.txt") + lines(out / "timeout.txt")
    missed = [place(mutant) for mutant in lines(out / "missed.txt")]
    known, bare = {}, []
    for line in lines(listed):
        if line.startswith("#"):
            continue
        mutant, _, reason = line.partition(" -- ")
        known[mutant.strip()] = reason.strip()
        if not reason.strip():
            bare.append(mutant)
    total = len(caught) + len(missed)
    if not total:
        raise SystemExit("mutants: none was tested")
    share = 100 * len(caught) / total
    print(f"mutants: {total} viable, {len(caught)} caught ({share:.1f} %), {len(missed)} survived")
    problems = [f"without a reason: {mutant}" for mutant in bare]
    problems += [f"survived and not listed: {mutant}" for mutant in missed if mutant not in known]
    if scope == "all":
        problems += [f"listed, but it does not survive: {mutant}" for mutant in known if mutant not in missed]
        if share < CAUGHT_PERCENT_MIN:
            problems.append(f"fewer than {CAUGHT_PERCENT_MIN} % caught")
    print("\n".join(problems))
    if problems:
        raise SystemExit(1)


main()
