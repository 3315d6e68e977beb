# SPDX-License-Identifier: Apache-2.0
"""persist - what `apply` does, and what only a boot can do, at every boot."""
import os
import subprocess
import sys

import checks

UNIT = "/etc/systemd/system/lepus-appliance.service"
MODULES = "/etc/modules-load.d/lepus.conf"
GRUB = "/etc/default/grub.d/lepus.cfg"
HEAD = "# Written by `scripts/appliance persist`; `scripts/appliance persist --remove` takes it away.\n"
TEXT = """\
[Unit]
Description=Huge pages, interrupts and frequencies for Lepus
Before=lepus.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%s apply --huge-mb %d%s

[Install]
WantedBy=multi-user.target
"""


def unit(options):
    script = os.path.abspath(sys.argv[0])
    cores = "" if not options.cores else " --cores " + ",".join(str(cpu) for cpu in options.cores)
    return HEAD + TEXT % (script, options.huge_mb, cores)


def grub(options, found):
    """The words of the command line that are missing, and those that an earlier run has added."""
    words = []
    try:
        with open(options.root + GRUB, encoding="utf-8") as file:
            words = file.read().rpartition("GRUB_CMDLINE_LINUX_DEFAULT ")[2].strip().rstrip('"').split()
    except OSError:
        pass
    fresh = checks.boot_words(found)
    names = {word.partition("=")[0] for word in fresh}
    words = [word for word in words if word.partition("=")[0] not in names] + fresh
    if not words:
        return None
    return HEAD + 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT %s"\n' % " ".join(words)


def files(options, found):
    """(path, text) of what is to be there."""
    texts = [(UNIT, unit(options))]
    if any(one.name == "vfio-pci" for one in found):
        texts.append((MODULES, HEAD + "vfio-pci\n"))
    words = grub(options, found)
    if words and os.path.isdir(options.root + "/etc/default"):
        texts.append((GRUB, words))
    return texts


def write(path, text, options):
    if options.dry_run:
        print("%s:\n%s" % (path, text), end="")
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    print("%s written" % path)


def remove(options):
    there = [options.root + path for path in (UNIT, MODULES, GRUB) if os.path.exists(options.root + path)]
    if not there:
        print("nothing is there that `persist` wrote")
    if options.root + UNIT in there and not options.root and not options.dry_run:
        subprocess.run(["systemctl", "disable", os.path.basename(UNIT)], check=False)
    for path in there:
        if not options.dry_run:
            os.unlink(path)
        print("%s removed" % path)
    return there


def run(options, found):
    try:
        if options.remove:
            touched = remove(options)
        else:
            texts = files(options, found)
            for path, text in texts:
                write(options.root + path, text, options)
            touched = [options.root + path for path, _ in texts]
    except OSError as problem:
        print("%s: %s" % (problem.filename, problem.strerror))
        return 1
    if options.root + GRUB in touched:
        print("now `update-grub`, and a reboot, for what the kernel takes at boot only")
    if options.root or options.dry_run:
        return 0
    subprocess.run(["systemctl", "daemon-reload"], check=False)
    if not options.remove:
        return subprocess.run(["systemctl", "enable", os.path.basename(UNIT)], check=False).returncode
    return 0
