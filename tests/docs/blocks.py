"""The commands that README and docs/ show, and what becomes of each.

blocks.py check                every command is run by a plan of this folder, or stands in `skipped` with the reason
blocks.py unpack FOLDER        each block as a file of FOLDER, and `index`: number, file, lines joined by tabs

A plan names a block by its file and the beginning of one of its lines: `block FILE 'WORDS'`, or `part FILE 'WORDS' FROM TO`
for some of its lines.
"""

import pathlib
import re
import shlex
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
PLANS = ("readme", "vps", "sources", "cpanel")
FENCE = "```"
# What a block of commands is called; a block without a name is one, too.
SHELL = ("", "sh")


def blocks():
    """File and lines of each block of commands."""
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        language, lines = None, []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith(FENCE):
                lines.append(line)
            elif language is None:
                language, lines = line.removeprefix(FENCE), []
            else:
                if language in SHELL:
                    found.append((str(path.relative_to(ROOT)), lines))
                language, lines = None, []
    assert len(found) > 15, "the blocks were not found"
    return found


def named(all_blocks, file, words):
    """The numbers of the blocks of `file` that have a line beginning with `words`."""
    return [n for n, (name, lines) in enumerate(all_blocks) if name == file and any(l.startswith(words) for l in lines)]


def planned(all_blocks, complaints):
    """Block and line numbers that a plan runs."""
    run = set()
    for plan in PLANS:
        for line in (HERE / plan).read_text(encoding="utf-8").splitlines():
            if not re.match(r"\s*(block|part) ", line):
                continue
            verb, file, words, *rest = shlex.split(line, comments=True)
            numbers = named(all_blocks, file, words)
            if len(numbers) != 1:
                complaints.append(f"{plan}: {len(numbers)} blocks of {file} begin a line with: {words}")
                continue
            count = len(all_blocks[numbers[0]][1])
            first, last = (int(rest[0]), int(rest[1])) if verb == "part" else (1, count)
            run.update((numbers[0], n) for n in range(first, last + 1))
    return run


def skipped():
    """File, beginning of a line, reason."""
    lines = (HERE / "skipped").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def check():
    """Every line of every block is run or excused, and no excuse is left over."""
    all_blocks, complaints = blocks(), []
    run, excuses, used = planned(all_blocks, complaints), skipped(), set()
    total = 0
    for number, (file, lines) in enumerate(all_blocks):
        for index, line in enumerate(lines, start=1):
            # Comments and the second halves of long lines go with what they belong to.
            if not line.strip() or line.startswith(("#", " ")):
                continue
            total += 1
            excuse = next((e for e in excuses if e[0] == file and line.startswith(e[1])), None)
            if (number, index) in run:
                continue
            if excuse is None:
                complaints.append(f"{file}: neither run nor excused: {line}")
            else:
                used.add(excuse)
    complaints += [f"skipped: no such line, or it is run: {e[0]}: {e[1]}" for e in excuses if e not in used]
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{total} commands shown, {len(used)} kinds of them not run:")
    for file, words, reason in excuses:
        print(f"  {file}: {words}: {reason}")


def unpack(folder):
    """Writes the blocks for a shell that has no Python."""
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    index = []
    for number, (file, lines) in enumerate(blocks()):
        (target / str(number)).write_text("\n".join(lines) + "\n", encoding="utf-8")
        index.append("\t".join([str(number), file, *lines]))
    (target / "index").write_text("\n".join(index) + "\n", encoding="utf-8")


if __name__ == "__main__":
    {"check": check, "unpack": unpack}[sys.argv[1]](*sys.argv[2:])
