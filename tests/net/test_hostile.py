#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile peers on the broker's wire, while an honest client works over the same port.

    tests/net/test_hostile.py [--only TEXT]

Of each attack: every message of the honest client arrives, once, in order and in bounded time, newcomers get in, memory
stays what it may be, a frame of the attack costs no more than a multiple of what a harmless one costs, and the counters
name it. Needs root and /dev/net/tun, else skipped. LEPUS_HOSTILE_SAY=1 prints what was measured.
"""
import json
import os
import re
import select
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import amqp_raw
import attacker as attacker_module
import broker as broker_module
import netns
import packets
import suite
import test_devices
from packets import ACK, FIN, PSH, RST, SYN

FLOOD = int(os.environ.get("LEPUS_HOSTILE_FRAMES", "8000"))
MEMORY_MB, NET_MB = 256, 48
SLOWEST_MS = 15000      # of one message; a tap that is flooded loses frames, and so does this machine time
DEAREST = 25            # a frame of an attack, in harmless ones
CHALLENGES = 5, 12      # a connection is given no less and no more in a second
RESETS_A_SECOND, ERRORS_A_SECOND = 1000, 100    # of a shard, for segments and packets that nobody here wants
HALF_OPEN = 4096        # of a shard
PORT = 5672


class Client:
    """honest.py."""

    def __init__(self, host):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "honest.py"), host, str(PORT)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ports = self.line()

    def line(self):
        if not select.select([self.process.stdout], [], [], 120)[0]:
            self.process.kill()
            raise AssertionError("the honest client hangs")
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the honest client failed:\n" + self.process.stderr.read())
        return json.loads(line)

    def mark(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()

    def close(self):
        self.process.kill()
        self.process.communicate()


class Case(test_devices.Case):
    shards = 1

    def begin(self, settings=(), prefix=29, six=False):
        self.end = self.tap()
        netns.ip("link", "set", self.end.name, "txqueuelen", "4000")
        # Whatever does not fit is the sender's to know, and not lost in silence by a queue above the device.
        subprocess.run(["tc", "qdisc", "replace", "dev", self.end.name, "root", "noqueue"], check=True)
        net = [one.replace("/29", "/%d" % prefix) for one in self.end.subnet.settings(self.end.device)]
        key = "lepus.net.port.0."
        self.broker = broker_module.Broker(shards=self.shards, settings=net + [
            key + "gateway=" + self.end.subnet.kernel, key + "gateway6=" + self.end.subnet.kernel6,
            "lepus.memory=%dMiB" % MEMORY_MB, "lepus.net.memory=%dMiB" % NET_MB, "lepus.poll=sleep", *settings])
        self.undo.append(self.broker.stop)
        self.client = Client(self.end.subnet.ours)
        self.undo.append(self.client.close)
        self.enemy = attacker_module.Attacker(self.end)
        self.undo.append(self.enemy.close)
        self.plane = self.broker.child("lepus-dataplane")
        # A family is there when somebody behind the gateway gets in.
        self.enemy.connect([self.enemy.peer(PORT, six=family) for family in ([False, True] if six else [False])])

    # what is looked at

    def counters(self):
        return test_devices.stats(self.broker)

    def counted(self, name, least):
        """Wait until a counter, or several together, has grown by so much since attack() began."""
        until = time.monotonic() + 30
        names = [name] if isinstance(name, str) else name
        while True:
            now = self.counters()
            more = sum(now[one] - self.before[one] for one in names)
            if more >= least:
                return more
            self.assertLess(time.monotonic(), until, "%s: %d instead of %d of %d frames; %s" % (
                name, more, least, self.enemy.sent, {one: now[one] - self.before[one] for one in now
                                                     if now[one] != self.before[one]}))

    def seconds(self):
        """In how many of its seconds, begun ones counted, the attack may have been seen."""
        return int(self.took) + 2

    def cpu_ns(self):
        folder = "/proc/%d/task" % self.plane
        return sum(int(open("%s/%s/schedstat" % (folder, task)).read().split()[0]) for task in os.listdir(folder))

    def resident_mb(self):
        text = open("/proc/%d/status" % self.plane).read()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) >> 10

    def harmless_ns(self, frames=3000):
        """What a frame costs that is dropped at first sight."""
        data = packets.ethernet(self.enemy.mac, self.enemy.my_mac, 0x88b5, b"\0" * 50)
        return self.cost_of(lambda: [self.enemy.frame(data) for _ in range(frames)])

    def cost_of(self, attack):
        """Nanoseconds of the data plane for each frame of the attack, with the honest client's share in it."""
        self.before = self.counters()
        cpu, sent, began = self.cpu_ns(), self.enemy.sent, time.monotonic()
        attack()
        self.there()
        self.took = time.monotonic() - began
        return (self.cpu_ns() - cpu) / max(self.enemy.sent - sent, 1)

    def there(self):
        """Everything before it has been looked at when an echo comes back."""
        until = time.monotonic() + 60
        while not test_devices.ping(self.end.subnet.ours, count=1):
            self.assertLess(time.monotonic(), until, "the broker does not answer echoes any more")

    def attack(self, attack, dearest=DEAREST, slowest_ms=SLOWEST_MS):
        usual = self.harmless_ns()
        self.client.mark()
        memory = self.resident_mb()
        cost = self.cost_of(attack)
        honest = self.client.mark()
        if os.environ.get("LEPUS_HOSTILE_SAY"):
            after = self.counters()
            print("  %s: %d frames, %.1f us each (harmless %.1f), honest p50 %.1f ms, max %.0f, open %.0f, RSS %d -> %d MiB\n"
                  "    %s" % (self.id().split(".")[-1], self.enemy.sent, cost / 1e3, usual / 1e3, honest["p50_ms"],
                             honest["max_ms"], honest["open_max_ms"], memory, self.resident_mb(),
                             {name: after[name] - self.before[name] for name in after
                              if after[name] != self.before[name]}), flush=True)
        self.assertGreater(honest["count"], 0)
        self.assertGreater(honest["opens"], 0)
        self.assertLess(honest["max_ms"], slowest_ms)
        self.assertLess(honest["open_max_ms"], slowest_ms)
        self.assertLess(self.resident_mb(), memory + NET_MB + 16)
        self.assertLess(cost, usual * dearest)

    def sniff(self):
        """The honest connection that publishes, as it is just now: its latest segment to the broker."""
        hears = attacker_module.socket.socket(attacker_module.socket.AF_PACKET, attacker_module.socket.SOCK_RAW, 0)
        with hears:
            hears.bind((self.end.name, 3))
            until = time.monotonic() + 30
            while time.monotonic() < until:
                if select.select([hears], [], [], 1)[0]:
                    segment = packets.Segment.parse(hears.recv(70000))
                    if segment and segment.to_port == PORT and segment.from_port == self.client.ports[0]:
                        return segment
        raise AssertionError("the honest client says nothing")


