#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/fuzz/seeds_net.py: writes the corpus of fuzz_net_frame.

Stories of a peer with the two connections that are there (ports 1001 over IPv4, 1002 over IPv6), one a file. Files
that fuzzing found (regress-*) are left alone.
"""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
OUR_MAC, PEER_MAC, ALL = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\xff" * 6
OUR4, PEER4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
OUR6, PEER6 = b"\xfd" + b"\0" * 14 + b"\1", b"\xfd" + b"\0" * 14 + b"\2"
FILL, TSO, VLAN, TWO, WAIT, COOKIES, NEWRENO, STRANGER = (1 << bit for bit in range(8))
IP, L4, RELATIVE, GOOD, JOINED, SECOND, KERNEL = (1 << bit for bit in range(7))
FIX = IP | L4 | RELATIVE
FIN, SYN, RST, PSH, ACK, URG = (1 << bit for bit in range(6))
FRAME, TIME, SEND, STOP, START, CLOSE, CONNECT, DRY = range(8)


def frame(data, flags=FIX):
    return struct.pack("<BBH", FRAME, flags, len(data)) + data


def do(step, how=0):
    return bytes([step, how])


def link(kind, to=OUR_MAC, tag=b""):
    return to + PEER_MAC + tag + struct.pack(">H", kind)


def ip4(protocol, body, options=b"", fragment=0):
    return link(0x0800) + struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 0, 0, fragment, 64, protocol,
                                      0) + PEER4 + OUR4 + options + body


def ip6(following, body, to=OUR6, hops=64, mac=OUR_MAC):
    return link(0x86dd, mac) + struct.pack(">IHBB", 0x60000000, len(body), following, hops) + PEER6 + to + body


def tcp(flags, seq=0, ack=0, data=b"", options=b"", window=65535, ports=(1001, 5672), urgent=0):
    options += b"\1" * (-len(options) % 4)
    return struct.pack(">HHIIBBHHH", *ports, seq & 0xffffffff, ack & 0xffffffff, (5 + len(options) // 4) << 4, flags,
                       window, 0, urgent) + options + data


def segment(*args, flags=FIX, **kwargs):
    return frame(ip4(6, tcp(*args, **kwargs)), flags)


def segment6(*args, **kwargs):
    return frame(ip6(6, tcp(*args, ports=(1002, 5672), **kwargs)))


def arp(op, sender, target):
    return frame(link(0x0806, ALL) + struct.pack(">HHBBH", 1, 0x0800, 6, 4, op) + PEER_MAC + sender + b"\0" * 6 + target, 0)


def ndp(kind, target, flags=0, option=1, to=OUR6):
    body = struct.pack(">BBHI", kind, 0, 0, flags) + target + bytes([option, 1]) + PEER_MAC
    return frame(ip6(58, body, to, 255), L4)


def icmp(kind, code, word, quoted=b"", six=False):
    body = struct.pack(">BBHI", kind, code, 0, word) + quoted
    return frame(ip6(58, body) if six else ip4(1, body), IP | L4)


def quote4(seq):
    return struct.pack(">BBHHHBBH", 0x45, 0, 1500, 0, 0x4000, 64, 6, 0) + OUR4 + PEER4 + struct.pack(">HHI", 5672, 1001, seq)


def sack(*blocks):
    return bytes([1, 1, 5, 2 + 8 * len(blocks)]) + b"".join(struct.pack(">ii", *block) for block in blocks)


SYN_OPTIONS = struct.pack(">BBHBBBBIIBBB", 2, 4, 1460, 4, 2, 8, 10, 7, 0, 3, 3, 7) + b"\1"
STORIES = {
    "data": [segment(ACK | PSH, data=b"AMQP\0\0\x09\1"), segment6(ACK, data=b"x" * 1400), do(TIME, 2)],
    "out_of_order": [segment(ACK, 100, data=b"c" * 50), segment(ACK, 50, data=b"b" * 80), segment(ACK, 0, data=b"a" * 60),
                     do(TIME, 5)],
    "send_and_loss": [do(SEND, 200), segment(ACK, 0, -10000), segment(ACK, 0, -10000, options=sack((-5000, -3000))),
                      segment(ACK, 0, -10000, options=sack((-5000, -3000), (-1000, 0))), do(TIME, 20),
                      segment(ACK), do(SEND, 255), do(TIME, 160)],
    "closing": [segment(FIN | ACK), do(TIME, 3), do(CLOSE), segment(ACK, 1), do(TIME, 140)],
    "we_close": [do(CLOSE), segment6(ACK), segment6(FIN | ACK), do(TIME, 10), segment6(SYN, 70000)],
    "reset": [segment(RST, 0), segment6(RST, 10), segment6(RST, 0)],
    "blind": [segment(RST, 1000), segment(SYN, 5), segment(ACK, 0, 100000), segment(ACK, -5, data=b"old"), segment(ACK, 1 << 30)],
    "handshakes": [frame(ip4(6, tcp(SYN, ports=(1004, 5672), options=SYN_OPTIONS))), segment(ACK, ports=(1004, 5672)),
                   segment(SYN, ports=(1005, 80)), segment(SYN | FIN, ports=(1006, 5672)), segment(ACK, ports=(1007, 5672))],
    "connect": [do(CONNECT, 8), segment(SYN | ACK, 0, 0, ports=(1008, 49152)), do(TIME, 60), do(CONNECT, 9), do(TIME, 255)],
    "back_pressure": [do(STOP)] + [segment6(ACK, data=b"q" * 1400) for _ in range(6)] + [do(START), do(TIME, 4)],
    "urgent_and_window": [segment(ACK | URG, data=b"urgent", urgent=3), segment(ACK, 6, window=0), do(SEND, 9), do(TIME, 31),
                          segment(ACK, 6, window=10)],
    "arp": [arp(1, PEER4, OUR4), arp(2, PEER4, OUR4), arp(1, b"\0" * 4, OUR4), arp(1, OUR4, OUR4), do(TIME, 200)],
    "ndp": [ndp(135, OUR6), ndp(136, PEER6, 0x60000000, 2), ndp(136, PEER6, 0x20000000, 2), ndp(134, PEER6), do(TIME, 200)],
    "icmp": [icmp(8, 0, 7, b"ping"), icmp(128, 0, 7, b"ping", True), do(SEND, 200), icmp(3, 4, 1300, quote4(0)),
             icmp(3, 3, 0, quote4(0)), icmp(2, 0, 1280, OUR6 + PEER6, True), frame(ip4(17, b"udp udp udp"), IP)],
    "fragments": [frame(ip4(6, tcp(ACK), fragment=0x2000)), frame(ip4(6, tcp(ACK), fragment=7)),
                  frame(ip6(44, bytes([6, 0, 0, 1, 0, 0, 0, 1]) + tcp(ACK))), frame(ip6(44, bytes([58, 0, 0, 0, 0, 0, 0, 1]) + b"\x80" * 16))],
    "headers": [frame(ip4(1, b"\x08" + b"\0" * 15, b"\x83\7\4\1\2\3\4\0")), frame(ip4(1, b"\x08" + b"\0" * 15, b"\x94\4\0\0")),
                frame(ip6(0, bytes([60, 0, 5, 2, 0, 0, 1, 0, 43, 0, 1, 4, 0, 0, 0, 0, 6, 0, 4, 0, 0, 0, 0, 0]) +
                          tcp(ACK, ports=(1002, 5672)))), frame(ip6(60, bytes([58, 0, 0x80, 4, 0, 0, 0, 0]) + b"\x80" * 16))],
    "not_ours": [frame(ip4(6, tcp(SYN, ports=(40000, 22))), FIX), frame(ip4(6, tcp(ACK, data=b"z" * 3000, ports=(40000, 22))),
                                                                        FIX | GOOD | JOINED),
                 frame(ip4(17, struct.pack(">HHHH", 5353, 53, 12, 7) + b"data"), IP | GOOD),
                 frame(ip6(17, struct.pack(">HHHH", 5353, 53, 12, 7) + b"data"), IP | GOOD | SECOND),
                 frame(link(0x88cc, b"\1\x80\xc2\0\0\x0e") + b"lldp" * 12, 0), arp(1, PEER4, PEER4), do(DRY),
                 frame(ip4(6, tcp(SYN, ports=(40001, 22))), FIX), do(DRY), icmp(3, 3, 0, quote4(0)),
                 frame(PEER_MAC + OUR_MAC + b"\x08\0" + b"the kernel's" * 9, KERNEL), frame(b"\0" * 1600, KERNEL),
                 frame(b"short", KERNEL), do(TIME, 3)],
    "joined": [segment(ACK, data=b"j" * 3000, flags=FIX | GOOD | JOINED), do(DRY), segment(ACK, 3000, data=b"k" * 9), do(TIME, 9),
               do(DRY), do(TIME, 9)],
}
WORLDS = {"plain": 0, "tso": TSO, "two": TWO, "cookies_newreno": COOKIES | NEWRENO,
          "two_exceptions": TWO | NEWRENO | TSO}


def main():
    folder = os.path.join(HERE, "corpus", "fuzz_net_frame")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if not name.startswith("regress-"):
            os.remove(os.path.join(folder, name))
    for world, flags in WORLDS.items():
        for name, steps in STORIES.items():
            if world not in ("plain", "two_exceptions") and name in ("arp", "ndp", "fragments", "headers"):
                continue
            with open(os.path.join(folder, "%s_%s" % (name, world)), "wb") as file:
                file.write(bytes([flags]) + b"".join(steps))
    with open(os.path.join(folder, "waiting"), "wb") as file:
        file.write(bytes([WAIT | FILL]) + b"".join(STORIES["arp"] + STORIES["ndp"]))


main()
