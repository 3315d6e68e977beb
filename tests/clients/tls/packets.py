# SPDX-License-Identifier: Apache-2.0
"""TLS over our own TCP/IP. `tests/clients/run --net DEVICE --only tls` runs everything else over it, too."""
import os

import netns
from tls.base import VERIFY, path, setUpModule, tearDownModule  # noqa: F401
from tls.load import Generator


class Bridge:
    """Two taps as one wire: the broker's, and one for who speaks our TCP/IP, too."""

    def __init__(self, net):
        self.name, self.far = "b" + net.subnet.tag, "c" + net.subnet.tag
        netns.ip("link", "add", self.name, "type", "bridge")
        netns.ip("tuntap", "add", "dev", self.far, "mode", "tap", "multi_queue", "vnet_hdr")
        for name in (net.name, self.far):
            netns.ip("link", "set", name, "master", self.name)
        for name in (self.far, self.name):
            netns.ip("link", "set", name, "up")
        first, _, last = net.subnet.ours.rpartition(".")
        self.address = "%s.%d/29" % (first, int(last) + 1)

    def close(self):
        netns.ip("tuntap", "del", "dev", self.far, "mode", "tap", "multi_queue")
        netns.ip("link", "del", self.name)


class Packets(Generator):
    def start(self, *more, **options):
        if netns.why_not():
            self.skipTest(netns.why_not())
        before = os.environ.get("LEPUS_NET")
        os.environ["LEPUS_NET"] = before or "tap"
        try:
            return super().start(*more, **options)
        finally:
            if before is None:
                os.environ.pop("LEPUS_NET")

    def port(self, target):
        return 5671

    def test_messages_come_and_go_over_packets_of_our_own(self):
        target = self.start(*VERIFY)
        self.round_trip(self.connect(target, self.context("client")), (1, 20000, 3000000))
        self.refused(target, self.context("foreign"))

    def test_generator_and_broker_both_speak_tls_over_our_own_tcp(self):
        target = self.start(*VERIFY)
        if not isinstance(target.net, netns.Tap):
            self.skipTest("a bridge of taps")
        bridge = Bridge(target.net)
        self.addCleanup(bridge.close)
        for version in ("1.2", "1.3"):
            said = self.bench(target, "--net", "tap:" + bridge.far, "--net-address", bridge.address, "--tls-ca",
                              path("ca.pem"), "--tls-cert", path("client.pem"), "--tls-key", path("client.key"),
                              "--tls-version", version, "--messages", "3000", "--size", "16,1024,20000,200000",
                              "--publishers", "4", "--consumers", "4", "--queues", "4", "--confirm", "--window", "20")
            self.assertEqual([said["sent"], said["received"], said["confirmed"]], [3000] * 3)
        stats = target.ctl("tcp_stats").stdout
        received = next(int(line.split()[1]) for line in stats.splitlines() if line.startswith("tcp_received"))
        self.assertGreater(received, 1000)
