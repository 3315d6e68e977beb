# SPDX-License-Identifier: Apache-2.0
"""amqp_flow - many connections at full rate in one thread.

A Peer is an open connection with one role on each of its channels: a Publisher,
whose messages carry its number and theirs, or a Consumer, which checks that they
come in order and only once. `loop()` moves bytes until a condition holds.
"""
import collections
import select
import struct
import time

import amqp_raw
from amqp_raw import BODY, HEADER, HEARTBEAT, Timeout, method_frame, publish_frames

OUTPUT_BYTES = 256 * 1024    # more is not prepared before this is sent
ACK, NACK, DELIVER = (60, 80), (60, 120), (60, 60)


class Peer:
    def __init__(self, raw):
        """`raw` is open and nothing is expected on it."""
        self.raw, self.sock = raw, raw.sock
        self.roles = {}
        self.input, self.output = bytearray(raw.input), bytearray()
        self.reading = True
        self.ended = False
        self.sent_bytes = self.received_bytes = 0
        self.events = []                # methods that no role asked for
        self.content = {}               # channel -> [tag, redelivered, left, pieces]
        self.sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def add(self, channel, role):
        self.roles[channel] = role
        role.peer, role.channel = self, channel
        role.begin()
        return role

    def wants_write(self):
        if not self.ended and len(self.output) < OUTPUT_BYTES:
            for role in self.roles.values():
                role.feed()
        return bool(self.output) and not self.ended

    def write(self):
        try:
            count = self.sock.send(self.output)
        except BlockingIOError:
            return
        except OSError:
            self.ended = True
            return
        self.sent_bytes += count
        del self.output[:count]

    def read(self):
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return
        self.received_bytes += len(data)
        self.input += data
        self.parse()

    def close(self):
        """connection.close and its answer: what was sent before has been taken in."""
        self.output += method_frame(0, "connection.close", code=200)
        loop([self], lambda: self.answered("connection.close-ok"))
        self.sock.close()

    def answered(self, name):
        return any(event.name == name for event in self.events)

    def parse(self):
        at, data = 0, self.input
        while len(data) - at >= 7:
            kind, channel, size = struct.unpack_from(">BHI", data, at)
            if len(data) - at < size + 8:
                break
            assert data[at + 7 + size] == 0xCE, "frame without its end"
            self.frame(kind, channel, memoryview(data)[at + 7:at + 7 + size])
            at += size + 8
        del data[:at]

    def frame(self, kind, channel, payload):
        if kind == BODY:
            content = self.content[channel]
            content[2] -= len(payload)
            content[3].append(bytes(payload))
        elif kind == HEADER:
            self.content[channel][2] = struct.unpack_from(">Q", payload, 4)[0]
        elif kind == HEARTBEAT:
            return
        else:
            self.method(channel, payload)
            return
        if self.content[channel][2] == 0:
            tag, redelivered, _, pieces = self.content.pop(channel)
            self.roles[channel].delivered(tag, redelivered, b"".join(pieces))

    def method(self, channel, payload):
        ids = struct.unpack_from(">HH", payload)
        if ids == ACK:
            self.roles[channel].acked(*struct.unpack_from(">QB", payload, 4))
        elif ids == DELIVER:
            tag, redelivered = struct.unpack_from(">QB", payload, 5 + payload[4])
            self.content[channel] = [tag, redelivered, None, []]
        else:
            name, arguments = amqp_raw.decode_method(bytes(payload))
            self.events.append(amqp_raw.Event(channel, name, arguments))


