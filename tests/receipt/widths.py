"""The widths of WinAnsi's characters in a font's metrics (AFM), as src/adapters/paper/metrics.rs holds them.

python3 tests/receipt/widths.py FILE.afm            prints them, 16 to a line, from code 32 on
python3 tests/receipt/widths.py FILE.afm NAME RS    fails if the table NAME of the Rust source RS has others
"""

import re
import sys
import unicodedata

ACCENTS = {
    "GRAVE": "grave", "ACUTE": "acute", "CIRCUMFLEX": "circumflex", "TILDE": "tilde", "DIAERESIS": "dieresis",
    "RING ABOVE": "ring", "CEDILLA": "cedilla", "CARON": "caron", "STROKE": "slash",
}
NAMES = {
    "\u20ac": "Euro", "\u201a": "quotesinglbase", "\u0192": "florin", "\u201e": "quotedblbase", "\u2026": "ellipsis",
    "\u2020": "dagger", "\u2021": "daggerdbl", "\u02c6": "circumflex", "\u2030": "perthousand",
    "\u2039": "guilsinglleft", "\u0152": "OE", "\u2018": "quoteleft", "\u2019": "quoteright",
    "\u201c": "quotedblleft", "\u201d": "quotedblright", "\u2022": "bullet", "\u2013": "endash",
    "\u2014": "emdash", "\u02dc": "tilde", "\u2122": "trademark", "\u203a": "guilsinglright", "\u0153": "oe",
    "\u00a0": "space", "\u00ad": "hyphen", "\u00d0": "Eth", "\u00f0": "eth", "\u00de": "Thorn", "\u00fe": "thorn",
    "\u00df": "germandbls", "\u00c6": "AE", "\u00e6": "ae", "\u00b5": "mu",
}
SIGNS = (
    "exclamdown cent sterling currency yen brokenbar section dieresis copyright ordfeminine guillemotleft logicalnot "
    "hyphen registered macron degree plusminus twosuperior threesuperior acute mu paragraph periodcentered cedilla "
    "onesuperior ordmasculine guillemotright onequarter onehalf threequarters questiondown"
).split()
ASCII = (
    "space exclam quotedbl numbersign dollar percent ampersand quotesingle parenleft parenright asterisk plus comma "
    "hyphen period slash zero one two three four five six seven eight nine colon semicolon less equal greater "
    "question at"
).split()
REST = {91: "bracketleft", 92: "backslash", 93: "bracketright", 94: "asciicircum", 95: "underscore", 96: "grave",
        123: "braceleft", 124: "bar", 125: "braceright", 126: "asciitilde", 215: "multiply", 247: "divide"}


def glyph(code):
    """The glyph's name, or None for a code that WinAnsi leaves out."""
    if 32 <= code < 32 + len(ASCII):
        return ASCII[code - 32]
    if code in REST:
        return REST[code]
    try:
        char = bytes([code]).decode("cp1252")
    except UnicodeDecodeError:
        return None
    if code == 127:
        return None
    if char in NAMES:
        return NAMES[char]
    if 0xA1 <= code <= 0xBF:
        return SIGNS[code - 0xA1]
    if char.isascii():
        return char
    found = re.fullmatch(r"LATIN (SMALL|CAPITAL) LETTER (\w) WITH (.+)", unicodedata.name(char))
    letter = found[2].lower() if found[1] == "SMALL" else found[2]
    return letter + ACCENTS[found[3]]


def widths(path):
    table = {}
    for line in open(path, encoding="ascii"):
        found = re.match(r"C -?\d+ ; WX (\d+) ; N (\w+) ;", line)
        if found:
            table[found[2]] = int(found[1])
    return [table[glyph(code)] if glyph(code) else 0 for code in range(32, 256)]


def main():
    wanted = widths(sys.argv[1])
    if len(sys.argv) == 2:
        for start in range(0, len(wanted), 16):
            print("    " + " ".join(f"{width}," for width in wanted[start:start + 16]))
        return
    name, source = sys.argv[2], open(sys.argv[3], encoding="utf-8").read()
    body = re.search(rf"{name}: \[u16; 224\] = \[(.*?)\];", source, re.S)[1]
    ours = [int(number) for number in re.findall(r"\d+", body)]
    different = [code for code, (a, b) in enumerate(zip(ours, wanted), 32) if a != b]
    assert len(ours) == 224 and not different, f"{name}: {len(ours)} widths, other ones at {different}"
    print(f"{name}: 224 widths are {sys.argv[1].rsplit('/', 1)[-1]}'s")


main()
