# SPDX-License-Identifier: Apache-2.0
"""persist - what `apply` does, at every boot."""
import os
import subprocess
import sys

UNIT = "/etc/systemd/system/lepus-appliance.service"
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


def run(options):
    script = os.path.abspath(sys.argv[0])
    cores = "" if not options.cores else " --cores " + ",".join(str(cpu) for cpu in options.cores)
    text = TEXT % (script, options.huge_mb, cores)
    unit = options.root + UNIT
    if options.dry_run:
        print("%s:\n%s" % (unit, text), end="")
        return 0
    try:
        if options.remove:
            os.unlink(unit)
        else:
            with open(unit, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as problem:
        print("%s: %s" % (unit, problem.strerror))
        return 1
    print("%s %s" % (unit, "removed" if options.remove else "written"))
    if options.root:
        return 0
    subprocess.run(["systemctl", "daemon-reload"], check=False)
    if not options.remove:
        return subprocess.run(["systemctl", "enable", os.path.basename(UNIT)], check=False).returncode
    return 0