class Publisher:
    """`total` confirmed messages of `size` bytes; at most `window` unconfirmed."""

    def __init__(self, number, total, size=8, window=None, **where):
        self.number, self.total, self.size, self.window = number, total, size, window
        self.where = where
        self.made = self.confirmed = 0
        self.waiting = collections.OrderedDict()

    def begin(self):
        self.peer.output += method_frame(self.channel, "confirm.select", nowait=True)
        filler = b"." * (self.size - 8)
        whole = publish_frames(self.channel, b"<NUMBER>" + filler, {"delivery_mode": 1},
                               self.peer.raw.frame_max - 8, **self.where)
        at = whole.index(b"<NUMBER>")
        self.before, self.after = whole[:at], whole[at + 8:]

    def feed(self):
        output = self.peer.output
        while len(output) < OUTPUT_BYTES and self.made < self.total and \
                (self.window is None or len(self.waiting) < self.window):
            output += self.before
            output += struct.pack(">II", self.number, self.made)
            output += self.after
            self.made += 1
            self.waiting[self.made] = True

    def acked(self, tag, multiple):
        tags = [tag]
        if multiple:
            tags = []
            for waiting in self.waiting:
                if waiting > tag:
                    break
                tags.append(waiting)
        for one in tags:
            del self.waiting[one]       # a KeyError is a confirm that nobody waits for
        self.confirmed += len(tags)

    def done(self):
        return self.confirmed == self.total


class Consumer:
    """Acks each `ack_every` messages; 0: never; None: consumes without acks.

    With `gaps` other consumers take some of the messages."""

    def __init__(self, queue, prefetch=0, ack_every=1, gaps=False):
        self.queue, self.prefetch, self.ack_every, self.gaps = queue, prefetch, ack_every, gaps
        self.count = self.bytes = self.again = self.unacked = 0
        # publisher -> number that must come; None: whatever comes is the first
        self.next = collections.defaultdict(int)

    def begin(self):
        if self.prefetch:
            self.peer.output += method_frame(self.channel, "basic.qos",
                                             prefetch_count=self.prefetch)
        self.peer.output += method_frame(self.channel, "basic.consume", queue=self.queue,
                                         no_ack=self.ack_every is None, nowait=True)

    def feed(self):
        pass

    def delivered(self, tag, redelivered, body):
        number, place = struct.unpack_from(">II", body)
        wanted = self.next[number]
        if wanted is not None and (place < wanted if self.gaps else place != wanted):
            raise AssertionError("message %d of publisher %d came instead of %d"
                                 % (place, number, wanted))
        self.next[number] = place + 1
        self.count += 1
        self.again += redelivered
        self.bytes += len(body)
        self.unacked += 1
        if self.ack_every and self.unacked >= self.ack_every:
            self.peer.output += method_frame(self.channel, "basic.ack", delivery_tag=tag,
                                             multiple=self.ack_every > 1)
            self.unacked = 0


def step(peers, seconds):
    """Wait for one of the sockets; how many bytes moved."""
    readers = [peer for peer in peers if peer.reading and not peer.ended]
    writers = [peer for peer in peers if peer.wants_write()]
    before = sum(peer.sent_bytes + peer.received_bytes for peer in peers)
    readable, writable, _ = select.select(readers, writers, [], seconds)
    for peer in readable:
        peer.read()
    for peer in writable:
        peer.write()
    return sum(peer.sent_bytes + peer.received_bytes for peer in peers) - before


def loop(peers, done, seconds=60.0):
    """Move bytes until done(); the seconds that it took."""
    began = time.monotonic()
    while not done():
        left = began + seconds - time.monotonic()
        if left <= 0:
            raise Timeout("not done after %d s" % seconds)
        step(peers, min(left, 1.0))
        gone = [peer for peer in peers if peer.ended]
        if gone:
            raise amqp_raw.EndOfStream("the server closed a socket: %r" % gone[0].events)
    return time.monotonic() - began


def until_stuck(peers, quiet_s, seconds=60.0):
    """Move bytes until none has moved for `quiet_s`; True: somebody still wants to write."""
    until = time.monotonic() + seconds
    while step(peers, quiet_s):
        if time.monotonic() > until:
            raise Timeout("still moving after %d s" % seconds)
    return any(peer.wants_write() for peer in peers)
