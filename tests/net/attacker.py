# SPDX-License-Identifier: Apache-2.0
"""attacker - whoever has a socket for raw frames on the broker's wire, and means it.

Sends what it likes from addresses that nobody has, behind the gateway (which is the kernel's end of the tap, and drops
the answers); hears the answers; plays as much of TCP as it needs to get in.
"""
import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import amqp_raw
import packets
from packets import ACK, FIN, PSH, RST, SYN

WAIT_S = 30.0
NET4, NET6 = bytes([172, 16]), bytes.fromhex("fdba0000")
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SIOCGIFHWADDR = 0x8927
# Frames for 172.16.0.0/16 or fdba::/32: offset of the type, then of a target's address.
FILTER = [(0x28, 0, 0, 12), (0x15, 0, 3, 0x0800), (0x28, 0, 0, 30), (0x15, 4, 0, 0xac10), (0x06, 0, 0, 0),
          (0x15, 0, 3, 0x86dd), (0x20, 0, 0, 38), (0x15, 0, 1, 0xfdba0000), (0x06, 0, 0, 0xffff), (0x06, 0, 0, 0)]


def filtered(name):
    """A socket that hears what comes for addresses of the attacker's."""
    hears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in FILTER))
    hears.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(FILTER), ctypes.addressof(code)))
    hears.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    hears.bind((name, 3))
    return hears


class Attacker:
    def __init__(self, tap, seed=6):
        self.random = random.Random(seed)
        self.tap = tap
        self.says = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.says.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        self.says.bind((tap.name, 0))
        self.hears = filtered(tap.name)
        self.ours, self.ours6 = packets.address(tap.subnet.ours), packets.address(tap.subnet.ours6)
        self.kernel, self.kernel6 = packets.address(tap.subnet.kernel), packets.address(tap.subnet.kernel6)
        self.my_mac = fcntl.ioctl(self.says, SIOCGIFHWADDR, tap.name.encode().ljust(40, b"\0"))[18:24]
        self.mac = self.mac_of(tap.subnet.ours)
        self.peers = {}
        self.sent = 0
        self.kept = None

    def close(self):
        """Peers that are silent to the end would make a broker that says goodbye wait for them."""
        self.drain()
        for one in self.peers.values():
            if one.theirs is not None and not one.ended:
                one.send(RST, seq=one.taken)
        self.says.close()
        self.hears.close()

    @staticmethod
    def mac_of(text):
        for line in open("/proc/net/arp").read().split("\n")[1:]:
            words = line.split()
            if words[:1] == [text] and words[2] != "0x0":
                return packets.mac(words[3])
        raise AssertionError("nobody has spoken to %s yet" % text)

    # addresses

    def target(self, six=False):
        return self.ours6 if six else self.ours

    def stranger(self, six=False):
        """An address that nobody has, behind the gateway."""
        return NET6 + self.random.randbytes(12) if six else NET4 + self.random.randbytes(2)

    # frames

    def prepared(self, attack):
        """`attack` with its frames made beforehand: they come as fast as they can be sent, not as they can be made."""
        self.kept = []
        attack()
        frames, self.kept = self.kept, None
        return lambda: [self.frame(data) for data in frames]

    def frame(self, data):
        """Raw; what does not fit into the tap's queue waits for it."""
        if self.kept is not None:
            self.kept.append(data)
            return
        self.sent += 1
        until = time.monotonic() + WAIT_S
        while True:
            try:
                self.says.send(data)
                return
            except OSError:  # ENOBUFS
                assert time.monotonic() < until, "nobody takes frames from the tap"
                select.select([], [self.says], [], 0.001)

    def packet(self, data, kind=None):
        kind = kind or (packets.IPV4 if data[0] >> 4 == 4 else packets.IPV6)
        self.frame(packets.ethernet(self.mac, self.my_mac, kind, data))

    def tcp(self, source, ports, flags, **how):
        self.packet(packets.tcp(source, self.target(len(source) == 16), ports, flags, **how))

    # connections

    def peer(self, port, six=False, **how):
        one = Peer(self, self.stranger(six), port, **how)
        self.peers[(one.source, one.port)] = one
        return one

    def listen(self, until, done):
        """Give what comes to whom it concerns until `done()`; what a full tap lost is said again."""
        again = time.monotonic() + 1
        while not done():
            if time.monotonic() >= again:
                again = time.monotonic() + 1
                for one in self.peers.values():
                    one.again()
            left = until - time.monotonic()
            assert left > 0, "the broker does not answer"
            if select.select([self.hears], [], [], min(left, 0.2))[0]:
                segment = packets.Segment.parse(self.hears.recv(70000))
                peer = segment and self.peers.get((segment.target, segment.to_port))
                if peer:
                    peer.heard(segment)

    def drain(self):
        while select.select([self.hears], [], [], 0)[0]:
            segment = packets.Segment.parse(self.hears.recv(70000))
            peer = segment and self.peers.get((segment.target, segment.to_port))
            if peer:
                peer.heard(segment)

    def connect(self, peers):
        """SYNs until each is in, or refused; what is lost is sent again."""
        until, again = time.monotonic() + WAIT_S, 0

        def done():
            nonlocal again
            missing = [one for one in peers if one.theirs is None and not one.ended]
            if missing and time.monotonic() >= again:
                again = time.monotonic() + 1
                for one in missing:
                    one.syn()
            return not missing
        self.listen(until, done)


