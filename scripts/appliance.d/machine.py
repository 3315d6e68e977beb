# SPDX-License-Identifier: Apache-2.0
"""machine - /proc and /sys, or a copy of them, read and written in one place."""
import os


def cpu_list(text):
    """'0,2-4' as [0, 2, 3, 4]."""
    found = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.extend(range(int(first), int(last or first) + 1))
    return sorted(set(found))


def cpu_text(cpus):
    """The shortest way to write it."""
    parts, cpus = [], sorted(cpus)
    while cpus:
        end = 0
        while end + 1 < len(cpus) and cpus[end + 1] == cpus[end] + 1:
            end += 1
        parts.append(str(cpus[0]) if end == 0 else "%d-%d" % (cpus[0], cpus[end]))
        cpus = cpus[end + 1:]
    return ",".join(parts)


class Machine:
    def __init__(self, root=""):
        self.root = root.rstrip("/")

    def path(self, path):
        return self.root + path

    def exists(self, path):
        return os.path.exists(self.path(path))

    def read(self, path, otherwise=None):
        """A file's text without its last newline; `otherwise` when it cannot be read."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read().rstrip("\n")
        except OSError:
            return otherwise

    def number(self, path, otherwise=None):
        text = self.read(path)
        try:
            return int(text, 0)
        except (TypeError, ValueError):
            return otherwise

    def list(self, path):
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError:
            return []

    def link(self, path):
        """The last part of where a symbolic link points, or None."""
        try:
            return os.path.basename(os.readlink(self.path(path)))
        except OSError:
            return None

    def write(self, path, value):
        with open(self.path(path), "w", encoding="utf-8") as file:
            file.write(str(value))

    def command_line(self):
        """Words that the kernel was started with, as {name: value}."""
        words = {}
        for word in (self.read("/proc/cmdline") or "").split():
            name, _, value = word.partition("=")
            words[name] = value
        return words

    def online(self):
        return cpu_list(self.read("/sys/devices/system/cpu/online") or "0")

    def isolated(self):
        return cpu_list(self.read("/sys/devices/system/cpu/isolated") or "")
