#!/usr/bin/env python3
"""Holds man/kitfs.1 against --help: the same verbs, options, letters and defaults.

    man_help.py KITFS MAN-PAGE
"""
import re
import subprocess
import sys

OPTION = re.compile(r"^  (?:-(\w), |    )--([\w-]+)")
DEFAULT = re.compile(r"\[([^]]+)\]$")


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True,
                          timeout=30).stdout


def help_of(kitfs):
    """Verbs, and options as {name: (letters, default)}."""
    verbs = re.findall(r"^  (\w+) {2,}\S", output_of(kitfs, "--help"), re.M)
    options = {}
    for verb in verbs:
        text = re.sub(r"\n {20,}", " ", output_of(kitfs, verb, "--help"))
        for line in text.splitlines():
            match = OPTION.match(line)
            if match:
                default = DEFAULT.search(line)
                letters = options.setdefault(match[2], (set(), default and default[1]))[0]
                letters.update(match[1] or "")
    return verbs, options


def plain(line):
    """A line of a man page without macro, fonts and escapes."""
    line = re.sub(r"\\f[RBIP]", "", line.replace("\\-", "-")).replace("\\(aq", "'")
    macro = re.match(r"\.(BR|BI|RB|RI|IR|IB|B|I) ", line)
    if not macro:
        return line
    words = re.findall(r'"([^"]*)"|(\S+)', line[macro.end():])
    return ("" if len(macro[1]) == 2 else " ").join(a or b for a, b in words)


def section(roff, name):
    """The tagged paragraphs of a section, as [tag, text]."""
    lines = re.search(rf"^\.SH {name}\n(.*?)(?=^\.SH )", roff, re.M | re.S)[1].splitlines()
    items = []
    for number, line in enumerate(lines):
        if number and lines[number - 1] == ".TP":
            items.append([plain(line), ""])
        elif items and line not in (".TP", ".PP"):
            items[-1][1] += plain(line) + " "
    return items


def compare(what, in_help, in_man):
    for name in sorted(set(in_help) ^ set(in_man)):
        where = "man page" if name in in_help else "help"
        yield f"{what} {name} is missing in the {where}"


def main():
    verbs, options = help_of(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as page:
        roff = page.read()
    man_verbs = [tag.split()[0] for tag, _ in section(roff, "VERBS")]
    man_options = {name: (tag, text) for tag, text in section(roff, "OPTIONS")
                   for name in re.findall(r"--([\w-]+)", tag)}
    problems = [*compare("verb", verbs, man_verbs),
                *compare("option", options, man_options)]
    for name in set(options) & set(man_options):
        letters, default = options[name]
        tag, text = man_options[name]
        for letter in letters:
            if f"-{letter}, --{name}" not in tag:
                problems.append(f"-{letter} of --{name} is missing in the man page")
        if default and not re.search(rf"Default {re.escape(default)}[. ]|"
                                     rf"\b{re.escape(default)} \(default\)", text):
            problems.append(f"default {default} of --{name} is not in the man page")
    print("\n".join(problems))
    if not verbs or len(options) < 10:
        problems.append("the help was not understood")
    return 1 if problems else 0


sys.exit(main())
