#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm, or behave as if: the broker stays up, answers others, and gets everything back.

Every test ends with the broker at rest: no connections, and the memory that it had before.
"""
import multiprocessing
import os
import random
import resource
import select
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import json

import suite
from amqp_raw import (BODY, HEADER, HEADER_091, METHOD, Closed, EndOfStream, Raw, encode_header,
                      encode_table, frame, method_frame, publish_frames)
from stalls import Stalls

HANDSHAKE_TIMEOUT_MS = 4000
CONNECTIONS = 10000
CHILDREN = 4
BOUND_S = 5.0       # what an honest client waits at most while others misbehave; mostly milliseconds
HARD_CODES = (320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541)
LOGIN = (HEADER_091
         + method_frame(0, "connection.start-ok", mechanism="PLAIN", response="\0guest\0guest", locale="en_US")
         + method_frame(0, "connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)
         + method_frame(0, "connection.open", vhost="/"))
OPEN_OK = struct.pack(">HH", 10, 41)


def note(text, *values):
    print("#     " + text % values, flush=True)


class Case(unittest.TestCase):
    kept_bytes = 2 << 20    # pools keep what they grew to, for the next

    def setUp(self):
        if self.broker.external:
            self.skipTest("needs a broker of its own")
        self.sockets = []
        self.begun = self.rest(None)

    def tearDown(self):
        for one in self.sockets:
            one.close()
        self.honest()
        self.rest(self.begun)
        self.assertTrue(self.broker.running())

    def counters(self):
        return json.loads(self.broker.ctl("--formatter", "json", "status").stdout)["counters"]

    def rest(self, begun):
        """Until no connection is left, and memory is what it was (caches may keep some)."""
        until = time.monotonic() + 60
        while True:
            now = self.counters()
            idle = now["connections_opened"] == now["connections_closed"]
            if idle and (begun is None or now["memory_used_bytes"] <= begun["memory_used_bytes"] + self.kept_bytes):
                return now
            self.assertLess(time.monotonic(), until, "not at rest: %r, before %r" % (now, begun))
            time.sleep(0.02)

    def dial(self):
        one = socket.create_connection((self.broker.host, self.broker.port), timeout=20)
        self.sockets.append(one)
        return one

    def raw(self, **options):
        connection = Raw(self.broker.host, self.broker.port)
        self.sockets.append(connection.sock)
        return connection.handshake(**options)

    def honest(self):
        """A client with nothing but its own business; the seconds it took, which are bounded."""
        with Stalls() as stalls:
            began = time.monotonic()
            connection = Raw(self.broker.host, self.broker.port).handshake()
            channel = connection.channel()
            queue = channel.call("queue.declare", exclusive=True).queue
            channel.call("confirm.select")
            channel.publish(b"honest", routing_key=queue)
            channel.confirmed()
            self.assertEqual(channel.call("basic.get", queue=queue, no_ack=True).body, b"honest")
            connection.close()
            took = time.monotonic() - began
        self.assertLess(took, BOUND_S + stalls.seconds)
        return took

    def ends(self, connection):
        """Read to the end; the codes of connection.close on the way, which is answered."""
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


class Headers(Case):
    def answer(self, header):
        one = self.dial()
        one.sendall(header)
        data = b""
        while True:
            try:
                piece = one.recv(4096)
            except ConnectionResetError:
                return data
            if not piece:
                return data
            data += piece

    def test_other_protocols_get_one_header_and_the_end(self):
        """C10, C11: eight bytes, and nothing after them."""
        for header in (b"AMQP\x00\x00\x09\x02", b"AMQP\x00\x00\x0a\x00", b"AMQP\x01\x01\x08\x00",
                       b"AMQP\x00\x00\x08\x00", b"AMQP\x02\x01\x00\x00", b"AMQP\xff\xff\xff\xff",
                       b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                       b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 64, b"MQTT\x04\x02\x00\x3c", b"CONNECT\naccept:1\n"):
            said = self.answer(header)
            self.assertEqual((len(said), said[:4]), (8, b"AMQP"), header)

    def test_headers_that_never_come_whole_end_with_the_handshake_timeout(self):
        for piece in (b"", b"A", b"AMQP\x00\x00\x09"):
            began = time.monotonic()
            with Stalls() as stalls:
                self.assertEqual(self.answer(piece), b"")
            self.assertLess(time.monotonic() - began, HANDSHAKE_TIMEOUT_MS / 1000 + 5 + stalls.seconds)


class Frames(Case):
    def sent(self, data, over=False):
        """A connection that said this; and that nothing more comes, if it is over."""
        connection = self.raw()
        connection.channel()
        try:
            connection.write(data)
            if over:
                connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return connection

    def refused(self, data):
        return self.ends(self.sent(data))

    def test_every_class_and_method_number_that_is_none(self):
        """C8: 503, and nothing but this connection is lost."""
        for ids in ((0, 0), (10, 99), (20, 99), (50, 1), (60, 255), (70, 10), (65535, 65535)):
            self.assertEqual(self.refused(frame(METHOD, 1, struct.pack(">HH", *ids))), [503], ids)

    def test_frames_larger_than_agreed(self):
        """C32: the length alone is enough, the bytes need not come."""
        all_sent = [self.sent(struct.pack(">BHI", kind, 1, size) + b"x" * 64)
                    for kind in (METHOD, HEADER, BODY, 8, 200) for size in (131073, 1 << 24, 0xFFFFFFFF)]
        for connection in all_sent:     # each is closed 3 s after its fault (C31)
            self.assertEqual(self.ends(connection), [501])

    def test_frames_with_a_wrong_end_or_an_unknown_kind(self):
        all_sent = [self.sent(data) for data in (
            frame(METHOD, 1, b"\0\x14\0\x28", b"\0"), frame(7, 1, b""), frame(0, 0, b"x" * 100),
            frame(METHOD, 1, b"\0"), frame(8, 0, b"beat"))]
        for connection in all_sent:
            self.assertEqual(self.ends(connection), [501])

    def test_content_out_of_turn(self):
        """C33 to C36."""
        publish = method_frame(1, "basic.publish", routing_key="x")
        for data in (frame(BODY, 1, b"x"), frame(HEADER, 1, encode_header(1)), publish + publish,
                     publish + frame(BODY, 1, b"x"), publish + frame(HEADER, 1, encode_header(1)) + publish,
                     publish + frame(HEADER, 1, encode_header(1)) + frame(BODY, 1, b"xx"),
                     publish + frame(HEADER, 1, encode_header(1, class_id=61))):
            self.assertEqual(self.refused(data), [505], data)

    def test_tables_that_lie_and_tables_without_end(self):
        """Every length field of a table, in every place where a table may be, says too much."""
        table = encode_table({"a": {"b": [1, {"c": "text"}]}, "d": b"x".decode(), "e": [[["deep"]]]})
        places = {
            "queue.declare": struct.pack(">HHH", 50, 10, 0) + b"\x01q\x08",
            "exchange.declare": struct.pack(">HHH", 40, 10, 0) + b"\x01x\x06direct\x00",
            "queue.bind": struct.pack(">HHH", 50, 20, 0) + b"\x01q\x01x\x00\x00",
            "basic.consume": struct.pack(">HHH", 60, 20, 0) + b"\x01q\x00\x00",
        }
        for before in places.values():
            lies = [table[:at] + struct.pack(">I", 0xFFFFFFF0) + table[at + 4:]
                    for at in range(0, len(table) - 4, 3)]
            for connection in [self.sent(frame(METHOD, 1, before + lie), True) for lie in lies]:
                for code in self.ends(connection):
                    self.assertIn(code, HARD_CODES)

    def test_tables_nested_as_deep_as_a_frame_allows(self):
        for inner, outer in ((b"F", b"\x01a"), (b"A", b"")):
            table = b""
            while len(table) < 131000 - 100:
                table = outer + inner + struct.pack(">I", len(table)) + table
                if inner == b"A" and len(table) >= 131000 - 200:
                    table = b"\x01a" + table
                    break
            payload = struct.pack(">HHH", 50, 10, 0) + b"\0\x04" + struct.pack(">I", len(table)) + table
            connection = self.raw()
            connection.channel()
            try:
                connection.write(frame(METHOD, 1, payload))
                connection.next(1)
            except (Closed, EndOfStream, OSError):
                pass

    def test_noise_after_a_login(self):
        source = random.Random(7)
        all_sent = []
        for _ in range(60):
            kind = source.choice((METHOD, HEADER, BODY, 8, source.randrange(256)))
            size = source.choice((0, 3, 4, 11, 100, 4000, 131000))
            all_sent.append(self.sent(frame(kind, source.choice((0, 1, 2, 65535)), source.randbytes(size)), True))
        for connection in all_sent:
            for code in self.ends(connection):
                self.assertIn(code, HARD_CODES)


class Channels(Case):
    kept_bytes = 128 << 20

    def test_65535_channels(self):
        connection = self.raw(channel_max=65535)
        before = self.counters()["memory_used_bytes"]
        numbers = range(1, 65536)
        for start in range(0, len(numbers), 4096):
            some = numbers[start:start + 4096]
            connection.write(b"".join(method_frame(number, "channel.open") for number in some))
            for number in some:
                self.assertEqual(connection.next(number).name, "channel.open-ok")
        note("65535 channels: %.0f bytes each", (self.counters()["memory_used_bytes"] - before) / 65535)
        connection.send(65535, "queue.declare", exclusive=True)
        queue = connection.next(65535).queue
        connection.write(publish_frames(1, b"first to last", routing_key=queue))
        # Another channel's publish comes before this get on the same connection, not on the same channel.
        connection.send(1, "queue.declare", queue=queue, passive=True)
        self.assertEqual(connection.next(1).message_count, 1)
        connection.send(65535, "basic.get", queue=queue, no_ack=True)
        self.assertEqual(connection.next(65535).body, b"first to last")
        self.honest()


class Silence(Case):
    def closed_by(self, sockets, seconds):
        """All of them are closed by the broker in that time."""
        left, until = set(sockets), time.monotonic() + seconds
        poller = select.poll()
        by_number = {one.fileno(): one for one in sockets}
        for one in sockets:
            poller.register(one, select.POLLIN)
        while left:
            self.assertLess(time.monotonic(), until, "%d are still open" % len(left))
            for number, _ in poller.poll(1000):
                one = by_number[number]
                try:
                    data = one.recv(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    poller.unregister(one)
                    left.discard(one)

    def test_logins_that_never_finish(self):
        """C17: at each of their steps, 400 of them; meanwhile others log in."""
        steps = [b"", HEADER_091, HEADER_091 + frame(METHOD, 0, b"\0\x0a\0\x0b")[:9],
                 LOGIN[:LOGIN.index(b"\0\x0a\0\x1f") - 7]]
        for number in range(400):
            one = self.dial()
            one.sendall(steps[number % len(steps)])
        longest = max(self.honest() for _ in range(5))
        note("beside 400 logins that do not finish: %.1f ms at most", longest * 1000)
        self.closed_by(self.sockets, HANDSHAKE_TIMEOUT_MS / 1000 + 30)

    def test_logins_that_come_byte_by_byte(self):
        """Bytes that trickle in do not prolong the time for a login."""
        for _ in range(50):
            self.dial()
        began, at = time.monotonic(), 0
        while time.monotonic() < began + HANDSHAKE_TIMEOUT_MS / 1000 + 30:
            open_ones = []
            for one in self.sockets:
                try:
                    one.sendall(LOGIN[at:at + 1])
                    if select.select([one], [], [], 0)[0] and not one.recv(65536):
                        continue
                    open_ones.append(one)
                except ConnectionError:
                    continue
            self.sockets = open_ones
            if not open_ones:
                return
            at = min(at + 1, len(HEADER_091) + 20)     # never whole
            time.sleep(0.05)
        self.fail("%d are still open" % len(self.sockets))


def hold(address, count, pipe):
    """A child process: log in `count` times, say so, keep them until told to end."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    sockets, waiting, poller = [], {}, select.poll()
    while len(sockets) < count or waiting:
        while len(sockets) < count and len(waiting) < 50:
            one = socket.create_connection(address, timeout=60)
            one.sendall(LOGIN)
            sockets.append(one)
            waiting[one.fileno()] = [one, b""]
            poller.register(one, select.POLLIN)
        for number, _ in poller.poll(60000):
            one, data = waiting[number]
            piece = one.recv(65536)
            if not piece:
                raise RuntimeError("a login was closed")
            data += piece
            waiting[number][1] = data
            if OPEN_OK in data:
                poller.unregister(one)
                del waiting[number]
    pipe.send(len(sockets))
    pipe.recv()
    for number, one in enumerate(sockets):
        if number % 2:
            one.sendall(method_frame(0, "connection.close", code=200))
        one.close()
    pipe.send("closed")


