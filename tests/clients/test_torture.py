#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sockets treated badly: frames in pieces, interleaved content, garbage, silence, churn.

The broker must answer rightly, or refuse by the protocol, and stay up.
"""
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import amqp_raw
import broker as broker_module
import suite
from amqp_raw import (BODY, HEADER, HEADER_091, METHOD, Closed, EndOfStream, Raw, frame,
                      method_frame)
from stalls import Stalls

SEED = int(os.environ.get("LEPUS_SEED", "1"))
HANDSHAKE_TIMEOUT_MS = 1000


class Case(unittest.TestCase):
    def dial(self):
        connection = Raw(self.broker.host, self.broker.port)
        self.addCleanup(connection.drop)
        return connection

    def still_works(self):
        """A connection, a queue and a message, end to end."""
        channel = self.dial().handshake().channel()
        queue = channel.call("queue.declare", exclusive=True).queue
        channel.call("confirm.select")
        channel.publish(b"alive", routing_key=queue)
        channel.confirmed()
        self.assertEqual(channel.call("basic.get", queue=queue, no_ack=True).body, b"alive")
        channel.connection.close()


class Pieces(Case):
    def conversation(self, queue):
        """All that a client says from header to close: a list of writes to wait after."""
        plain = {"mechanism": "PLAIN", "response": "\0guest\0guest", "locale": "en_US"}
        return [
            (HEADER_091, "connection.start"),
            (method_frame(0, "connection.start-ok", **plain), "connection.tune"),
            (method_frame(0, "connection.tune-ok", channel_max=2047, frame_max=131072,
                          heartbeat=0)
             + method_frame(0, "connection.open", vhost="/"), "connection.open-ok"),
            (method_frame(1, "channel.open")
             + method_frame(1, "queue.declare", queue=queue, exclusive=True)
             + method_frame(1, "confirm.select")
             + method_frame(1, "basic.consume", queue=queue, no_ack=True), "basic.consume-ok"),
            (amqp_raw.publish_frames(1, b"in pieces", {"message_id": "m", "headers": {"h": 1}},
                                     4, routing_key=queue), "basic.deliver"),
            (method_frame(0, "connection.close", code=200), "connection.close-ok"),
        ]

    def talk(self, cut):
        """Hold the conversation, each write cut into pieces by `cut(data)`."""
        connection, delivered = self.dial(), None
        for data, answer in self.conversation("pieces." + uuid.uuid4().hex[:8]):
            for piece in cut(data):
                connection.write(piece)
            event = None
            while event is None or event.name != answer:
                connection.pump(time.monotonic() + 15)
                waiting = [n for n, events in connection.events.items() if events]
                event = connection.events[waiting[0]].popleft() if waiting else None
                if event is not None and event.name == "basic.deliver":
                    delivered = event
        self.assertEqual((delivered.body, delivered.__dict__["properties"]["message_id"]),
                         (b"in pieces", "m"))

    def test_every_byte_in_a_write_of_its_own(self):
        self.talk(lambda data: [data[n:n + 1] for n in range(len(data))])

    def test_every_write_cut_in_two_at_every_boundary(self):
        longest = max(len(data) for data, _ in self.conversation("pieces.12345678"))
        for at in range(1, longest):
            self.talk(lambda data: [data[:at], data[at:]] if at < len(data) else [data])

    def test_random_pieces(self):
        source = random.Random(SEED)

        def cut(data):
            out = []
            while data:
                count = source.randint(1, 40)
                out.append(data[:count])
                data = data[count:]
            return out
        for _ in range(50):
            self.talk(cut)

    def test_content_of_many_channels_interleaved_frame_by_frame(self):
        connection, source = self.dial().handshake(), random.Random(SEED)
        channels = [connection.channel(n) for n in range(1, 21)]
        expected, scripts = {}, {}
        for channel in channels:
            queue = channel.call("queue.declare", exclusive=True).queue
            channel.call("basic.consume", queue=queue, no_ack=True)
            bodies = [bytes([channel.number]) * source.randint(0, 3000) for _ in range(10)]
            expected[channel.number] = bodies
            frames = []
            for body in bodies:
                frames.append(method_frame(channel.number, "basic.publish", routing_key=queue))
                frames.append(frame(HEADER, channel.number, amqp_raw.encode_header(len(body))))
                frames += [frame(BODY, channel.number, body[at:at + 500])
                           for at in range(0, len(body), 500)]
            scripts[channel.number] = frames
        while scripts:
            number = source.choice(sorted(scripts))
            connection.write(scripts[number].pop(0))
            if not scripts[number]:
                del scripts[number]
        for channel in channels:
            got = [channel.next("basic.deliver").body for _ in range(10)]
            self.assertEqual(got, expected[channel.number])

    def test_whole_session_in_one_write(self):
        connection = self.dial()
        connection.write(b"".join(data for data, _ in self.conversation("pieces.once")[:-1]))
        while True:
            connection.pump(time.monotonic() + 15)
            if connection.events[1] and connection.events[1][-1].name == "basic.deliver":
                break
        self.assertEqual(connection.events[1][-1].body, b"in pieces")


    def test_acks_make_room_before_a_cancel_behind_them(self):
        """In one write, all the same: the queue works through them one by one."""
        channel = self.dial().handshake().channel()
        queue = channel.call("queue.declare", exclusive=True).queue
        for number in range(10):
            channel.publish(b"%d" % number, routing_key=queue)
        channel.call("basic.qos", prefetch_count=5)
        channel.call("basic.consume", queue=queue, consumer_tag="tag")
        seen = [channel.next("basic.deliver").body for _ in range(5)]
        channel.connection.write(b"".join(
            method_frame(channel.number, "basic.ack", delivery_tag=tag) for tag in (1, 2))
            + method_frame(channel.number, "basic.cancel", consumer_tag="tag"))
        seen += [channel.next("basic.deliver").body for _ in range(2)]
        channel.next("basic.cancel-ok")
        self.assertEqual(seen, [b"%d" % number for number in range(7)])
        self.assertEqual(channel.call("basic.get", queue=queue).body, b"7")


class Garbage(Case):
    """Whatever comes, the answer is a protocol error or the end of the stream."""

    def ends(self, connection):
        """Read to the end; codes of connection.close on the way, which is answered."""
        codes = []
        try:
            while True:
                connection.pump(time.monotonic() + 20)
                while connection.events[0]:
                    event = connection.events[0].popleft()
                    if event.name == "connection.close":
                        codes.append(event.code)
                        connection.send(0, "connection.close-ok")
        except (EndOfStream, BrokenPipeError, ConnectionResetError):
            return codes

    def test_random_bytes_instead_of_a_header(self):
        source = random.Random(SEED)
        for _ in range(50):
            connection = self.dial()
            connection.write(source.randbytes(source.randint(8, 2000)))
            self.assertIn(connection.read_to_end()[:4], (b"AMQP", b""))
        self.still_works()

    def flipped(self, source):
        """A valid conversation with bytes overwritten."""
        data = bytearray(
            method_frame(1, "channel.open") + method_frame(1, "basic.qos", prefetch_count=5)
            + method_frame(1, "queue.declare", exclusive=True, arguments={"x": {"y": [1, "z"]}})
            + amqp_raw.publish_frames(1, b"body" * 50, {"headers": {"a": 1}, "type": "t"})
            + method_frame(1, "basic.consume", no_ack=True))
        for _ in range(source.randint(1, 8)):
            data[source.randrange(len(data))] = source.randrange(256)
        return bytes(data)

    def test_overwritten_bytes_never_break_the_broker(self):
        source = random.Random(SEED)
        for _ in range(150):
            connection = self.dial().handshake()
            try:
                connection.write(self.flipped(source))
                # Ends a frame that a changed length left open, then says goodbye.
                connection.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            for code in self.ends(connection):
                self.assertIn(code, (320, 402, 501, 502, 503, 504, 505, 530, 540, 541))
        self.still_works()

    def test_broken_tables_are_refused(self):
        declare = struct.pack(">HHH", 50, 10, 0) + b"\x01q" + b"\x08"
        tables = [
            struct.pack(">I", 0xFFFFFFFF),                                  # longer than the frame
            struct.pack(">I", 5) + b"\x01a",                                # shorter than it says
            struct.pack(">I", 8) + b"\x01aS\xff\xff\xff\xff\0",             # string past the end
            struct.pack(">I", 3) + b"\x01a?",                               # unknown type
            struct.pack(">I", 7) + b"\x01aF\0\0\0\x7f",                     # inner table too long
            struct.pack(">I", 1) + b"\xff",                                 # key past the end
        ]
        for table in tables:
            connection = self.dial().handshake()
            connection.channel()
            connection.write(frame(METHOD, 1, declare + table))
            codes = self.ends(connection)
            if self.broker.flavour == "lepus":
                self.assertTrue(codes and codes[0] in (501, 502), (codes, table))
        self.still_works()

    def test_deeply_nested_table_is_survived(self):
        table = b""
        for _ in range(10000):
            table = b"\x01aF" + struct.pack(">I", len(table)) + table
        connection = self.dial().handshake()
        connection.channel()
        payload = struct.pack(">HHH", 50, 10, 0) + b"\0" + b"\x04" + struct.pack(
            ">I", len(table)) + table
        connection.write(frame(METHOD, 1, payload))
        try:
            connection.next(1)
        except (Closed, EndOfStream):
            pass
        self.still_works()

    def test_frame_that_announces_4_gigabytes_is_refused(self):
        connection = self.dial().handshake()
        connection.write(struct.pack(">BHI", METHOD, 0, 0xFFFFFFF0) + b"x" * 100)
        self.assertIn(self.ends(connection), ([501], []))
        self.still_works()

    def test_resets_in_the_middle_of_everything(self):
        source = random.Random(SEED)
        whole = self.flipped(random.Random(0))
        for _ in range(100):
            connection = self.dial().handshake()
            connection.write(whole[:source.randrange(len(whole))])
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            connection.drop()
        self.still_works()


class Time(Case):
    def test_idle_server_sends_heartbeats_within_half_the_interval(self):
        connection = self.dial().handshake(heartbeat=1)
        began = time.monotonic()
        with Stalls() as stalls:
            while len(connection.heartbeats) < 6:
                connection.write(frame(8, 0, b""))
                connection.pump(time.monotonic() + 5)
        gaps = [b - a for a, b in zip([began] + connection.heartbeats, connection.heartbeats)]
        self.assertLess(max(gaps), 0.9 + stalls.seconds)

    def test_silent_client_is_dropped_by_3_intervals(self):
        connection = self.dial().handshake(heartbeat=1)
        began = time.monotonic()
        with Stalls() as stalls:
            self.assertNotIn(b"\x00\x0a\x00\x32", connection.read_to_end(20))
        self.assertLess(time.monotonic() - began, 3.6 + stalls.seconds)

    def test_slow_handshake_is_closed(self):
        """At each step on the way to open, with the time-out that the broker was given."""
        target, limit = self.broker, 12.0
        if not target.external:
            target = broker_module.Broker(settings=["handshake_timeout=%d" % HANDSHAKE_TIMEOUT_MS])
            self.addCleanup(target.stop)
            limit = HANDSHAKE_TIMEOUT_MS / 1000 + 1.5
        began = time.monotonic()
        stuck = [Raw(target.host, target.port) for _ in range(4)]
        for connection in stuck:
            self.addCleanup(connection.drop)
        stuck[1].write(HEADER_091[:5])
        stuck[2].start()
        stuck[3].start()
        stuck[3].start_ok()
        with Stalls() as stalls:
            for connection in stuck:
                connection.read_to_end(20)
        self.assertLess(time.monotonic() - began, limit + stalls.seconds)

    def test_reader_that_stalls_does_not_stop_other_channels_or_connections(self):
        """Its socket is full of deliveries; everybody else goes on."""
        stalled = self.dial().handshake()
        channel = stalled.channel()
        queue = channel.call("queue.declare", exclusive=True).queue
        channel.send("basic.consume", queue=queue, no_ack=True)
        pusher = self.dial().handshake().channel()
        pusher.call("confirm.select")
        body = b"x" * 100000
        for _ in range(300):        # 30 MB: more than the socket buffers hold
            pusher.publish(body, routing_key="nobody.reads")
        pusher.confirmed(300)
        other = self.dial().handshake().channel()
        target = other.call("queue.declare", exclusive=True).queue
        for _ in range(300):
            channel.publish(body, routing_key=queue)
        self.still_works()
        other.call("confirm.select")
        other.publish(b"quick", routing_key=target)
        other.confirmed()
        self.assertEqual(channel.next().name, "basic.consume-ok")
        for _ in range(300):
            self.assertEqual(len(channel.next("basic.deliver").body), len(body))


class Churn(Case):
    def test_200_connections_at_once_and_again(self):
        for _ in range(3):
            connections = [self.dial() for _ in range(200)]
            for connection in connections:
                connection.handshake()
            for number, connection in enumerate(connections):
                channel = connection.channel(number + 1)
                channel.call("queue.declare", exclusive=True)
            for number, connection in enumerate(connections):
                if number % 2:
                    connection.close()
                else:
                    connection.drop()
        self.still_works()

    def test_parallel_open_and_close(self):
        problems = []

        def churn():
            try:
                for _ in range(25):
                    self.still_works()
            except Exception as problem:
                problems.append(problem)
        threads = [threading.Thread(target=churn) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(problems, [])

    def test_channels_open_and_close_2000_times(self):
        connection = self.dial().handshake()
        for number in range(2000):
            channel = connection.channel(number % 50 + 1)
            channel.call("channel.close", code=200)

    def test_2047_channels_at_once(self):
        connection = self.dial().handshake()
        connection.write(b"".join(method_frame(n, "channel.open") for n in range(1, 2048)))
        for number in range(1, 2048):
            self.assertEqual(connection.next(number).name, "channel.open-ok")


class Addresses(Case):
    def listener(self, pattern):
        if self.broker.external:
            self.skipTest("needs a broker of its own")
        found = [re.search(pattern, text) for text in self.broker.listeners]
        found = [match.group(1) for match in found if match]
        if not found:
            self.fail("no such listener in the ready line: %r" % self.broker.listeners)
        return found[0]

    def use(self, connection):
        self.addCleanup(connection.drop)
        channel = connection.handshake().channel()
        queue = channel.call("queue.declare", exclusive=True).queue
        channel.publish(b"here", routing_key=queue)
        channel.call("basic.consume", queue=queue, no_ack=True)
        self.assertEqual(channel.next("basic.deliver").body, b"here")

    def test_ipv6_loopback(self):
        self.use(Raw("::1", int(self.listener(r"tcp:\[::1\]:(\d+)"))))

    def test_unix_socket(self):
        self.use(Raw(self.listener(r"unix:(.+)"), 0, socket.AF_UNIX))


class Configuration(Case):
    def setUp(self):
        if self.broker.external:
            self.skipTest("needs a broker of its own")

    def run_lepus(self, *arguments):
        return subprocess.run([os.path.join(broker_module.binaries(), "lepus"), *arguments],
                              capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)

    def test_unknown_key_is_refused_and_names_the_nearest(self):
        with tempfile.TemporaryDirectory() as data:
            path = os.path.join(data, "lepus.conf")
            with open(path, "w") as config:
                config.write("# a comment\nchanel_max = 100\n")
            done = self.run_lepus("--config", path, "--data", data)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("channel_max", done.stderr + done.stdout)
        self.assertIn("chanel_max", done.stderr + done.stdout)

    def test_config_lists_every_key(self):
        done = self.run_lepus("config")
        self.assertEqual(done.returncode, 0)
        for key in ("channel_max", "frame_max", "heartbeat", "handshake_timeout", "lepus.shards",
                    "listeners.tcp"):
            self.assertIn(key, done.stdout)

    def test_tune_follows_the_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "lepus.conf")
            with open(path, "w") as config:
                config.write("channel_max = 100\nframe_max = 65536\nheartbeat = 11\n")
            target = broker_module.Broker(config=path)
            failed = True
            try:
                connection = Raw(target.host, target.port).handshake()
                tune = connection.tune
                connection.close()
                self.assertEqual((tune.channel_max, tune.frame_max, tune.heartbeat),
                                 (100, 65536, 11))
                failed = False
            finally:
                target.stop(failed)


if __name__ == "__main__":
    SOCKET = os.path.join(tempfile.gettempdir(), "lepus-%d.sock" % os.getpid())
    sys.exit(suite.main([sys.modules["__main__"]], settings=[
        "listeners.tcp.six=[::1]:0", "lepus.listeners.unix.test=" + SOCKET]))
