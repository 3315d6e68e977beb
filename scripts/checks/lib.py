# SPDX-License-Identifier: Apache-2.0
"""What the checks share: which files there are, which objects were built, how to complain."""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LP_BUILD") or os.path.join(ROOT, "build")
JOBS = int(os.environ.get("LP_JOBS") or os.cpu_count() or 2)

WARNINGS = """-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wwrite-strings
    -Wformat=2 -Wdouble-promotion -Werror""".split()
WARNINGS_C = WARNINGS + """-std=gnu11 -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla
    -Wnull-dereference""".split()
INCLUDES = ["-D_GNU_SOURCE", "-I" + ROOT, "-I" + os.path.join(ROOT, "include")]


def files(*suffixes, under=("",)):
    """Files of the repository, tracked or about to be, relative to its top."""
    git = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
                         capture_output=True, text=True)
    listed = git.stdout.split("\n") if git.returncode == 0 else everything()
    return sorted(path for path in set(listed)
                  if path and path.endswith(suffixes or "") and path.startswith(tuple(under))
                  and os.path.isfile(os.path.join(ROOT, path)))


def everything():
    """The same without git: an unpacked release."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders
                      if name not in (".git", "node_modules", "__pycache__")
                      and not os.path.isfile(os.path.join(folder, name, "build.ninja"))]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), ROOT)


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def lines(path):
    return text(path).split("\n")


def without_comments(source):
    """The same text, same line numbers, with comments and string contents blanked."""
    def blank(match):
        word = match.group(0)
        if word.startswith("/"):
            return re.sub(r"[^\n]", " ", word)
        return word[0] + " " * (len(word) - 2) + word[-1]
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
                  blank, source, flags=re.S)


def objects(*folders):
    """[(source, object)] of the gcc build, for C sources under `folders`."""
    database = os.path.join(BUILD, "compile_commands.json")
    if not os.path.isfile(database):
        sys.exit("%s is not there: run scripts/build --all first" % database)
    with open(database) as file:
        commands = json.load(file)
    out = []
    for command in commands:
        source = os.path.relpath(os.path.join(command["directory"], command["file"]), ROOT)
        built = os.path.join(command["directory"], command["output"])
        # bench/gate compiles the data plane once more, for its counters.
        counted = "_counted" in command["output"]
        if source.startswith(folders) and source.endswith(".c") and os.path.isfile(built) and not counted:
            out.append((source, built))
    return sorted(set(out))


def library(name):
    """The archive of that name in the build, or None."""
    for folder in ("dataplane", "drivers", "control"):
        path = os.path.join(BUILD, folder, "lib%s.a" % name)
        if os.path.isfile(path):
            return path
    return None


def members(name):
    """[(source, object)] of the objects that are in the archive."""
    archive = library(name)
    if archive is None:
        return []
    private = archive + ".p" + os.sep
    return [(source, built) for source, built in objects("dataplane/", "drivers/", "control/")
            if os.path.abspath(built).startswith(private)]


def nm(path, *options):
    return subprocess.run(["nm", *options, path], check=True, capture_output=True,
                          text=True).stdout.split("\n")


class Report:
    """Collects complaints; `end` prints them with the remedy and exits."""

    def __init__(self, remedy):
        self.remedy = remedy
        self.complaints = []

    def add(self, where, what):
        self.complaints.append("%s: %s" % (where, what))

    def end(self, looked_at):
        for complaint in self.complaints:
            print("  " + complaint)
        if self.complaints:
            print("  To fix: " + self.remedy)
            sys.exit(1)
        print("  ok (%s)" % looked_at)
        sys.exit(0)