class Peer:
    """One connection of the attacker's: it acknowledges what comes, unless it is told not to."""

    def __init__(self, attacker, source, port, window=65535, options=packets.mss(1460), stamps=False):
        self.attacker, self.source, self.remote = attacker, source, port
        self.port = attacker.random.randrange(1024, 65536)
        self.window, self.options, self.stamps = window, options, stamps
        self.next = self.first = attacker.random.getrandbits(32)
        self.taken = None       # what the broker wants next
        self.theirs = self.their_first = None
        self.ended, self.finished = False, False
        self.silent = False
        self.input = bytearray()
        self.segments = []      # (relative number, bytes) of each with data
        self.kept = []          # (number, bytes) that write() said and nobody has acknowledged
        self.clock, self.echo = 1000, 0

    def ports(self):
        return self.port, self.remote

    def send(self, flags=ACK, data=b"", seq=None, ack=None, window=None, options=b""):
        if self.stamps and not options:
            self.clock += 1
            options = packets.timestamps(self.clock, self.echo)
        self.attacker.tcp(self.source, self.ports(), flags, seq=self.next if seq is None else seq,
                          ack=(self.theirs or 0) if ack is None else ack, data=data,
                          window=self.window if window is None else window, options=options)

    def syn(self):
        self.send(SYN, ack=0, options=self.options)

    def write(self, data, piece=1400):
        for at in range(0, len(data), piece):
            self.kept.append((self.next, data[at:at + piece]))
            self.send(ACK | PSH, data[at:at + piece])
            self.next += len(data[at:at + piece])

    def again(self):
        """A segment or two at once would do, but those who do not behave do not care."""
        if not self.ended:
            for seq, data in self.kept[:64]:
                self.send(ACK | PSH, data, seq=seq)

    def heard(self, segment):
        if segment.flags & RST:
            self.ended = True
            return
        self.taken = segment.ack
        if segment.flags & SYN:
            if self.theirs is None:
                self.theirs = self.their_first = segment.seq + 1 & 0xffffffff
                self.next += 1
            self.echo = segment.timestamp() or 0
            self.send()
            return
        self.echo = segment.timestamp() or self.echo
        while self.kept and (segment.ack - self.kept[0][0] - len(self.kept[0][1])) & 0x80000000 == 0:
            self.kept.pop(0)
        if segment.data:
            self.segments.append(((segment.seq - (self.their_first or 0)) & 0xffffffff, len(segment.data)))
        length = len(segment.data) + (segment.flags & FIN)
        if length and segment.seq == self.theirs:
            self.theirs = self.theirs + length & 0xffffffff
            self.input += segment.data
            self.finished |= bool(segment.flags & FIN)
        if length and not self.silent:
            self.send()


def opening(consume=None):
    """AMQP's first bytes up to an open channel, and a consumer of two of a queue's messages, all at once."""
    method = amqp_raw.method_frame
    said = [amqp_raw.HEADER_091,
            method(0, "connection.start-ok", mechanism="PLAIN", response="\0guest\0guest", locale="en_US",
                   properties={"product": "attacker"}),
            method(0, "connection.tune-ok", heartbeat=0, frame_max=131072, channel_max=2047),
            method(0, "connection.open", vhost="/"), method(1, "channel.open")]
    if consume:
        said += [method(1, "basic.qos", prefetch_count=2), method(1, "basic.consume", queue=consume)]
    return b"".join(said)
