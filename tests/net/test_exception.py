#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The exception path: a broker's only card carries the kernel's traffic, too.

    tests/net/test_exception.py [--only TEXT]

The broker is in a box (a network namespace of its own) whose kernel sees nothing of the wire but what comes by the
exception interface; this process is the machine at the other end. Without root or /dev/net/tun its tests are skipped.
"""
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import broker as broker_module
import netns
import suite
from test_devices import MISSING, connection, ping, stats, work

BULK = os.urandom(1 << 20) * 4
SSHD = os.environ.get("LEPUS_SSHD", "/usr/sbin/sshd")


class Server:
    """In the box: what a client sends comes back, by TCP and UDP."""

    def __init__(self, box, host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with box:
            self.tcp = socket.create_server((host, 0), family=family)
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.udp.bind((host, 0))
        self.address = (host, self.tcp.getsockname()[1])
        self.udp_address = (host, self.udp.getsockname()[1])
        for target in (self._accept, self._answer):
            threading.Thread(target=target, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self.tcp.accept()[0]
            except OSError:
                return
            with client:
                data = read_all(client)
                client.sendall(data)

    def _answer(self):
        while True:
            try:
                data, peer = self.udp.recvfrom(65536)
            except OSError:
                return
            if not data:
                return
            self.udp.sendto(data, peer)

    def close(self):
        self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        self.udp.close()


def read_all(link):
    pieces = []
    while True:
        piece = link.recv(1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def echoed(address, data):
    """True: these bytes went there and came back."""
    with socket.create_connection(address, timeout=30) as link:
        link.settimeout(60)
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        return hashlib.sha256(read_all(link)).digest() == hashlib.sha256(data).digest()


def udp_echoed(address, data):
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(1)
        for _ in range(10):  # a datagram may be lost while neighbours are asked
            link.sendto(data, address)
            try:
                return link.recv(65536) == data
            except TimeoutError:
                pass
    return False


def others(subnet):
    """An address of each family that is not the broker's."""
    return subnet.ours.rpartition(".")[0] + ".%d" % (int(subnet.ours.rpartition(".")[2]) + 1), subnet.ours6[:-1] + "3"


