#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Broker and generator over shared memory, with no kernel between: net_vhost and net_virtio_user.

    tests/net/test_vhost.py [--only TEXT]

lepus-bench checks each message: whole, once, in order. Either may be the vhost, either may be killed. The memory has to
be huge pages; as root this program asks for them and gives them back, else its tests are skipped.
"""
import fcntl
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import broker as broker_module
import suite

PAGES = "/proc/sys/vm/nr_hugepages"
PAGES_NEEDED = 136      # of 2 MiB: 128 MiB for either, and some for DPDK itself
ADDRESS, OURS = "10.99.0.1/24", "10.99.0.2"
DEADLINE_S = 60.0
TURN_S = 600.0          # of another run of this program


def number_of(path, name=None):
    with open(path) as file:
        for line in file:
            if name is None or line.startswith(name + ":"):
                return int(line.split()[0 if name is None else 1])
    return 0


def pages_set(count):
    with open(PAGES, "w") as file:
        file.write(str(count))


class Pages:
    """Huge pages for as long as the tests run; others may take and give some meanwhile, but not this program's twin."""

    def __init__(self):
        self.missing, self.added = None, 0
        self.lock = open(os.path.join(tempfile.gettempdir(), "lepus-huge-pages.lock"), "w")
        self.take_turn()
        free = number_of("/proc/meminfo", "HugePages_Free")
        if free >= PAGES_NEEDED:
            return
        try:
            before = number_of(PAGES)
            pages_set(before + PAGES_NEEDED - free)
            self.added = number_of(PAGES) - before
        except OSError:
            self.missing = "needs %d MiB of huge pages, or to be root" % (2 * PAGES_NEEDED)
        if not self.missing and number_of("/proc/meminfo", "HugePages_Free") < PAGES_NEEDED:
            self.missing = "the kernel has no %d MiB of huge pages left" % (2 * PAGES_NEEDED)

    def take_turn(self):
        until = time.monotonic() + TURN_S
        while True:
            try:
                return fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                select.select([], [], [], 0.1)

    def close(self):
        if self.added:
            pages_set(max(number_of(PAGES) - self.added, 0))
        self.lock.close()


def setUpModule():
    global PAGES_HELD
    PAGES_HELD = Pages()


def tearDownModule():
    PAGES_HELD.close()


class Vhost(unittest.TestCase):
    def setUp(self):
        if PAGES_HELD.missing:
            self.skipTest(PAGES_HELD.missing)
        self.folder = tempfile.mkdtemp(prefix="lepus-vhost-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        path = os.path.join(self.folder, "sock")
        self.vhost = "net_vhost0,iface=%s,queues=1" % path
        self.virtio = "net_virtio_user0,path=%s,queues=1,queue_size=1024" % path

    def start(self, device):
        key = "lepus.net.port.0."
        try:
            target = broker_module.Broker(shards=1, settings=[
                key + "device=" + device, key + "address.0=%s/24" % OURS, "listeners.tcp.net=%s:5672" % OURS,
                "lepus.net.dpdk.memory=128MiB", "lepus.memory=256MiB", "loopback_users=none"])
        except RuntimeError as problem:
            if re.search(r"no DPDK|without DPDK|built with -Ddpdk|libdpdk", str(problem)):
                self.skipTest("this build has no DPDK")
            raise
        self.addCleanup(target.stop)
        return target

    def bench(self, device, *words):
        line = [os.path.join(broker_module.binaries(), "lepus-bench"), "--net", device, "--net-address", ADDRESS,
                "--host", OURS, "--port", "5672", "--size", "300", "--confirm", "--quiet", "--json", "-",
                "--timeout", "30", *words]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
            process.communicate()

    def verdict(self, process):
        """Everything came, and was confirmed."""
        output, errors = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 0, output + errors)
        said = json.loads(output)
        self.assertGreater(said["received"], 0)
        self.assertEqual(said["confirmed"], said["sent"])
        self.assertEqual(said["received"], said["sent"])
        return said["received"]

    def traffic(self, target, device):
        print("      %d messages" % self.verdict(self.bench(device, "--seconds", "1")))
        self.assertEqual(target.ctl("list_queues", "-s", "name").stdout, "")

    def until_messages_flow(self, target, process):
        """The counters of the network are told ten times a second."""
        until, received = time.monotonic() + DEADLINE_S, 0
        while received <= 100:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), until)
            text = target.ctl("tcp_stats").stdout
            received = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("tcp_received"))

    def until_heard(self, process, path):
        """Until `process` listens there: the file is there a moment before."""
        until, listens = time.monotonic() + DEADLINE_S, False
        while not listens:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), until)
            select.select([], [], [], 0.01)
            with open("/proc/net/unix") as file:    # number, references, protocol, flags, ..., path
                rows = [line.split() for line in file]
            listens = any(row[-1] == path and int(row[3], 16) & 0x10000 for row in rows[1:])

    def test_messages_cross_it_and_a_killed_generator_is_followed_by_another(self):
        target = self.start(self.vhost)
        self.traffic(target, self.virtio)
        doomed = self.bench(self.virtio, "--seconds", "60")
        self.until_messages_flow(target, doomed)
        doomed.kill()
        doomed.communicate()
        self.verdict(self.bench(self.virtio, "--seconds", "1"))

    def test_a_killed_broker_is_followed_by_another(self):
        target = self.start(self.vhost)
        doomed = self.bench(self.virtio, "--seconds", "60", "--timeout", "2")
        self.until_messages_flow(target, doomed)
        target.kill_all()
        _, errors = doomed.communicate(timeout=DEADLINE_S)
        self.assertNotEqual(doomed.returncode, 0, errors)
        target.start()
        self.traffic(target, self.virtio)

    def test_a_memif_does_as_well(self):
        words = "net_memif0,id=0,socket=%s,socket-abstract=no,role=" % os.path.join(self.folder, "memif")
        target = self.start(words + "server")
        self.traffic(target, words + "client")

    def test_the_generator_may_be_the_vhost(self):
        process = self.bench(self.vhost, "--seconds", "1")
        self.until_heard(process, os.path.join(self.folder, "sock"))
        target = self.start(self.virtio)
        print("      %d messages" % self.verdict(process))
        self.assertTrue(target.running())


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
