#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A broker of its own address, with the Linux kernel as the peer, over each packet device.

    tests/net/test_devices.py [--only TEXT]

Taps and wires are in a network namespace that this program makes. Without root or /dev/net/tun
its tests are skipped; so are those of DPDK where the broker was built without it.
"""
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import broker as broker_module
import netns
import packets
import suite

import pika

MISSING = netns.why_not()
BIG = bytes(range(256)) * 16384  # 4 MiB


def broker(subnet, device, shards=1, settings=()):
    return broker_module.Broker(shards=shards,
                                settings=subnet.settings(device) + ["lepus.memory=256MiB"] + list(settings))


def connection(host, port=5672):
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, heartbeat=0))


def work(host, count=200, port=5672):
    """Publishes with confirms and consumes: small messages, and one that fills windows."""
    with connection(host, port) as link:
        channel = link.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.confirm_delivery()
        bodies = [os.urandom(n * 37 % 3000) for n in range(count)] + [BIG]
        for body in bodies:
            channel.basic_publish("", queue, body)
        got = []
        for method, _, body in channel.consume(queue, inactivity_timeout=30):
            if method is None:
                raise AssertionError("nothing came for 30 s, after %d of %d" % (len(got), len(bodies)))
            got.append(body)
            if len(got) == len(bodies):
                break
        channel.basic_ack(0, multiple=True)
        channel.cancel()
        return hashlib.sha256(b"".join(got)).digest() == hashlib.sha256(b"".join(bodies)).digest()


def ping(host, bytes_=56, count=3):
    """Whether each echo comes back. One at a time: for the last of several ping waits no longer than twice what the
    slowest took, or a twentieth of a second, and a machine may need more than that at any time."""
    line = ["ping", "-q", "-c", "1", "-W", "5", "-s", str(bytes_), host]
    return all(subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
               for _ in range(count))


def stats(target):
    text = target.ctl("tcp_stats").stdout
    return {name: int(number) for name, number in re.findall(r"^(\w+)\s+(\d+)\s", text, re.M)}


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def idle_share(pid, enough):
    """Of a core: the first of five looks that is below `enough`, as timers and reports come and go."""
    for _ in range(5):
        used, began = cpu_seconds(pid), time.monotonic()
        time.sleep(2)  # nothing is waited for: nothing is what has to happen
        share = (cpu_seconds(pid) - used) / (time.monotonic() - began)
        if share < enough:
            break
    return share


def pcap_write(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def pcap_read(path):
    with open(path, "rb") as file:
        data = file.read()
    frames, at = [], 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return frames


class Case(unittest.TestCase):
    def setUp(self):
        if MISSING:
            self.skipTest(MISSING)
        self.undo = []

    def tearDown(self):
        for step in reversed(self.undo):
            step()

    def start(self, end, device, **options):
        target = broker(end.subnet, device, **options)
        self.undo.append(target.stop)
        return target

    def until(self, target, name, least):
        """The counters are told ten times a second, while there are frames."""
        until = time.monotonic() + 20
        while stats(target)[name] < least:
            self.assertLess(time.monotonic(), until, (name, stats(target)[name]))
        return stats(target)

    def tap(self, **options):
        tap = netns.Tap(**options)
        self.undo.append(tap.close)
        return tap

    def wire(self, **options):
        wire = netns.Wire(**options)
        self.undo.append(wire.close)
        return wire


class Tap(Case):
    def test_messages_cross_it_with_one_shard_and_with_two(self):
        for shards in (1, 2):
            tap = self.tap()
            self.start(tap, tap.device, shards=shards)
            self.assertTrue(work(tap.subnet.ours))

    def test_messages_cross_it_over_ipv6(self):
        tap = self.tap()
        self.start(tap, tap.device, shards=2)
        self.assertTrue(work(tap.subnet.ours6))

    def test_it_answers_pings_of_any_size(self):
        tap = self.tap()
        self.start(tap, tap.device)
        for size in (0, 56, 1472):
            self.assertTrue(ping(tap.subnet.ours, size))
        self.assertTrue(ping(tap.subnet.ours6, 1452))

    def test_small_mtus_carry_large_messages(self):
        for mtu in (576, 1280, 9000):
            tap = self.tap(mtu=mtu) if mtu >= 1280 else None
            if tap is None:
                # Less than IPv6 takes: our end has IPv4 alone.
                tap = netns.Tap()
                self.undo.append(tap.close)
                netns.ip("link", "set", tap.name, "mtu", mtu)
                settings = [s for s in tap.subnet.settings(tap.device) if tap.subnet.ours6 not in s]
                target = broker_module.Broker(shards=1, settings=settings)
                self.undo.append(target.stop)
            else:
                self.start(tap, tap.device)
            self.assertTrue(work(tap.subnet.ours, count=50), mtu)

    def test_addresses_wait_when_told_to(self):
        tap = self.tap()
        begun = time.monotonic()
        self.start(tap, tap.device, shards=2, settings=["lepus.net.addresses_wait=true"])
        early = ping(tap.subnet.ours, count=1)
        # Three probes, a second or two apart, and two seconds more (RFC 5227 1.1).
        self.assertFalse(early and time.monotonic() < begun + 3)
        until = time.monotonic() + 30
        while not ping(tap.subnet.ours, count=1):
            self.assertLess(time.monotonic(), until)
        self.assertGreater(time.monotonic(), begun + 3)
        self.assertTrue(work(tap.subnet.ours, count=20))
        self.assertTrue(work(tap.subnet.ours6, count=20))

    def test_an_address_that_another_machine_had_is_ours_when_it_has_gone(self):
        tap = self.tap()
        netns.ip("address", "add", tap.subnet.ours + "/29", "dev", tap.name)
        target = self.start(tap, tap.device, shards=2)
        self.until(target, "arp_conflicts", 1)
        until = time.monotonic() + 20
        while "NOT OURS   " + tap.subnet.ours not in target.ctl("list_ports").stdout:  # told some times a second
            self.assertLess(time.monotonic(), until)
        netns.ip("address", "del", tap.subnet.ours + "/29", "dev", tap.name)
        until = time.monotonic() + 60
        while not ping(tap.subnet.ours, count=1):
            self.assertLess(time.monotonic(), until)
        self.assertTrue(work(tap.subnet.ours, count=20))
        until = time.monotonic() + 20
        while "NOT OURS" in target.ctl("list_ports").stdout:  # told some times a second
            self.assertLess(time.monotonic(), until)

    def test_the_kernel_and_we_serve_at_the_same_time(self):
        tap = self.tap()
        target = self.start(tap, tap.device, shards=2)
        ours, kernel = connection(tap.subnet.ours), connection("127.0.0.1", target.port)
        sender, receiver = ours.channel(), kernel.channel()
        receiver.queue_declare("between", exclusive=False, auto_delete=True)
        sender.basic_publish("", "between", b"over the tap")
        until = time.monotonic() + 10
        body = None
        while body is None and time.monotonic() < until:
            body = receiver.basic_get("between", auto_ack=True)[2]
        self.assertEqual(body, b"over the tap")
        ours.close()
        kernel.close()
        self.assertTrue(work("127.0.0.1", port=target.port))

    def test_a_listener_without_an_address_is_on_both_unless_told(self):
        tap = self.tap()
        for where, kernel, ours in (("both", True, True), ("kernel", True, False), ("net", False, True)):
            target = broker(tap.subnet, tap.device,
                            settings=["listeners.tcp.wild=5700", "lepus.net.listeners=" + where])
            for host, wanted in (("127.0.0.1", kernel), (tap.subnet.ours, ours)):
                try:
                    socket.create_connection((host, 5700), timeout=5).close()
                    reached = True
                except ConnectionRefusedError:
                    reached = False
                self.assertEqual(reached, wanted, (where, host))
            target.stop()

    def test_a_data_plane_that_died_comes_back_on_the_same_tap(self):
        tap = self.tap()
        target = self.start(tap, tap.device, shards=2)
        os.kill(target.child("lepus-dataplane"), 9)
        until = time.monotonic() + 30
        while True:
            try:
                self.assertTrue(work(tap.subnet.ours, count=20))
                break
            except (pika.exceptions.AMQPError, OSError):
                if time.monotonic() > until:
                    raise

    def test_a_consumer_that_only_listens_hears_of_a_data_plane_that_died(self):
        tap = self.tap()
        target = self.start(tap, tap.device, shards=2)
        links = [connection(host) for host in (tap.subnet.ours, tap.subnet.ours6) for _ in range(10)]
        for link in links:  # heartbeat=0: nothing of theirs would ever be sent
            channel = link.channel()
            channel.basic_consume(channel.queue_declare("", exclusive=True).method.queue, lambda *_: None)
        ready = target.log_tail().count("lepus: ready on")
        os.kill(target.child("lepus-dataplane"), 9)
        until = time.monotonic() + 30
        while target.log_tail().count("lepus: ready on") == ready:
            self.assertLess(time.monotonic(), until)
        until = time.monotonic() + 10
        for link in links:
            with self.assertRaises((pika.exceptions.AMQPConnectionError, OSError)):
                while time.monotonic() < until:
                    link.process_data_events(time_limit=0.2)
        self.assertTrue(work(tap.subnet.ours, count=20))
        counted = self.until(target, "tcp_orphans", len(links))
        self.assertEqual(counted["tcp_orphans"], len(links))

    def test_ports_and_counters_are_listed(self):
        tap = self.tap()
        target = self.start(tap, tap.device, shards=2)
        self.assertTrue(work(tap.subnet.ours, count=20))
        text = target.ctl("list_ports").stdout
        self.assertIn(tap.device, text)
        self.assertIn(tap.subnet.ours + "/29", text)
        until = time.monotonic() + 10
        while stats(target)["tcp_received"] <= 20:  # told ten times a second
            self.assertLess(time.monotonic(), until)
        counted = stats(target)
        self.assertEqual(counted["tcp_checksum"], 0)


class Configuration(Case):
    def refused(self, *settings):
        with self.assertRaises(RuntimeError) as caught:
            broker_module.Broker(shards=1, settings=settings)
        return str(caught.exception)

    def test_what_is_missing_or_wrong_is_named(self):
        port = "lepus.net.port.0."
        self.assertIn("lepus.net.port.0.device\" is missing", self.refused(port + "address.0=10.0.0.2/24"))
        self.assertIn("lepus.net.port.0.address.0\" is missing", self.refused(port + "device=tap:tx0"))
        self.assertIn("each shard has one queue",
                      self.refused(port + "device=tap:tx0", port + "address.0=10.0.0.2/24", port + "queues=3"))
        self.assertIn("lepus.net.port.0.gateway",
                      self.refused(port + "device=tap:tx0", port + "address.0=10.0.0.2/24",
                                   port + "gateway=10.9.0.1"))
        self.assertIn("an interface of this name exists",
                      self.refused(port + "device=tap:lo", port + "address.0=10.0.0.2/24"))


class Dpdk(Case):
    """The kernel's end of a veth has its offloads off; DPDK's tap brings its own interface."""

    def start(self, end, device, **options):
        try:
            return super().start(end, device, **options)
        except RuntimeError as problem:
            if re.search(r"no DPDK|without DPDK|built with -Ddpdk|libdpdk", str(problem)):
                self.skipTest("this build has no DPDK")
            raise

    def test_messages_cross_af_packet_with_one_queue_and_with_two(self):
        for queues in (1, 2):
            wire = self.wire()
            self.start(wire, "net_af_packet%d,iface=%s,qpairs=%d,framecnt=4096" % (queues, wire.near, queues),
                       shards=queues)
            self.assertTrue(ping(wire.subnet.ours))
            self.assertTrue(work(wire.subnet.ours))
            self.assertTrue(work(wire.subnet.ours6, count=20))

    def test_messages_cross_af_xdp(self):
        wire = self.wire()
        self.start(wire, "net_af_xdp0,iface=%s,start_queue=0,queue_count=1" % wire.near)
        self.assertTrue(ping(wire.subnet.ours))
        self.assertTrue(work(wire.subnet.ours))
        self.assertTrue(work(wire.subnet.ours6, count=20))

    def test_messages_cross_pcap(self):
        wire = self.wire()
        self.start(wire, "net_pcap0,iface=" + wire.near)
        self.assertTrue(ping(wire.subnet.ours))
        self.assertTrue(work(wire.subnet.ours, count=20))

    def test_an_idle_broker_sleeps(self):
        """By the device's interrupt, or by the socket that DPDK has opened for it."""
        for kind, shards in ((netns.DpdkTap, 2), (netns.AfPacket, 2), (netns.AfXdp, 1)):
            end = kind()
            self.undo.append(end.close)
            target = self.start(end, end.device_for(shards), shards=shards)
            links = [connection(end.subnet.ours) for _ in range(10)]
            used = idle_share(target.child("lepus-dataplane"), 0.02)
            print("      %s: %.2f %% of a core when idle" % (kind.__name__, 100 * used))
            self.assertLess(used, 0.02, kind.__name__)
            for link in links:
                link.close()  # and it wakes
            self.assertTrue(work(end.subnet.ours, count=20))
            target.stop()

    def alone(self, device, **options):
        """A broker on a device that leads nowhere."""
        end = type("End", (), {"subnet": netns.Subnet()})()
        return end.subnet, self.start(end, device, **options)

    def test_a_ring_gives_back_what_was_sent_and_nobody_takes_it_for_another_machine(self):
        for shards in (1, 2):
            subnet, target = self.alone("net_ring0", shards=shards)
            counted = self.until(target, "arp_sent", 5)  # three probes, two announcements: the address was kept
            self.assertGreaterEqual(self.until(target, "arp_received", 5)["frames_received"], 5)
            self.assertEqual((counted["arp_bad"], counted["arp_conflicts"]), (0, 0))
            ports = target.ctl("list_ports").stdout
            self.assertIn("dpdk net_ring", ports)
            self.assertNotIn("MAC 00:00:00:00:00:00", ports)
            self.assertIn(subnet.ours, ports)
            self.assertTrue(work("127.0.0.1", count=20, port=target.port))
            target.stop()

    def test_a_null_device_floods_with_what_is_nobodys_and_the_kernels_clients_are_served(self):
        _, target = self.alone("net_null0")
        self.assertTrue(work("127.0.0.1", count=20, port=target.port))
        counted = self.until(target, "frames_received", 10000)
        self.assertGreaterEqual(counted["frames_foreign"], 10000)
        self.assertTrue(work("127.0.0.1", count=20, port=target.port))

    def test_a_file_of_packets_is_played_and_the_answers_are_written_to_another(self):
        folder = tempfile.mkdtemp(prefix="lepus-pcap-")
        self.undo.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        played, written = os.path.join(folder, "in.pcap"), os.path.join(folder, "out.pcap")
        end = type("End", (), {"subnet": netns.Subnet()})()
        ours, peer = packets.address(end.subnet.ours), packets.address(end.subnet.kernel)
        mac = packets.mac("02:00:00:00:00:77")
        asks = packets.arp(1, mac, peer, bytes(6), ours)
        pcap_write(played, [packets.ethernet(b"\xff" * 6, mac, packets.ARP, asks).ljust(60, b"\0")])
        target = self.start(end, "net_pcap0,rx_pcap=%s,tx_pcap=%s" % (played, written))
        self.until(target, "arp_sent", 1)
        target.terminate()  # what is written is in the file then
        answers = [frame for frame in pcap_read(written) if frame[12:14] + frame[20:22] == b"\x08\x06\0\2"]
        self.assertEqual(len(answers), 1)
        self.assertEqual((answers[0][:6], answers[0][28:32], answers[0][38:42]), (mac, ours, peer))

    def test_messages_cross_dpdks_own_tap(self):
        for shards in (1, 2):
            end = type("End", (), {"subnet": netns.Subnet()})()
            name = "d" + end.subnet.tag
            self.start(end, "net_tap0,iface=" + name, shards=shards)
            netns.ip("link", "set", name, "up")
            end.subnet.kernel_has(name)
            self.assertTrue(ping(end.subnet.ours))
            self.assertTrue(work(end.subnet.ours))


if __name__ == "__main__":
    if not MISSING:
        netns.enter()
    sys.exit(suite.main([sys.modules[__name__]]))