class Case(unittest.TestCase):
    def setUp(self):
        if MISSING:
            self.skipTest(MISSING)
        self.undo = []
        self.box = netns.Box()
        self.undo.append(self.box.close)

    def tearDown(self):
        for step in reversed(self.undo):
            step()

    def broker(self, subnet, device, shards=1, settings=()):
        self.name = "x" + subnet.tag
        with self.box:
            try:
                target = broker_module.Broker(shards=shards, settings=subnet.settings(device) + [
                    "lepus.memory=256MiB", "lepus.net.port.0.exception=" + self.name, *settings])
            except RuntimeError as problem:
                if re.search(r"no DPDK|without DPDK|built with -Ddpdk|libdpdk", str(problem)):
                    self.skipTest("this build has no DPDK")
                raise
        self.undo.append(target.stop)
        return target

    def addresses_give(self, *addresses):
        """To the box's kernel, as its operator would."""
        with self.box:
            for address in addresses:
                six = ":" in address
                netns.ip("address", "add", address + ("/64" if six else "/29"), "dev", self.name,
                         *(["nodad"] if six else []))

    def wire_into_box(self):
        """A wire whose other end is in the box, where the kernel hears nothing of it."""
        wire = netns.Wire()
        self.undo.append(wire.close_far)
        self.box.take(wire.near)
        with self.box:
            with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % wire.near, "w") as file:
                file.write("1")
            netns.deaf(wire.near)
            netns.ip("link", "set", wire.near, "up")
        return wire

    def over_af_packet(self, shards=1, **options):
        """A broker on such a wire, by packet sockets."""
        wire = self.wire_into_box()
        device = "net_af_packet0,iface=%s,qpairs=%d,framecnt=4096" % (wire.near, shards)
        return wire.subnet, self.broker(wire.subnet, device, shards, **options)

    def over_af_xdp(self, **options):
        """The same wire by AF_XDP: one queue, since a veth says that it has no more."""
        wire = self.wire_into_box()
        device = "net_af_xdp0,iface=%s,start_queue=0,queue_count=1" % wire.near
        return wire.subnet, self.broker(wire.subnet, device, **options)

    def over_dpdks_tap(self, shards=1, **options):
        """DPDK's own tap, whose kernel's end is ours."""
        subnet = netns.Subnet()
        name = "d" + subnet.tag
        target = self.broker(subnet, "net_tap0,iface=" + name, shards, **options)
        self.box.give(name)
        netns.ip("link", "set", name, "up")
        subnet.kernel_has(name)
        return subnet, target

    def over_tap(self, shards=1, **options):
        """A tap whose kernel's end is ours, with all of its offloads."""
        subnet = netns.Subnet()
        name = "t" + subnet.tag
        target = self.broker(subnet, "tap:" + name, shards, **options)
        self.box.give(name)
        netns.ip("link", "set", name, "up")
        subnet.kernel_has(name)
        return subnet, target

    def at_the_brokers(self, subnet, target):
        """The kernel has the broker's own address."""
        self.addresses_give(subnet.ours, subnet.ours6)
        self.all_of_it(subnet, target, subnet.ours, subnet.ours6)

    def at_another(self, subnet, target):
        host, host6 = others(subnet)
        self.addresses_give(host, host6)
        self.all_of_it(subnet, target, host, host6)

    def all_of_it(self, subnet, target, host, host6):
        """Whatever a machine does with its card, with its kernel at `host` and the broker beside it."""
        with connection(subnet.ours) as link:
            for address in (host, host6):
                server = Server(self.box, address)
                try:
                    self.assertTrue(echoed(server.address, b"a few bytes"))
                    self.assertTrue(echoed(server.address, BULK))
                    self.assertTrue(udp_echoed(server.udp_address, b"datagram"))
                    self.assertTrue(udp_echoed(server.udp_address, BULK[:1400]))
                finally:
                    server.close()
                self.assertTrue(ping(address))
                self.assertTrue(ping(address, 1400))
            self.assertTrue(ping(subnet.ours))
            self.assertTrue(ping(subnet.ours6))
            self.outwards(subnet.kernel, host)
            self.outwards(subnet.kernel6, host6)
            link.process_data_events()
        self.assertTrue(work(subnet.ours, count=50))
        self.assertTrue(work(subnet.ours6, count=20))
        until = time.monotonic() + 10
        while stats(target)["exception_from_kernel"] == 0:  # told ten times a second
            self.assertLess(time.monotonic(), until)
        counted = stats(target)
        self.assertGreater(counted["exception_to_kernel_bytes"], 2 * len(BULK))
        for name in ("exception_no_buffer", "exception_joined", "exception_echoed", "exception_refused"):
            self.assertEqual(counted[name], 0, name)
        self.assertIn("exception  " + self.name, target.ctl("list_ports").stdout)

    def outwards(self, to, source):
        """The box's kernel opens a connection to us, and bytes go both ways."""
        listener = socket.create_server((to, 0), family=socket.AF_INET6 if ":" in to else socket.AF_INET)
        self.undo.append(listener.close)

        def answer():
            with listener.accept()[0] as link:
                link.sendall(read_all(link))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with self.box:
            link = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        with link:
            link.settimeout(60)
            link.bind((source, 0))
            link.connect(listener.getsockname()[:2])
            link.sendall(BULK[:300000])
            link.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(link), BULK[:300000])
        thread.join(30)


class AfPacket(Case):
    def test_the_kernel_has_the_brokers_address(self):
        for shards in (1, 2):
            subnet, target = self.over_af_packet(shards)
            self.at_the_brokers(subnet, target)

    def test_the_kernel_has_another_address(self):
        subnet, target = self.over_af_packet(2)
        self.at_another(subnet, target)

    def test_without_addresses_the_kernel_is_not_reached(self):
        subnet, _ = self.over_af_packet()
        with self.assertRaises((ConnectionRefusedError, TimeoutError, OSError)):
            socket.create_connection((others(subnet)[0], 22), timeout=2)
        server = Server(self.box, "0.0.0.0")  # but nobody gave the interface an address
        with self.assertRaises((ConnectionRefusedError, TimeoutError, OSError)):
            socket.create_connection((subnet.ours, server.address[1]), timeout=2)
        server.close()
        self.assertTrue(work(subnet.ours, count=20))


class AfXdp(Case):
    def test_the_kernel_has_the_brokers_address(self):
        subnet, target = self.over_af_xdp()
        self.at_the_brokers(subnet, target)

    def test_the_kernel_has_another_address(self):
        subnet, target = self.over_af_xdp()
        self.at_another(subnet, target)


class DpdksTap(Case):
    def test_the_kernel_has_the_brokers_address(self):
        for shards in (1, 2):
            subnet, target = self.over_dpdks_tap(shards)
            self.at_the_brokers(subnet, target)

    def test_the_kernel_has_another_address(self):
        subnet, target = self.over_dpdks_tap(2)
        self.at_another(subnet, target)