class Floods(Case):
    def syns(self, six):
        for _ in range(FLOOD * self.shards):  # each has a table of its own for 4096
            self.enemy.tcp(self.enemy.stranger(six), (self.enemy.random.randrange(1024, 65536), PORT), SYN,
                           seq=self.enemy.random.getrandbits(32), options=packets.mss(1460))

    def test_syns_from_everywhere_become_cookies(self):
        self.begin(six=True)
        for six in (False, True):
            self.attack(self.enemy.prepared(lambda six=six: self.syns(six)))
            # A table that is full makes room for newer ones when the older are silent for three seconds.
            self.counted(("tcp_cookies_sent", "tcp_half_open_evicted"), (FLOOD - HALF_OPEN) * 9 // 10)
            self.counted("tcp_cookies_sent", 1)
            self.assertEqual(self.counters()["tcp_refused_full"], 0)

    def acks(self, port):
        for _ in range(FLOOD):
            self.enemy.tcp(self.enemy.stranger(), (self.enemy.random.randrange(1024, 65536), port), ACK,
                           seq=self.enemy.random.getrandbits(32), ack=self.enemy.random.getrandbits(32))

    def test_made_up_cookies_are_refused_without_a_word(self):
        """For eight seconds after a cookie a segment for nobody may be of who has one: no reset."""
        self.begin()

        def both():
            self.syns(False)
            self.acks(PORT)
        self.attack(self.enemy.prepared(both))
        self.counted("tcp_cookies_bad", FLOOD * 9 // 10)
        resets = self.counters()["tcp_resets_sent"] - self.before["tcp_resets_sent"]
        self.assertLess(resets, FLOOD // 80, "the honest client's own")

    def test_not_every_segment_for_nobody_is_answered(self):
        self.begin()
        self.attack(self.enemy.prepared(lambda: self.acks(PORT + 1)))
        self.counted(("tcp_resets_sent", "tcp_resets_limited"), FLOOD * 9 // 10)
        resets = self.counters()["tcp_resets_sent"] - self.before["tcp_resets_sent"]
        self.assertLessEqual(resets, RESETS_A_SECOND * self.shards * self.seconds())

    def test_echoes_and_datagrams_have_a_limit(self):
        self.begin(six=True)

        def echoes():
            for number in range(FLOOD // 2):
                who = self.enemy.stranger(number % 2 == 1)
                six = len(who) == 16
                self.enemy.packet(packets.icmp(who, self.enemy.target(six), 128 if six else 8, 0, number, b"e" * 400))
                self.enemy.packet(packets.ip(who, self.enemy.target(six), packets.UDP, b"\0\7\0\7\0\x10\0\0" + b"u" * 8))
        self.attack(self.enemy.prepared(echoes))
        # Of the datagrams each would be an error: echoes, of which there may be many more, are as many as these.
        self.counted("icmp_limited", FLOOD // 2 - ERRORS_A_SECOND * self.shards * self.seconds())

    def test_neighbours_that_nobody_has_are_forgotten_again(self):
        self.begin(prefix=16, six=True)
        net = self.enemy.kernel[:2]

        def floods():
            for number in range(FLOOD // 4):
                mac, low = b"\2" + self.enemy.random.randbytes(5), struct.pack(">H", 0x4000 + number % 0x8000)
                body = packets.arp(1, mac, net + low, b"\0" * 6, self.enemy.ours)
                self.enemy.frame(packets.ethernet(b"\xff" * 6, mac, packets.ARP, body))
                who = self.enemy.kernel6[:8] + self.enemy.random.randbytes(8)
                self.enemy.packet(packets.neighbour(who, self.enemy.ours6, 135, self.enemy.ours6, mac))
        self.attack(floods, 100)
        self.counted("neighbour_full", FLOOD // 8)

    def test_answers_to_neighbours_that_do_not_exist_wait_for_no_more_than_64(self):
        self.begin(prefix=16, six=True)
        net = self.enemy.kernel[:2]

        def syns():
            for number in range(FLOOD // 4):
                self.enemy.tcp(net + struct.pack(">H", 0x4000 + number), (2000, PORT), SYN, seq=number)
                who = self.enemy.kernel6[:8] + b"\0\1" + self.enemy.random.randbytes(6)
                self.enemy.tcp(who, (2000, PORT), SYN, seq=number)
        self.attack(syns, 100)
        self.counted("neighbour_dropped", FLOOD // 8)


class Spoofs(Case):
    def test_a_neighbour_that_somebody_claims_comes_back(self):
        """It is ARP: who is on the wire can take an address for a moment; it must not last."""
        self.begin()

        def claims():
            for number in range(200):
                mac = b"\2\0\0\0\0" + bytes([number % 250])
                body = packets.arp(1 + number % 2, mac, self.enemy.kernel, self.enemy.mac, self.enemy.ours)
                self.enemy.frame(packets.ethernet(b"\xff" * 6, mac, packets.ARP, body))
                self.enemy.packet(packets.neighbour(self.enemy.kernel6, self.enemy.ours6, 136, self.enemy.kernel6, mac,
                                                    0x60000000 if number % 2 else 0x20000000))
        # Five seconds of delay and three of probes (RFC 4861 10), and the kernel's next try.
        self.attack(claims, 4000, 29000)
        self.counted("arp_received", 200)

    def test_who_claims_our_address_does_not_get_it(self):
        """Once it is ours: who objects before that is believed (RFC 5227 2.1.1)."""
        self.begin()
        self.before = dict.fromkeys(self.counters(), 0)
        self.counted("arp_sent", 3 + 2 + 1)  # probes, announcements, and an answer to the kernel

        def claims():
            for number in range(300):
                mac = b"\2\0\0\0\1" + bytes([number % 250])
                body = packets.arp(2, mac, self.enemy.ours, b"\xff" * 6, self.enemy.ours)
                self.enemy.frame(packets.ethernet(b"\xff" * 6, mac, packets.ARP, body))
        self.attack(claims, 4000)
        self.counted("arp_conflicts", 300)
        self.assertLess(self.counters()["arp_sent"] - self.before["arp_sent"], 50)

    def test_errors_about_packets_that_were_never_sent_change_nothing(self):
        self.begin()
        ports = struct.pack(">HH", PORT, self.client.ports[1])

        def errors():
            for number in range(FLOOD // 4):
                seq = struct.pack(">I", self.enemy.random.getrandbits(32))
                quoted = packets.ip(self.enemy.ours, self.enemy.kernel, packets.TCP, ports + seq + b"\0" * 12)
                for kind, code, word in ((3, 4, 68), (3, 3, 0), (3, 2, 0), (11, 0, 0)):
                    self.enemy.packet(packets.icmp(self.enemy.stranger(), self.enemy.ours, kind, code, word, quoted[:28]))
        self.attack(errors)
        self.counted("icmp_received", FLOOD // 2)
        self.assertEqual(self.counters()["tcp_pmtu_lowered"], 0)

    def test_who_knows_the_ports_alone_breaks_nothing(self):
        """RFC 5961: resets, SYNs and text for the honest connection's own ports, everywhere in the space of numbers."""
        self.begin()
        seen = self.sniff()
        ports = (seen.from_port, PORT)

        def sweep():
            for number in range(FLOOD // 4):
                seq, ack = number * (1 << 32) // (FLOOD // 4), self.enemy.random.getrandbits(32)
                self.enemy.tcp(self.enemy.kernel, ports, RST, seq=seq)
                self.enemy.tcp(self.enemy.kernel, ports, SYN, seq=seq, options=packets.mss(1460))
                self.enemy.tcp(self.enemy.kernel, ports, ACK | PSH, seq=seq, ack=ack, data=b"\xce" * 100)
                self.enemy.tcp(self.enemy.kernel, ports, FIN | ACK, seq=seq, ack=ack)
        self.attack(sweep)
        self.counted("tcp_paws", FLOOD // 4)
        self.counted("tcp_unacceptable", FLOOD // 8)

    def test_who_knows_the_window_but_not_the_clock_breaks_nothing(self):
        """Within the window, around the very next number: challenges, and PAWS."""
        self.begin()
        began = time.monotonic()

        def within():
            for number in range(FLOOD // 40):
                seen = self.sniff()
                ports, ahead = (seen.from_port, PORT), 5000 + number % 3000
                old = packets.timestamps((seen.timestamp() or 0) - 100000, 0)
                self.enemy.tcp(self.enemy.kernel, ports, RST, seq=seen.seq + ahead)
                self.enemy.tcp(self.enemy.kernel, ports, SYN, seq=seen.seq + ahead)
                self.enemy.tcp(self.enemy.kernel, ports, ACK, seq=seen.seq + ahead, ack=seen.ack, data=b"x" * 50)
                self.enemy.tcp(self.enemy.kernel, ports, ACK, seq=seen.seq + ahead, ack=seen.ack, data=b"y" * 50, options=old)
                self.enemy.tcp(self.enemy.kernel, ports, ACK | FIN, seq=seen.seq, ack=seen.ack, options=old)
        self.attack(within, 400)
        self.counted("tcp_paws", 100)
        seconds = int(time.monotonic() - began) + 1
        challenges = self.counted("tcp_challenges", CHALLENGES[0])  # whatever is asked for in its first second
        self.assertLessEqual(challenges, CHALLENGES[1] * seconds)


class Rubbish(Case):
    def test_frames_of_every_wrong_shape_are_dropped_by_name(self):
        self.begin()
        enemy = self.enemy

        def rubbish():
            whole = packets.tcp(enemy.kernel, enemy.ours, (3000, PORT), ACK, data=b"d" * 100)
            whole6 = packets.tcp(enemy.kernel6, enemy.ours6, (3000, PORT), ACK, data=b"d" * 100)
            for number in range(FLOOD // 16):
                cut = number % len(whole)
                enemy.packet(whole[:cut], packets.IPV4)
                enemy.packet(whole6[:cut], packets.IPV6)
                enemy.packet(whole[:8] + enemy.random.randbytes(12) + whole[20:], packets.IPV4)
                enemy.packet(whole6[:4] + enemy.random.randbytes(4) + whole6[8:], packets.IPV6)
                enemy.packet(b"\x4f" + whole[1:], packets.IPV4)
                enemy.packet(whole, 0x88b6)
                enemy.packet(whole[:32] + bytes([number & 255]) + whole[33:])          # TCP's offset
                enemy.packet(enemy.random.randbytes(number % 1500 + 1), packets.IPV4)
                enemy.packet(packets.arp(number & 255, enemy.my_mac, enemy.kernel, b"\0" * 6, enemy.ours)[:number % 29],
                             packets.ARP)
                enemy.packet(b"\0\7" + struct.pack(">H", packets.IPV4) + whole, packets.VLAN)
                enemy.packet(packets.ip(enemy.kernel, enemy.ours, packets.TCP, whole[20:] + b"j" * 1360))
                enemy.frame(packets.ethernet(b"\2\0\0\0\0\x77", enemy.my_mac, packets.IPV4, whole))
                enemy.frame(packets.ethernet(enemy.mac, b"\xff" * 6, packets.IPV4, whole))
        self.attack(rubbish)
        for name in ("frames_foreign", "frames_unknown", "ip_bad", "ip_checksum", "tcp_bad", "tcp_checksum", "arp_bad"):
            self.counted(name, 1)

    def test_fragments_are_refused(self):
        self.begin(six=True)

        def fragments():
            for number in range(FLOOD // 2):
                who = self.enemy.stranger(number % 2 == 1)
                six = len(who) == 16
                offset = (number % 100) << 3 | 1 if six else 0x2000 | number % 100
                self.enemy.packet(packets.ip(who, self.enemy.target(six), packets.TCP, b"f" * 1000, fragment=offset))
        self.attack(fragments)
        self.counted("ip_fragments", FLOOD // 4)

    def test_extension_headers_and_options_have_an_end(self):
        self.begin(six=True)

        def chains():
            for number in range(FLOOD // 4):
                who = self.enemy.stranger(True)
                following = [0, 60, 43, 60][number % 4]
                chain = bytes([60, 0, 1, 4, 0, 0, 0, 0]) * (number % 170 + 1) + b"\x3b\0\1\4\0\0\0\0"
                self.enemy.packet(packets.ip(who, self.enemy.ours6, following, chain))
        self.attack(chains)
        self.counted("ip_options", FLOOD // 8)


class Connections(Case):
    """Those who got in: each of these says what it takes to be served, and then does not behave."""

    def begin(self, settings=("handshake_timeout=600000",), **how):
        """Whoever does not finish, or is slow to, stays to the end."""
        super().begin(settings=settings, **how)

    def peers(self, count, **how):
        peers = [self.enemy.peer(PORT, **how) for _ in range(count)]
        self.enemy.connect(peers)
        self.assertFalse(any(one.ended for one in peers))
        return peers

    def heard(self, peers, done):
        try:
            self.enemy.listen(time.monotonic() + 30, lambda: all(done(one) for one in peers))
        except AssertionError:
            self.fail("not all heard what they should: %s" % [
                (len(one.input), one.ended, one.finished, len(one.segments), one.theirs) for one in peers if not done(one)])

    def filled(self, queue, count, bytes_):
        """A queue of the honest client's broker with so much in it."""
        with_broker = amqp_raw.Raw(self.end.subnet.ours, PORT).handshake()
        channel = with_broker.channel()
        channel.call("confirm.select")
        channel.call("queue.declare", queue=queue, exclusive=False, auto_delete=False)
        for _ in range(count):
            channel.publish(b"z" * bytes_, routing_key=queue)
        channel.confirmed(count)
        with_broker.close()

    def test_gaps_in_many_connections_are_held_within_a_bound(self):
        self.begin()
        peers = self.peers(60)

        def gaps():
            for number in range(FLOOD // 60):
                for one in peers:
                    one.send(ACK, b"gap", seq=one.next + 100 + 7 * (number * 37 % 2000))
            self.enemy.drain()
        self.attack(gaps)
        self.counted("tcp_out_of_order", FLOOD // 2)
        self.counted("tcp_out_of_order_dropped", FLOOD // 8)

    def test_who_asks_for_much_and_reads_nothing_waits_alone(self):
        """Zero windows: what is held for them is theirs, and the shares of others are not touched."""
        self.begin()
        self.filled("treasure", 160, 1 << 18)
        peers = self.peers(40)

        def hoard():
            for one in peers:
                one.write(attacker_module.opening("treasure"))
            self.heard(peers, lambda one: len(one.input) > 20000)
            for one in peers:
                one.silent, one.window = True, 0
                one.send()
            for _ in range(FLOOD // 400):
                for one in peers:
                    one.send()
                self.enemy.drain()
            self.counted("tcp_persist", 20)
        self.attack(hoard, 2000)
        self.counted("tcp_window_stalls", len(peers))

    def test_tiny_segments_and_windows_are_not_believed(self):
        """CVE-2019-11479, RFC 9293 3.7.1 and 3.8.6.2.1: an MSS of 1 and a window of 3 bytes do not make a broker send
        messages byte by byte."""
        self.begin()
        self.filled("crumbs", 60, 1 << 18)
        peers = self.peers(20, options=packets.mss(1), window=3)

        def nibble():
            for one in peers:
                one.write(attacker_module.opening("crumbs"), 1)
            for _ in range(100):
                self.enemy.drain()
                for one in peers:
                    one.send()
        self.attack(nibble)
        sent = self.counters()["tcp_sent"] - self.before["tcp_sent"]
        self.assertLess(sent, 2 * self.enemy.sent + 2000)
        # A window of one full segment is filled with full segments, whatever the MSS said.
        for one in peers:
            one.window = 1200
            one.send()
        self.heard(peers[:4], lambda one: any(bytes_ >= 500 for _, bytes_ in one.segments))

    def test_lies_about_what_came_are_counted_and_cost_little(self):
        self.begin()
        self.filled("lies", 60, 1 << 18)
        peers = self.peers(20, options=packets.mss(1460) + packets.SACK_OK)

        def lies():
            for one in peers:
                one.write(attacker_module.opening("lies"))
            self.heard(peers, lambda one: len(one.input) > 3000)
            for one in peers:
                one.silent = True
            for number in range(FLOOD // 40):
                for one in peers:
                    una = one.theirs
                    blocks = [(una + 2920 + number, una + 4380 + number), (una + (1 << 20), una + (1 << 21)),
                              (una - 5000, una - 4000), (una + 9000, una + 8000)]
                    one.send(options=packets.sack(*blocks[:3 + number % 2]))
                self.enemy.drain()
        self.attack(lies, 200)
        self.counted("tcp_sack_implausible", FLOOD // 20)

    def test_overlaps_and_old_duplicates_change_nothing_that_was_said(self):
        """What came first counts: a second truth about the same bytes is not heard, in order or out of it."""
        self.begin()
        peers = self.peers(20)
        said = attacker_module.opening()

        def overlap():
            for one in peers:
                first = one.next
                for at in range(len(said) - 40, 0, -29):                    # from behind, overlapping
                    one.send(ACK, said[at:at + 60], seq=first + at)
                    one.send(ACK, b"!" * 40, seq=first + at + 5)            # another truth
                one.send(ACK, said[:30], seq=first)
                one.send(ACK, said[:len(said)], seq=first)
                one.next += len(said)
                for _ in range(20):
                    one.send(ACK, b"?" * 60, seq=first)
            self.heard(peers, lambda one: b"\x00\x14\x00\x0b" in one.input)   # channel.open-ok
        self.attack(overlap, 200)
        self.counted("tcp_duplicates", 20 * 20)
        self.assertFalse(any(one.ended or one.finished for one in peers))

    def test_a_handshake_that_never_ends_is_ended(self):
        """Slowloris: a byte now and then does not keep a place."""
        self.begin(settings=["handshake_timeout=2000"])
        peers = self.peers(200)

        def drip():
            for byte in b"AMQP\0\0\x09":
                for one in peers:
                    one.write(bytes([byte]))
                self.enemy.drain()
            self.heard(peers, lambda one: one.finished or one.ended)
        self.attack(drip, 400)

    def test_connections_that_come_and_go_leave_little_behind(self):
        """We close first (a wrong header), so what is left of each waits here: 32 bytes, with a limit."""
        self.begin()

        def churn():
            for _ in range(FLOOD // 800):
                peers = self.peers(100)
                for one in peers:
                    one.write(b"GET / HTTP/1.1\r\n\r\n")
                self.heard(peers, lambda one: one.finished or one.ended)
                for one in peers:
                    one.send(ACK | FIN)
                self.enemy.peers.clear()
        self.attack(churn, 200)
        self.counted("tcp_accepted", FLOOD // 800 * 100)

    def test_whoever_goes_without_a_word_is_not_missed(self):
        """Resets at every point of an opening."""
        self.begin()
        said = attacker_module.opening("amq.nobody")

        def vanish():
            for number in range(FLOOD // 800):
                peers = self.peers(100)
                for index, one in enumerate(peers):
                    one.write(said[:(number * 100 + index) * 7 % len(said) + 1])
                    one.send(RST)
                self.enemy.peers.clear()
        self.attack(vanish, 200)
        self.counted("tcp_resets_received", FLOOD // 800 * 90)


class TwoShards(Floods):
    """The same floods, where each frame may have to go to another shard."""
    shards = 2


if __name__ == "__main__":
    if not test_devices.MISSING:
        netns.enter()
    sys.exit(suite.main([sys.modules[__name__]]))
