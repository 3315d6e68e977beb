#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Much data both ways at once through a broker behind a device, while the network loses packets.

    LEPUS_BULK_MB   megabytes each way and test (by default what a test says, a second or some)
    LEPUS_NET       one of netns.DEVICES instead of `tap`: over DPDK's af_packet frames are an MTU each,
                    over a tap up to 64 KiB

One client publishes numbered messages of pseudo-random bytes, another consumes and compares:
what the stack receives and what it sends, both under loss, bit by bit. The kernel is the peer;
nftables drops in both directions. Needs root; else skipped.
"""
import os
import random
import shutil
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import broker as broker_module
import netns
import suite
import test_devices

MEGABYTE = 1 << 20
PIECE = 256 * 1024
UNACKED = 32


def megabytes(default):
    return float(os.environ.get("LEPUS_BULK_MB") or default)


class Stream:
    """The same pieces for whoever makes and whoever expects them."""

    def __init__(self):
        self.pool = random.Random(7).randbytes(4 * PIECE)

    def piece(self, number):
        at = number * 7919 % (3 * PIECE)
        return number.to_bytes(8, "big") + self.pool[at:at + PIECE - 8]


class Bulk(test_devices.Case):
    def transfer(self, host, total):
        """Seconds it took; every piece is compared."""
        stream, count, failures = Stream(), max(int(total * MEGABYTE / PIECE), 4), []
        began = time.monotonic()

        def publish():
            try:
                with test_devices.connection(host) as link:
                    channel = link.channel()
                    for number in range(count):
                        channel.basic_publish("", "bulk", stream.piece(number))
            except Exception as problem:  # whatever it is, the test has to hear of it
                failures.append(problem)

        with test_devices.connection(host) as link:
            channel = link.channel()
            channel.queue_declare("bulk", auto_delete=True)
            channel.basic_qos(prefetch_count=UNACKED)
            sender = threading.Thread(target=publish)
            sender.start()
            number = 0
            for method, _, body in channel.consume("bulk", inactivity_timeout=120):
                self.assertIsNotNone(method, "nothing for two minutes, after %d of %d; %s" % (number, count, failures))
                self.assertTrue(body == stream.piece(number), "piece %d of %d is another" % (number, count))
                number += 1
                if number % (UNACKED // 2) == 0 or number == count:
                    channel.basic_ack(method.delivery_tag, multiple=True)
                if number == count:
                    break
            sender.join()
            channel.cancel()
        self.assertEqual(failures, [])
        return time.monotonic() - began

    def settled(self, target):
        """Counters are told ten times a second: those that do not change any more."""
        same, counted, until = 0, {}, time.monotonic() + 60
        while same < 20:
            self.assertLess(time.monotonic(), until)
            before, counted = counted, test_devices.stats(target)
            same = same + 1 if counted == before else 0
        return counted

    def end_with(self, mtu, six):
        """The kernel's end of the device, and what a broker is told of ours."""
        device = netns.DEVICES[os.environ.get("LEPUS_NET") or "tap"]
        self.assertFalse(mtu and mtu < 1280 and six)
        end = device(mtu=mtu if mtu and mtu >= 1280 else None)
        self.undo.append(end.close)
        settings = end.subnet.settings(end.device_for(1))
        if mtu and mtu < 1280:
            # Less than IPv6 takes: our end has IPv4 alone.
            netns.ip("link", "set", end.name, "mtu", mtu)
            settings = [one for one in settings if end.subnet.ours6 not in one]
        return end, settings

    def under(self, loss, default, mtu=None, six=False):
        if loss and not shutil.which("nft"):
            self.skipTest("needs nft")
        end, settings = self.end_with(mtu, six)
        target = broker_module.Broker(shards=1, settings=settings + ["lepus.memory=256MiB"], kernel_only=True)
        self.undo.append(target.stop)
        host, size = end.subnet.ours6 if six else end.subnet.ours, megabytes(default)
        drops = netns.Loss(end.name, loss) if loss else None
        if drops:
            self.undo.append(drops.close)
        seconds = self.transfer(host, size)
        counted = self.settled(target)
        ways = drops.counted() if drops else [(0, 0), (0, 0)]
        print("      %s%% lost, MTU %d, IPv%d: %.0f MB each way in %.1f s; sent again %d (%d for nothing), "
              "recoveries %d, probes of the tail %d, time-outs %d; the kernel did not hear %s" % (
                  loss / 100, mtu or 1500, 6 if six else 4, size, seconds, *(counted.get("tcp_" + name, -1) for name in (
                      "retransmitted", "retransmitted_spurious", "fast_recoveries", "tlp", "rto")),
                  "%d of %d, we not %d of %d" % (*ways[1][::-1], *ways[0][::-1])))
        for packets, lost in ways:
            # That none of so many is lost has a chance of one in a thousand million.
            if packets * loss > 21 * 10000:
                self.assertGreater(lost, 0, "the network lost nothing")


    def marked(self, six, asked=True):
        """RFC 3168: a network that marks; the kernel asks for ECN, as any client of Linux may."""
        if not shutil.which("nft"):
            self.skipTest("needs nft")
        end, settings = self.end_with(None, six)
        with open("/proc/sys/net/ipv4/tcp_ecn", "w") as file:
            file.write("1" if asked else "2")
        target = broker_module.Broker(shards=1, settings=settings + ["lepus.memory=256MiB"], kernel_only=True)
        self.undo.append(target.stop)
        marks = netns.Marks(end.name, 1000)
        self.undo.append(marks.close)
        seconds = self.transfer(end.subnet.ours6 if six else end.subnet.ours, megabytes(16))
        counted = self.settled(target)
        marked, shrunk = counted.get("tcp_ecn_ce_received", 0), counted.get("tcp_ecn_reductions", 0)
        print("      10%% marked, IPv%d: %.1f s; marks received %d, windows shrunk for marks %d, sent again %d" % (
            6 if six else 4, seconds, marked, shrunk, counted.get("tcp_retransmitted", -1)))
        self.assertEqual((marked > 0, shrunk > 0), (asked, asked))

    def test_marks_instead_of_losses(self):
        self.marked(six=False)

    def test_ipv6_marks_instead_of_losses(self):
        self.marked(six=True)

    def test_nothing_is_marked_unless_a_client_asks(self):
        self.marked(six=False, asked=False)


