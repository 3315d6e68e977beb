#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Overload and full rate: memory limits, slow readers, slow queues, churn, stop, idleness.

Figures that a test measures are printed on lines that begin with `#`.
"""
import json
import os
import select
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker as broker_module
import suite
from amqp_flow import Consumer, Peer, Publisher, loop, step, until_stuck
from amqp_raw import BODY, HEADER, Closed, EndOfStream, Raw, encode_header, frame, method_frame

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


def note(text, *values):
    print("#     " + text % values, flush=True)


def process_status(pid, key):
    """Bytes of a line of /proc/PID/status."""
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(key)


def sanitized(pid):
    """A sanitizer's shadow is terabytes of address space: resident bytes say nothing then."""
    return process_status(pid, "VmSize") > 1 << 40


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Meter(threading.Thread):
    """Reads the broker's counters again and again, and keeps the largest of each."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target, self.peak, self.reads = target, {}, 0
        self.over = threading.Event()
        self.problem = None

    def run(self):
        try:
            while not self.over.is_set():
                for name, value in counters(self.target).items():
                    self.peak[name] = max(value, self.peak.get(name, 0))
                self.reads += 1
        except Exception as problem:
            self.problem = problem

    def stop(self):
        self.over.set()
        self.join(60)
        if self.problem:
            raise self.problem
        return self.peak


def report(target):
    return json.loads(target.ctl("--formatter", "json", "status").stdout)


def counters(target):
    return report(target)["counters"]


class Case(unittest.TestCase):
    def own(self, **options):
        """A broker of the test's own."""
        if self.broker.external:
            self.skipTest("needs a broker of its own")
        target = broker_module.Broker(**options)
        # It may say that it is ready a moment before its control process hears lepusctl.
        until = time.monotonic() + 10
        while target.ctl("ping", check=False).returncode and time.monotonic() < until:
            pass
        self.addCleanup(lambda: target.stop(failed=self.failed_so_far()))
        return target

    def failed_so_far(self):
        result = self._outcome.result
        return any(test is self for test, _ in result.failures + result.errors)

    def dial(self, target=None):
        target = target or self.broker
        connection = Raw(target.host, target.port)
        self.addCleanup(connection.drop)
        return connection.handshake()

    def queue(self, target=None, name=None, **options):
        """A queue that outlives its connection, deleted at the end."""
        connection = self.dial(target)
        channel = connection.channel()
        name = channel.call("queue.declare", queue=name or "flow." + self.id().split(".")[-1],
                            **options).queue
        if not (target and target is not self.broker):
            self.addCleanup(self.delete, name)
        connection.close()
        return name

    def delete(self, name):
        connection = self.dial()
        connection.channel().call("queue.delete", queue=name)
        connection.close()

    def peer(self, roles=(), target=None):
        """A connection with a channel for each role, from 1."""
        connection = self.dial(target)
        for number in range(1, len(roles) + 1):
            connection.channel(number)
        peer = Peer(connection)
        for number, role in enumerate(roles, 1):
            peer.add(number, role)
        return peer

    def depth(self, name, target=None):
        """Messages of a queue: (ready, unacknowledged)."""
        rows = json.loads((target or self.broker).ctl(
            "--formatter", "json", "list_queues", "name", "messages_ready",
            "messages_unacknowledged").stdout)
        row = [row for row in rows if row["name"] == name][0]
        return row["messages_ready"], row["messages_unacknowledged"]


LIMIT, MARK = 128 * MIB, 64 * MIB
# Nothing leaves memory for the disk: publishers have to be held back.
SMALL_MEMORY = ["lepus.memory=%d" % LIMIT, "vm_memory_high_watermark.absolute=%d" % MARK,
                "lepus.log.backlog_bytes=1GB"]