class Crowd(Case):
    kept_bytes = 16 << 20

    def test_ten_thousand_connections_at_once(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if limit < CONNECTIONS + 1000:
            self.skipTest("no more than %d files may be open" % limit)
        context, children = multiprocessing.get_context("fork"), []
        before, began = self.counters(), time.monotonic()
        pid = self.broker.child("lepus-dataplane")
        resident = self.resident(pid)
        for _ in range(CHILDREN):
            ours, theirs = context.Pipe()
            child = context.Process(target=hold, args=((self.broker.host, self.broker.port),
                                                       CONNECTIONS // CHILDREN, theirs))
            child.start()
            children.append((child, ours))
        try:
            for _child, pipe in children:
                self.assertTrue(pipe.poll(240), "the logins take too long")
                self.assertEqual(pipe.recv(), CONNECTIONS // CHILDREN)
            took = time.monotonic() - began
            now = self.counters()
            self.assertEqual(now["connections_opened"] - now["connections_closed"], CONNECTIONS)
            rows = json.loads(self.broker.ctl("--formatter", "json", "list_connections", "pid", "state").stdout)
            self.assertEqual([row["state"] for row in rows], ["running"] * CONNECTIONS)
            longest = max(self.honest() for _ in range(5))
            note("%d connections in %.1f s; each %.0f bytes of the shards' memory, %.0f resident; beside them "
                 "%.1f ms at most", CONNECTIONS, took,
                 (now["memory_used_bytes"] - before["memory_used_bytes"]) / CONNECTIONS,
                 (self.resident(pid) - resident) / CONNECTIONS, longest * 1000)
            for _child, pipe in children:
                pipe.send("end")
            for _child, pipe in children:
                self.assertTrue(pipe.poll(60))
        finally:
            for child, _pipe in children:
                child.kill()
                child.join()

    def resident(self, pid):
        with open("/proc/%d/statm" % pid) as file:
            return int(file.read().split()[1]) * resource.getpagesize()


class Deaf(Case):
    """Peers that send and never read."""

    def fill(self, one, data):
        """Write until the broker stops reading; the bytes it took."""
        one.setblocking(False)
        sent, quiet, rest = 0, 0, data
        while quiet < 3:
            try:
                count = one.send(rest)
                sent, quiet, rest = sent + count, 0, rest[count:] or data
            except BlockingIOError:
                quiet += not select.select([], [one], [], 0.3)[1]
            except ConnectionError:
                break
            if sent > 64 << 20:
                break       # what it answers is too little to hold it up
        return sent

    def deaf(self, prepare, data, count=4):
        before = self.counters()["memory_used_bytes"]
        sent = 0
        for _ in range(count):
            connection = self.raw()
            prepare(connection.channel())
            sent += self.fill(connection.sock, data)
        held = self.counters()["memory_used_bytes"] - before
        longest = max(self.honest() for _ in range(5))
        note("%d deaf peers sent %.1f MB: %.2f MiB of memory each; beside them %.1f ms at most", count,
             sent / 1e6, held / count / (1 << 20), longest * 1000)
        self.assertLess(held / count, 8 << 20)

    def test_publishers_that_never_read_their_returns(self):
        self.deaf(lambda channel: None,
                  publish_frames(1, b"x" * 1000, routing_key="nobody", mandatory=True) * 50)

    def test_publishers_that_never_read_their_confirms(self):
        def prepare(channel):
            channel.call("confirm.select")
        self.deaf(prepare, publish_frames(1, b"x", routing_key="nobody") * 100)

    def test_askers_that_never_read_their_answers(self):
        self.deaf(lambda channel: None, method_frame(1, "basic.qos", prefetch_count=1) * 200)

    def test_consumers_that_never_read(self):
        source = self.raw()
        channel = source.channel()
        queue = channel.call("queue.declare", queue="hostile.deaf").queue
        channel.call("confirm.select")
        for _ in range(200):
            channel.publish(b"x" * 50000, routing_key=queue)
        channel.confirmed(200)
        for _ in range(10):
            one = self.raw()
            one.channel().send("basic.consume", queue=queue, nowait=True)
        longest = max(self.honest() for _ in range(5))
        note("beside 10 consumers that do not read: %.1f ms at most", longest * 1000)
        for one in self.sockets[1:]:
            one.close()
        until = time.monotonic() + 30
        while channel.call("queue.declare", queue=queue, passive=True).message_count != 200:
            self.assertLess(time.monotonic(), until)
        channel.call("queue.delete", queue=queue)


if __name__ == "__main__":
    HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_LIMIT, HARD_LIMIT))    # the broker's, too
    sys.exit(suite.main([sys.modules["__main__"]], settings=[
        "channel_max=65535", "handshake_timeout=%d" % HANDSHAKE_TIMEOUT_MS]))