class Tap(Case):
    """The peer leaves checksums open and segments joined: the kernel behind gets what it can take."""

    def test_the_kernel_has_the_brokers_address(self):
        for shards in (1, 2):
            subnet, target = self.over_tap(shards)
            self.at_the_brokers(subnet, target)

    def test_the_kernel_has_another_address(self):
        subnet, target = self.over_tap(2)
        self.at_another(subnet, target)

    def test_an_interface_that_was_made_before_keeps_its_addresses(self):
        subnet = netns.Subnet()
        self.name = "x" + subnet.tag
        with self.box:
            netns.ip("tuntap", "add", "dev", self.name, "mode", "tap", "multi_queue", "vnet_hdr")
        self.addresses_give(subnet.ours)
        name = "t" + subnet.tag
        target = self.broker(subnet, "tap:" + name, 2, settings=["lepus.net.port.0.mac=02:00:00:00:00:77"])
        with self.box:
            self.assertIn("02:00:00:00:00:77", subprocess.run(["ip", "link", "show", self.name], check=True,
                                                              capture_output=True, text=True).stdout)
        self.end_give(subnet, name)
        server = Server(self.box, subnet.ours)
        self.assertTrue(echoed(server.address, b"before"))
        server.close()
        self.crash(target, subnet, name)
        target.terminate()
        with self.box:
            self.assertIn(subnet.ours, subprocess.run(["ip", "address", "show", self.name], check=True,
                                                      capture_output=True, text=True).stdout)
            target.start()
        self.end_give(subnet, name)
        server = Server(self.box, subnet.ours)
        self.assertTrue(echoed(server.address, b"after"))
        server.close()


    def crash(self, target, subnet, name):
        """The data plane dies; the next one has the interface again, and its addresses are there still."""
        os.kill(target.child("lepus-dataplane"), 9)
        until = time.monotonic() + 30
        while target.log_tail().count("lepus: ready on") < 2:
            self.assertLess(time.monotonic(), until)
        self.end_give(subnet, name)
        server = Server(self.box, subnet.ours)
        self.assertTrue(echoed(server.address, b"between"))
        server.close()

    def end_give(self, subnet, name):
        """The kernel's end of the port's own tap, which comes and goes with the data plane."""
        self.box.give(name)
        # A machine that changes its address is found again in half a minute: too long for a test.
        netns.ip("link", "set", name, "address", "02:00:00:00:00:78", "up")
        subnet.kernel_has(name)


class Ssh(Case):
    def setUp(self):
        super().setUp()
        if not os.access(SSHD, os.X_OK) or shutil.which("ssh") is None:
            self.skipTest("there is no sshd")

    def sshd(self, host):
        folder = tempfile.mkdtemp(prefix="lepus-sshd-")
        self.undo.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(folder, name)], check=True)
        shutil.copy(os.path.join(folder, "user.pub"), os.path.join(folder, "authorized"))
        os.makedirs("/run/sshd", exist_ok=True)
        with self.box:
            process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", "/dev/null", "-p", "2222", "-o", "ListenAddress=" + host, "-o", "UsePAM=no",
                 "-o", "HostKey=%s/host" % folder, "-o", "AuthorizedKeysFile=%s/authorized" % folder,
                 "-o", "PermitRootLogin=yes", "-o", "StrictModes=no", "-o", "PidFile=none"],
                stderr=subprocess.PIPE, text=True)
        self.undo.append(process.wait)
        self.undo.append(process.terminate)
        line = process.stderr.readline()
        self.assertIn("listening", line)
        return folder

    def test_ssh_reaches_the_machine_at_the_brokers_address(self):
        subnet, _ = self.over_af_packet(2)
        self.addresses_give(subnet.ours)
        folder = self.sshd(subnet.ours)
        with connection(subnet.ours) as link:
            done = subprocess.run(
                ["ssh", "-p", "2222", "-i", folder + "/user", "-o", "StrictHostKeyChecking=no", "-o",
                 "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", "root@" + subnet.ours, "ip -o link"],
                capture_output=True, text=True, timeout=90, check=False)
            link.process_data_events()
        self.assertIn(self.name, done.stdout, done.stderr)


class Configuration(Case):
    def refused(self, *settings):
        with self.assertRaises(RuntimeError) as caught:
            broker_module.Broker(shards=1, settings=["lepus.net.port.0.address.0=10.0.0.2/24", *settings])
        return str(caught.exception)

    def test_what_cannot_be_is_named(self):
        port = "lepus.net.port.0."
        self.assertIn("that tap is a port itself",
                      self.refused(port + "device=tap:tx0", port + "exception=tx0"))
        self.assertIn("each port has one of its own",
                      self.refused(port + "device=tap:tx0", port + "exception=tx2", "lepus.net.port.1.device=tap:tx1",
                                   "lepus.net.port.1.address.0=10.0.1.2/24", "lepus.net.port.1.exception=tx2"))
        self.assertIn("the name of an interface",
                      self.refused(port + "device=tap:tx0", port + "exception=longer-than-fifteen"))
        self.assertIn("an interface of this name exists",
                      self.refused(port + "device=tap:tx0", port + "exception=lo"))


if __name__ == "__main__":
    if not MISSING:
        netns.enter()
    sys.exit(suite.main([sys.modules[__name__]]))
