#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Much data both ways at once through a broker behind a tap, while the network loses packets.

    LEPUS_BULK_MB   megabytes each way and test (by default what a test says, a second or some)

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

    def under(self, loss, default, mtu=None, six=False):
        if loss and not shutil.which("nft"):
            self.skipTest("needs nft")
        tap = self.tap(mtu=mtu)
        target = self.start(tap, tap.device)
        host, size = tap.subnet.ours6 if six else tap.subnet.ours, megabytes(default)
        drops = netns.Loss(tap.name, loss) if loss else None
        if drops:
            self.undo.append(drops.close)
        seconds = self.transfer(host, size)
        counted = test_devices.stats(target)
        print("      %.0f MB each way in %.1f s; %s segments sent again, dropped %s" % (
            size, seconds, counted.get("tcp_retransmitted", counted.get("tcp_retransmits", "?")),
            drops.dropped() if drops else 0))
        if drops and size >= 16:
            self.assertTrue(all(drops.dropped()), "the network lost nothing")

    def test_without_loss(self):
        self.under(0, 64)

    def test_one_in_a_thousand_lost_both_ways(self):
        self.under(10, 32)

    def test_one_in_a_hundred_lost_both_ways(self):
        self.under(100, 16)

    def test_one_in_twenty_lost_both_ways(self):
        self.under(500, 4)

    def test_ipv6_with_one_in_a_hundred_lost_both_ways(self):
        self.under(100, 16, six=True)

    def test_a_small_mtu_with_one_in_a_hundred_lost_both_ways(self):
        self.under(100, 8, mtu=1280)


if __name__ == "__main__":
    if not netns.why_not():
        netns.enter()
    sys.exit(suite.main([sys.modules[__name__]]))
