#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fake_child - stands for lepus-dataplane and lepus-control under the real launcher.

It reports what it was given to the datagram socket $FAKE_EVENTS and then does
as the launcher expects of it, or misbehaves as $FAKE_MODE says. The two speak
by the launcher's eventfds, so a wrong descriptor is a test that fails.
"""
import json
import os
import select
import signal
import socket
import sys

name = os.path.basename(sys.argv[0])
dataplane = name == "lepus-dataplane"
mode = os.environ.get("FAKE_MODE", "")
options = {}
for word in sys.argv[1:]:
    key, _, value = word.partition("=")
    options.setdefault(key, []).append(value)


def open_now(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False   # the one that listed the folder


def descriptors():
    return [n for n in map(int, os.listdir("/proc/self/fd")) if open_now(n)]


def given():
    numbers = [int(options[k][0]) for k in ("--region-fd", "--control-wake-fd", "--ready-fd")
               if k in options]
    return sorted([0, 1, 2] + numbers + [int(n) for n in options["--shard-wake-fds"][0].split(",")])


event = {"name": name, "pid": os.getpid(), "words": sys.argv[1:],
         "extra_fds": sorted(set(descriptors()) - set(given())),
         "region_bytes": os.fstat(int(options["--region-fd"][0])).st_size,
         "group": os.getpgid(0),
         "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0]}
report = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
wakes = [int(n) for n in options["--shard-wake-fds"][0].split(",")]

if dataplane:
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else signal.SIG_DFL)
    if mode == "dataplane-fails":
        sys.exit(3)
    ready = lambda *_: os.write(int(options["--ready-fd"][0]), b"ready tcp:127.0.0.1:4321 transport=fake\n")
    if mode == "dataplane-recovers":
        signal.signal(signal.SIGUSR2, ready)
    elif "--ready-fd" in options:
        ready()
else:
    signal.signal(signal.SIGTERM, lambda *_: os.write(wakes[0], (1).to_bytes(8, "little")))
    if mode == "control-fails-late":
        select.select([], [], [], 1.05)  # longer than what the launcher calls quick
    if mode.startswith("control-fails"):
        sys.exit(4)
    deaf = mode == "control-deaf" and int(options["--generation"][0]) < 3
    if "--ready-fd" in options and not deaf:
        os.write(int(options["--ready-fd"][0]), b"\n")
report.setblocking(False)
try:
    report.sendto(json.dumps(event).encode(), os.environ["FAKE_EVENTS"])
except BlockingIOError:
    pass  # a test that does not listen: the socket's queue holds ten
if dataplane and mode == "dataplane-crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if dataplane:
    # Drained: control has told the shard to stop.
    os.set_blocking(wakes[0], True)
    os.read(wakes[0], 8)
    if mode == "stubborn":
        while True:
            signal.pause()
    sys.exit(0)
signal.pause()