class Watermark(Case):
    """Publishers flood a queue without consumers, in a broker with 64 MiB for messages."""

    def slack(self, shards, publishers, size):
        """Above the mark: each publisher's message under way, and what came in before its socket
        was left alone (2 MiB of receive buffers, kept in a block that grows); a turn a shard."""
        return publishers * (size + 3 * MIB) + shards * MIB // 2

    def held_back(self, flooders, target, quiet_s=0.5, seconds=60.0):
        """Until the mark is passed and nobody is read any more: the broker has had its turns, and taken nothing."""
        until, taken = time.monotonic() + seconds, None
        while True:
            waiting = until_stuck(flooders, quiet_s, seconds)
            before, now = taken, counters(target)
            taken = now["bytes_received"]
            if waiting and now["memory_alarm"] and taken == before:
                return
            self.assertLess(time.monotonic(), until, "the flood was never held back: %r" % now)

    def flood(self, shards, publishers, size):
        target = self.own(shards=shards, settings=SMALL_MEMORY)
        pid = target.child("lepus-dataplane")
        resident = process_status(pid, "VmRSS")
        begun = counters(target)["memory_used_bytes"]
        big, small = self.queue(target, "big"), self.queue(target, "small")
        other = self.peer([Publisher(99, 100, 64, routing_key=small)], target)
        loop([other], other.roles[1].done)
        meter = Meter(target)
        meter.start()
        total = 3 * MARK // size // publishers
        flooders = [self.peer([Publisher(n, total, size, routing_key=big)], target)
                    for n in range(publishers)]
        self.held_back(flooders, target)
        confirmed = sum(peer.roles[1].confirmed for peer in flooders)
        self.others_go_on(target, small, flooders)
        held = counters(target)["memory_used_bytes"]
        self.drain(target, big, flooders, total)
        peak = meter.stop()["memory_used_bytes"]
        self.assertEqual(self.depth(big, target), (0, 0))
        after = counters(target)["memory_used_bytes"]
        top = process_status(pid, "VmHWM")
        note("%d shards, %d publishers of %d B: %d confirmed, held at %.2f MiB; peak %+.2f MiB "
             "from the mark; after %.2f, before %.2f; resident %.1f to %.1f MiB; %d looks",
             shards, publishers, size, confirmed, held / MIB, (peak - MARK) / MIB, after / MIB,
             begun / MIB, resident / MIB, top / MIB, meter.reads)
        self.assertLessEqual(peak, MARK + self.slack(shards, publishers, size))
        if not sanitized(pid):
            self.assertLessEqual(top, resident + LIMIT)

    def others_go_on(self, target, small, flooders):
        """Who only consumes, who logs in, who declares; nobody publishes more meanwhile."""
        reader = self.peer([Consumer(small, 5)], target)
        loop([reader], lambda: reader.roles[1].count == 100, 15)
        for _ in range(5):
            connection = self.dial(target)
            channel = connection.channel()
            name = channel.call("queue.declare", exclusive=True).queue
            self.assertEqual(channel.call("basic.get", queue=name).name, "basic.get-empty")
            connection.close()
        self.assertFalse(step(flooders, 0), "the flood went on above the mark")
        reader.raw.drop()

    def drain(self, target, big, flooders, total):
        reader = self.peer([Consumer(big, 20, 10)], target)
        everyone, role = flooders + [reader], reader.roles[1]
        loop(everyone, lambda: all(peer.roles[1].done() for peer in flooders)
             and role.count == total * len(flooders), 120)
        # The last acks may be of less than ten messages.
        reader.output += method_frame(1, "basic.ack", delivery_tag=0, multiple=True)
        reader.output += method_frame(1, "channel.flow", active=True)
        loop(everyone, lambda: reader.answered("channel.flow-ok"))
        self.assertEqual(role.again, 0)

    def test_one_shard_one_publisher_bodies_of_100_kb(self):
        self.flood(1, 1, 100000)

    def test_one_shard_small_bodies(self):
        self.flood(1, 2, 2000)

    def test_one_shard_four_publishers_bodies_of_1_mib(self):
        self.flood(1, 4, MIB)

    def test_four_shards_one_publisher_bodies_of_1_mib(self):
        self.flood(4, 1, MIB)

    def test_four_shards_eight_publishers_bodies_of_1_mib(self):
        self.flood(4, 8, MIB)

    def test_four_shards_four_publishers_small_bodies(self):
        self.flood(4, 4, 2000)

    def test_messages_under_way_do_not_hold_each_other_up(self):
        """Pieces of messages alone are more than the mark: some must get to their ends."""
        target = self.own(shards=1, settings=SMALL_MEMORY)
        big, size = self.queue(target, "big"), 4 * MIB
        flooders = [self.peer([Publisher(n, 3, size, routing_key=big)], target)
                    for n in range(20)]
        until_stuck(flooders, 0.5)
        self.drain(target, big, flooders, 3)


    def test_who_has_published_may_still_acknowledge(self):
        """C102: only publishing is held back, and only who publishes now is not read."""
        target = self.own(shards=1, settings=SMALL_MEMORY)
        big, size = self.queue(target, "big"), 100000
        both = self.peer([Publisher(1, 1, size, routing_key=big)], target)
        loop([both], both.roles[1].done)
        flooder = self.peer([Publisher(0, 2 * MARK // size, size, routing_key=big)], target)
        self.held_back([flooder], target)
        self.assertTrue(flooder.roles[1].confirmed > 0)
        reader = both.add(1, Consumer(big, 10, 1))
        loop([both, flooder], lambda: flooder.roles[1].done() and reader.count == 2 * MARK // size + 1, 60)

    def test_contents_that_alternate_on_one_connection(self):
        """Each is behind the others, and all that have begun are more than the mark."""
        target = self.own(shards=1, settings=SMALL_MEMORY)
        big, size, piece, channels = self.queue(target, "big"), 5000000, 131064, range(1, 17)
        connection = self.dial(target)
        for number in channels:
            connection.channel(number)
        data = bytearray()
        for number in channels:
            data += method_frame(number, "confirm.select", nowait=True)
            data += method_frame(number, "basic.publish", routing_key=big)
            data += frame(HEADER, number, encode_header(size))
        for at in range(0, size, piece):
            body = b"." * min(piece, size - at)
            for number in channels:
                data += frame(BODY, number, body)
        peer = Peer(connection)
        peer.roles = {number: Counter() for number in channels}
        peer.output += data
        loop([peer], lambda: sum(role.count for role in peer.roles.values()) == len(channels), 30)

    def test_who_begins_contents_and_does_not_go_on_stops_nobody(self):
        target = self.own(shards=1, settings=SMALL_MEMORY)
        big = self.queue(target, "big")
        for _ in range(20):
            sleeper = self.dial(target)
            sleeper.channel().send("basic.publish", routing_key=big)
            sleeper.write(frame(HEADER, 1, encode_header(5000000)))
        peer = self.peer([Publisher(0, 20, MIB, routing_key=big)], target)
        seconds = loop([peer], peer.roles[1].done, 15)
        note("20 contents that do not go on: 20 messages of 1 MiB beside them in %.2f s", seconds)


class Counter:
    """Counts confirms."""

    def __init__(self):
        self.count = 0

    def feed(self):
        pass

    def acked(self, _tag, _multiple):
        self.count += 1


class SlowQueue(Case):
    """A queue whose consumer never acks does not stop its connection's other channels."""

    TOTAL = 10000

    def run_beside(self, stuck, fast, **where):
        """Seconds to publish and consume on the channels behind `stuck`."""
        readers = [Consumer(name, ack_every=None) for name in fast]
        peer = self.peer(stuck + [Publisher(0, self.TOTAL, 100, 2000, **where)] + readers)
        loop([peer], lambda: all(role.count for role in stuck))
        seconds = loop([peer], lambda: all(role.count == self.TOTAL for role in readers)
                       and peer.roles[len(stuck) + 1].done())
        self.assertEqual([role.count for role in stuck], [1] * len(stuck))
        peer.close()
        return seconds

    def compare(self, slow, fast, **where):
        """How often it had to be measured: neighbours of this machine can spoil one, what is so is so in each."""
        for times in (1, 2, 3):
            alone = self.run_beside([], fast, **where)
            beside = self.run_beside([Consumer(name, 1, 0) for name in slow], fast, **where)
            note("%d queues at full rate: %.0f messages/s, beside %d slow ones %.0f",
                 len(fast), self.TOTAL / alone, len(slow), self.TOTAL / beside)
            if beside < 4 * alone + 1:
                return times
        self.fail("slow in three measurements")

    def fill(self, names, count, size=100):
        for name in names:
            peer = self.peer([Publisher(7, count, size, routing_key=name)])
            loop([peer], peer.roles[1].done)

    def test_another_queue(self):
        slow, fast = self.queue(name="flow.slow"), self.queue(name="flow.fast")
        self.fill([slow], 1000)
        self.compare([slow], [fast], routing_key=fast)
        self.depth_becomes(slow, (1000, 0))

    def test_big_backlog(self):
        slow, fast = self.queue(name="flow.slow"), self.queue(name="flow.fast")
        self.fill([slow], 100000)
        self.compare([slow], [fast], routing_key=fast)
        self.depth_becomes(slow, (100000, 0))

    def test_fan_out_to_slow_and_fast_queues(self):
        slow = [self.queue(name="flow.slow.%d" % n) for n in range(4)]
        fast = [self.queue(name="flow.fast.%d" % n) for n in range(3)]
        self.fill(slow, 1)
        connection = self.dial()
        channel = connection.channel()
        channel.call("exchange.declare", exchange="flow.all", type="fanout", auto_delete=True)
        for name in slow + fast:
            channel.call("queue.bind", queue=name, exchange="flow.all")
        times = self.compare(slow, fast, exchange="flow.all")
        for name in slow:
            self.depth_becomes(name, (2 * times * self.TOTAL + 1, 0))

    def depth_becomes(self, name, wanted):
        """What a closed connection held comes back to the queue."""
        until = time.monotonic() + 15
        while self.depth(name) != wanted and time.monotonic() < until:
            pass
        self.assertEqual(self.depth(name), wanted)


class Asker:
    """Asks without end what is answered at once."""

    def begin(self):
        self.frame = method_frame(self.channel, "basic.qos", prefetch_count=1)

    def feed(self):
        self.peer.output += self.frame * 1000


class Backlog(Case):
    """Transient messages that are more than memory is large: nobody is held back for long."""

    TOTAL, SIZE = 100000, 1000      # of 64 MiB of memory

    def log_bytes(self, target):
        total = 0
        for folder, _, names in os.walk(os.path.join(target.data, "log")):
            for name in names:
                try:
                    total += os.path.getsize(os.path.join(folder, name))
                except FileNotFoundError:
                    pass                                # given back since it was listed
        return total

    def fill(self, target, name):
        source = self.peer([Publisher(0, self.TOTAL, self.SIZE, routing_key=name)], target)
        taken = loop([source], source.roles[1].done, 120)
        source.raw.drop()
        return taken

    def drain(self, target, name):
        reader = self.peer([Consumer(name, 1000, 100)], target)
        taken = loop([reader], lambda: reader.roles[1].count == self.TOTAL, 120)
        self.assertEqual(reader.roles[1].again, 0)
        reader.raw.drop()
        return taken

    def backlog(self, **options):
        target = self.own(shards=1, settings=["lepus.memory=64MB", "lepus.log.segment_bytes=4MiB"])
        name = self.queue(target, **options)
        meter = Meter(target)
        meter.start()
        filled = self.fill(target, name)
        peak = meter.stop()["memory_used_bytes"]
        self.assertEqual(self.depth(name, target), (self.TOTAL, 0))
        note("100 MB of transient messages, memory for 64: filled in %.2f s, peak %.1f MiB, drained in %.2f s",
             filled, peak / MIB, self.drain(target, name))
        return target, name

    def test_of_a_queue_that_is_not_durable(self):
        self.backlog()

    def test_of_a_durable_queue_it_ends_with_the_broker(self):
        target, name = self.backlog(durable=True)
        self.fill(target, name)
        before = self.log_bytes(target)
        target.kill_all()
        target.start()
        self.assertEqual(self.depth(name, target), (0, 0))
        until = time.monotonic() + 30
        while self.log_bytes(target) > before / 4 and time.monotonic() < until:
            self.depth(name, target)
        self.assertLessEqual(self.log_bytes(target), before / 4, "the disk's space was not given back")
        self.fill(target, name)
        self.drain(target, name)


class Stalled(Case):
    """A reader that does not read costs a bounded amount of memory and stops nobody else."""

    def others_go_on(self, target):
        name = self.queue(target, "beside")
        peer = self.peer([Publisher(1, 2000, 1000, 500, routing_key=name),
                          Consumer(name, 100, 10)], target)
        return loop([peer], lambda: peer.roles[2].count == 2000, 30)

    def stall(self, shards):
        target = self.own(shards=shards, settings=["lepus.memory=%d" % (shards * LIMIT)])
        name, total, size = self.queue(target, "unread"), 1200, 20000   # 24 MB
        source = self.peer([Publisher(0, total, size, routing_key=name)], target)
        loop([source], source.roles[1].done)
        waiting = counters(target)["memory_used_bytes"]
        reader = self.peer([Consumer(name, ack_every=None)], target)
        reader.reading = False
        while reader.output:
            step([reader], 1)
        beside = self.others_go_on(target)
        meter = Meter(target)
        meter.start()
        again = self.peer([Publisher(1, 200, size, routing_key=name)], target)
        loop([again], again.roles[1].done)
        peak = meter.stop()["memory_used_bytes"]
        note("%d shards: %.1f MiB with 24 MB in a queue; with 28 MB and a reader that does not "
             "read %.1f; 2000 messages beside it in %.2f s", shards, waiting / MIB, peak / MIB,
             beside)
        self.assertLess(peak, waiting + 200 * size * 5 // 4 + 6 * MIB)
        reader.reading = True
        loop([reader], lambda: reader.roles[1].count == total + 200)

    def test_deliveries_that_nobody_reads_one_shard(self):
        self.stall(1)

    def test_deliveries_that_nobody_reads_four_shards(self):
        self.stall(4)

    def test_answers_that_nobody_reads(self):
        target = self.own(shards=1, settings=SMALL_MEMORY)
        begun = counters(target)["memory_used_bytes"]
        peers = [self.peer([Asker()], target) for _ in range(3)]
        for peer in peers:
            peer.reading = False
        self.assertTrue(until_stuck(peers, 0.5))
        held = counters(target)["memory_used_bytes"] - begun
        note("%d B of memory for each client that asks %d kB and reads no answer",
             held // len(peers), peers[0].sent_bytes // 1000)
        self.assertLess(held, len(peers) * 5 * MIB)
        self.others_go_on(target)


class Accounting(Case):
    def test_publisher_faster_than_consumer(self):
        """The consumer acks one by one and is replaced half-way: in order, nothing lost."""
        name, total = self.queue(), 20000
        source = self.peer([Publisher(0, total, 100, routing_key=name)])
        first = self.peer([Consumer(name, 10)])
        loop([source, first], lambda: first.roles[1].count >= total // 4)
        half = first.roles[1]
        first.output += method_frame(1, "channel.close", code=200)
        loop([source, first], lambda: first.answered("channel.close-ok"))
        second = self.peer([Consumer(name, 10)])
        rest = second.roles[1]
        # What came after the close was asked for is acked in vain: it comes again, first.
        rest.next[0] = None
        loop([source, second], lambda: rest.next[0] == total and source.roles[1].done())
        self.assertLessEqual(half.next[0] - 10, total - rest.count)
        self.assertLessEqual(total - rest.count, half.next[0])
        self.assertLessEqual(rest.again, 10)
        self.assertEqual(self.depth(name)[0], 0)


class Stop(Case):
    def test_graceful_stop_under_load(self):
        target = self.own()
        connection = self.dial(target)
        channel = connection.channel()
        channel.call("exchange.declare", exchange="flow.kept", type="topic", durable=True)
        channel.call("queue.declare", queue="flow.kept", durable=True)
        channel.call("queue.bind", queue="flow.kept", exchange="flow.kept", routing_key="a.#")
        connection.close()
        where = {"exchange": "flow.kept", "routing_key": "a.b"}
        sources = [self.peer([Publisher(n, 10**9, 500, **where)], target) for n in range(4)]
        sinks = [self.peer([Consumer("flow.kept", 50, 10, gaps=True)], target) for _ in range(2)]
        loop(sources + sinks, lambda: sum(s.roles[1].count for s in sinks) > 2000)
        target.process.terminate()
        self.read_close(sources + sinks)
        self.assertEqual(target.process.wait(30), 0)
        said = [line for line in target.log_tail().splitlines()
                if line.startswith("lepus: stopping: ")]
        self.assertEqual(len(said), 2, said)
        self.assertIn("6 connections", said[0])
        target.start()
        channel = self.dial(target).channel()
        self.assertEqual(channel.call("queue.declare", queue="flow.kept",
                                      passive=True).message_count, 0)
        channel.call("confirm.select")
        channel.publish(b"after", **where)
        channel.confirmed()
        self.assertEqual(channel.call("basic.get", queue="flow.kept", no_ack=True).body, b"after")

    def read_close(self, peers):
        until, open_peers = time.monotonic() + 30, list(peers)
        while open_peers and time.monotonic() < until:
            step(open_peers, 1)
            for peer in open_peers:
                said = [e for e in peer.events if e.name == "connection.close"]
                if said and not peer.ended and peer.roles:
                    self.assertEqual(said[0].code, 320)
                    self.assertRegex(said[0].text, "^CONNECTION_FORCED - ")
                    peer.roles = {}
                    peer.output += method_frame(0, "connection.close-ok")
            open_peers = [peer for peer in open_peers if not peer.ended]
        for peer in peers:
            self.assertTrue(peer.ended and not peer.roles, "no connection.close: %r, ended %r" % (peer.events, peer.ended))


class Idle(Case):
    def test_200_idle_connections_cost_less_than_one_percent(self):
        target = self.own()
        connections = [self.dial(target) for _ in range(200)]
        for connection in connections:
            channel = connection.channel()
            name = channel.call("queue.declare", exclusive=True).queue
            channel.call("basic.consume", queue=name)
        pids = [target.process.pid, target.child("lepus-dataplane"), target.child("lepus-control")]
        sockets = [connection.sock for connection in connections]
        self.assertEqual(select.select(sockets, [], [], 0.5)[0], [])
        before = [cpu_seconds(pid) for pid in pids]
        self.assertEqual(select.select(sockets, [], [], 5.0)[0], [])
        used = [cpu_seconds(pid) - was for pid, was in zip(pids, before)]
        note("%% of a core when idle: launcher %.2f, dataplane %.2f, control %.2f; resident %.1f "
             "and %.1f MiB", *[100 * seconds / 5 for seconds in used],
             process_status(pids[1], "VmRSS") / MIB, process_status(pids[2], "VmRSS") / MIB)
        if not sanitized(pids[1]):
            self.assertLess(sum(used), 0.05)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
