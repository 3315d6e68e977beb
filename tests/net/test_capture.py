#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`lepus capture` and `lepus nic`: what an operator sees of a running broker's frames, and of this machine's cards.

Needs root and /dev/net/tun for the first; else those tests are skipped.
"""
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import broker as broker_module
import netns
import test_devices

SYN, ACK = 2, 16


def lepus(*words, **options):
    return subprocess.Popen([os.path.join(broker_module.binaries(), "lepus"), *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def blocks(data):
    """(type, body) of each block of a pcapng file, lengths compared."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length, "a block ends as it begins"
        yield kind, data[at + 8:at + length - 4]
        at += length


def packets(data):
    """(interface, wall time in s, direction, whole, bytes) of each."""
    for kind, body in blocks(data):
        if kind == 6:
            interface, high, low, captured, whole = struct.unpack_from("<IIIII", body)
            options = body[20 + (captured + 3) // 4 * 4:]
            code, size, flags = struct.unpack_from("<HHI", options)
            assert (code, size) == (2, 4)
            yield interface, (high << 32 | low) / 1e9, flags & 3, whole, body[20:20 + captured]


def tcp_flags(frame):
    """Of IPv4 over Ethernet, with ports; None: something else."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 6:
        return None
    at = 14 + (frame[14] & 15) * 4
    source, target = struct.unpack_from(">HH", frame, at)
    return source, target, frame[at + 13]


class Capture(test_devices.Case):
    def capture(self, target, *words):
        process = lepus("capture", "--data", target.data, *words)
        self.undo.append(lambda: (process.kill(), process.communicate()))
        return process

    def wait_attached(self, process, tap):
        """It says so when a shard has found it; a shard looks when it has something to do."""
        for _ in range(300):
            test_devices.ping(tap.subnet.ours, count=1)
            if select.select([process.stderr], [], [], 0.05)[0]:
                line = process.stderr.readline().decode()
                self.assertIn("Ctrl-C ends it", line)
                return
        self.fail("no shard began to write")

    def ended(self, process):
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err.decode()

    def test_frames_of_both_directions_are_there_with_times_and_contents(self):
        tap = self.tap()
        target = self.start(tap, tap.device)
        process = self.capture(target, "-")
        self.wait_attached(process, tap)
        with socket.create_connection((tap.subnet.ours, 5672), timeout=30) as link:
            link.sendall(b"AMQP\0\0\x09\x01")
            self.assertIn(b"Lepus", link.recv(65536))
            port = link.getsockname()[1]
        process.send_signal(signal.SIGINT)
        status, data, err = self.ended(process)
        self.assertEqual(status, 0, err)
        self.assertIn("0 dropped", err)
        seen = [(direction, flags[2], frame) for _, _, direction, _, frame in packets(data)
                for flags in [tcp_flags(frame)] if flags and port in flags[:2]]
        self.assertIn((1, SYN), [(direction, flags) for direction, flags, _ in seen])
        self.assertIn((2, SYN | ACK), [(direction, flags) for direction, flags, _ in seen])
        self.assertTrue(any(direction == 1 and b"AMQP\0\0\x09\x01" in frame for direction, _, frame in seen))
        self.assertTrue(any(direction == 2 and b"Lepus" in frame for direction, _, frame in seen))
        times = [when for _, when, _, _, _ in packets(data)]
        self.assertLess(abs(times[-1] - time.time()), 60)
        self.assertFalse(os.path.exists(os.path.join(target.data, "capture")))

    def test_it_ends_after_so_many_and_keeps_so_much_of_each(self):
        tap = self.tap()
        target = self.start(tap, tap.device)
        with tempfile.NamedTemporaryFile() as file:
            process = self.capture(target, "--count", "20", "--snap", "60", file.name)
            self.wait_attached(process, tap)
            self.assertTrue(test_devices.work(tap.subnet.ours, count=20))
            status, _, err = self.ended(process)
            self.assertEqual(status, 0, err)
            found = list(packets(file.read()))
        self.assertEqual(len(found), 20)
        self.assertLessEqual(max(len(frame) for _, _, _, _, frame in found), 60)

    def test_whoever_looks_and_dies_costs_the_broker_nothing(self):
        tap = self.tap()
        target = self.start(tap, tap.device)
        process = self.capture(target, "/dev/null")
        self.wait_attached(process, tap)
        process.send_signal(signal.SIGSTOP)  # it reads nothing: the ring fills
        self.assertTrue(test_devices.work(tap.subnet.ours))
        process.kill()
        process.communicate()
        self.assertTrue(test_devices.work(tap.subnet.ours))
        again = self.capture(target, "--seconds", "60", "/dev/null")
        self.wait_attached(again, tap)
        again.send_signal(signal.SIGINT)
        self.assertEqual(self.ended(again)[0], 0)

    def test_one_at_a_time(self):
        tap = self.tap()
        target = self.start(tap, tap.device)
        first = self.capture(target, "/dev/null")
        self.wait_attached(first, tap)
        status, _, err = self.ended(self.capture(target, "/dev/null"))
        self.assertEqual(status, 1)
        self.assertIn("another capture is running", err)

    def test_without_ports_nobody_answers_and_it_says_so(self):
        target = broker_module.Broker(shards=1)
        self.undo.append(target.stop)
        status, _, err = self.ended(self.capture(target, "--seconds", "0.3", "/dev/null"))
        self.assertEqual(status, 1)
        self.assertIn("nobody answered", err)


class Words(unittest.TestCase):
    def run_words(self, *words):
        out, err = (process := lepus(*words)).communicate(timeout=60)
        return process.returncode, out.decode(), err.decode()

    def test_help_and_mistakes(self):
        self.assertIn("pcapng", self.run_words("capture", "--help")[1])
        self.assertIn("lepus nic show", self.run_words("nic", "--help")[1])
        self.assertIn("lists is none of these", self.run_words("nic", "lists")[2])
        self.assertIn("show needs one device", self.run_words("nic", "show")[2])
        self.assertIn("net_af_xdp0,iface=lo", self.run_words("nic", "show", "lo")[2])
        self.assertIn("our own driver's", self.run_words("nic", "show", "tap:x")[2])
        for words in (["capture"], ["capture", "--port", "x", "f"], ["capture", "a", "b"], ["nic"], ["nic", "lists"]):
            self.assertEqual(self.run_words(*words)[0], 64, words)
        status, _, err = self.run_words("capture", "--data", "/nowhere/at/all", "/dev/null")
        self.assertEqual(status, 1)
        self.assertIn("no data directory", err)

    def test_interfaces_and_cards_are_listed(self):
        root = tempfile.mkdtemp(prefix="lepus-nics-")
        self.addCleanup(shutil.rmtree, root)
        for path, text in (("class/net/eth7/operstate", "up"), ("class/net/eth7/mtu", "9000"),
                           ("class/net/eth7/queues/rx-0/x", ""), ("class/net/eth7/queues/rx-1/x", ""),
                           ("class/net/eth7/queues/tx-0/x", ""), ("bus/pci/devices/0000:3b:00.0/net/eth7/x", ""),
                           ("bus/pci/devices/0000:3b:00.0/class", "0x020000"),
                           ("bus/pci/devices/0000:3b:00.0/vendor", "0x8086"),
                           ("bus/pci/devices/0000:3b:00.0/device", "0x10fb"),
                           ("bus/pci/devices/0000:3b:00.0/numa_node", "1"),
                           ("bus/pci/devices/0000:00:01.0/class", "0x010000")):
            os.makedirs(os.path.dirname(os.path.join(root, "sys", path)), exist_ok=True)
            with open(os.path.join(root, "sys", path), "w", encoding="utf-8") as file:
                file.write(text + "\n")
        status, out, _ = self.run_words("nic", "list", "--root", root)
        self.assertEqual(status, 0)
        self.assertRegex(out, r"eth7 +up +9000")
        self.assertRegex(out, r"0000:3b:00.0 +8086:10fb +node 1 .*scripts/appliance bind 0000:3b:00.0")
        self.assertNotIn("0000:00:01.0", out)
        status, out, _ = self.run_words("nic", "list", "--json", "--root", root)
        self.assertEqual(status, 0)
        told = json.loads(out)
        self.assertEqual([(one["name"], one["state"], one["mtu"], one["queues"]) for one in told["interfaces"]],
                         [("eth7", "up", "9000", 2)])
        self.assertEqual([(one["name"], one["ids"], one["node"], one["interfaces"], one["use"]) for one in told["cards"]],
                         [("0000:3b:00.0", "8086:10fb", "1", "eth7", "scripts/appliance bind 0000:3b:00.0")])

    def test_a_cards_driver_decides_what_is_to_be_done_with_it(self):
        root = tempfile.mkdtemp(prefix="lepus-nics-")
        self.addCleanup(shutil.rmtree, root)
        for address, driver in (("0000:3b:00.0", "vfio-pci"), ("0000:3b:00.1", "mlx5_core"), ("0000:3b:00.2", "ice")):
            base = os.path.join(root, "sys/bus/pci/devices", address)
            os.makedirs(base)
            with open(base + "/class", "w", encoding="utf-8") as file:
                file.write("0x020000\n")
            os.symlink("../../drivers/" + driver, base + "/driver")
        out = self.run_words("nic", "list", "--root", root)[1]
        self.assertIn("lepus.net.port.0.device = 0000:3b:00.0\n", out)
        self.assertIn("lepus.net.port.0.device = 0000:3b:00.1 (stays with its kernel driver)\n", out)
        self.assertIn("scripts/appliance bind 0000:3b:00.2\n", out)

    def test_this_machines_interfaces_say_what_they_do_themselves(self):
        told = json.loads(self.run_words("nic", "list", "--json")[1])
        loopback = [one for one in told["interfaces"] if one["name"] == "lo"][0]
        self.assertIn(loopback["tx_checksum"], (True, False))
        self.assertEqual(loopback["use"], "")


if __name__ == "__main__":
    if not test_devices.MISSING:
        netns.enter()
    unittest.main(warnings="ignore")