# By default as much as is a second or some; of ten thousand packets so many are lost.
CASES = [
    ("without_loss", 0, 64, None, False),
    ("one_in_a_thousand_lost", 10, 32, None, False),
    ("one_in_a_hundred_lost", 100, 16, None, False),
    ("one_in_twenty_lost", 500, 4, None, False),
    ("ipv6_without_loss", 0, 16, None, True),
    ("ipv6_one_in_a_thousand_lost", 10, 16, None, True),
    ("ipv6_one_in_a_hundred_lost", 100, 16, None, True),
    ("ipv6_one_in_twenty_lost", 500, 2, None, True),
    ("mtu_576_without_loss", 0, 4, 576, False),
    ("mtu_576_one_in_a_thousand_lost", 10, 4, 576, False),
    ("mtu_576_one_in_a_hundred_lost", 100, 4, 576, False),
    ("mtu_576_one_in_twenty_lost", 500, 1, 576, False),
    ("ipv6_mtu_1280_one_in_a_hundred_lost", 100, 8, 1280, True),
    ("mtu_9000_one_in_a_hundred_lost", 100, 8, 9000, False),
]


def test_of(case):
    return lambda self: self.under(*case)


for name, *case in CASES:
    setattr(Bulk, "test_%s%s" % (name, "_both_ways" if "lost" in name else ""), test_of(case))


if __name__ == "__main__":
    if not netns.why_not():
        netns.enter()
    sys.exit(suite.main([sys.modules[__name__]]))
