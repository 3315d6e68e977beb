# SPDX-License-Identifier: Apache-2.0
"""packets - Ethernet, ARP, IPv4, IPv6, ICMP and TCP as bytes, right or deliberately wrong."""
import ipaddress
import struct

FIN, SYN, RST, PSH, ACK, URG = (1 << bit for bit in range(6))
IPV4, ARP, IPV6, VLAN = 0x0800, 0x0806, 0x86dd, 0x8100
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58


def address(text):
    return ipaddress.ip_address(text).packed


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(to, sender, kind, body):
    return to + sender + struct.pack(">H", kind) + body


def ip(source, target, protocol, body, fragment=0, hops=64):
    """Either family, by the length of the addresses; `fragment` is IPv4's field, or IPv6's header."""
    if len(source) == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, hops, protocol, 0) + source + target
        return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body
    if fragment:
        body = struct.pack(">BBHI", protocol, 0, fragment, 77) + body
        protocol = 44
    return struct.pack(">IHBB", 6 << 28, len(body), protocol, hops) + source + target + body


def ip_kind(source):
    return IPV4 if len(source) == 4 else IPV6


def pseudo(source, target, protocol, body):
    return source + target + struct.pack(">HH" if len(source) == 4 else ">II", *(
        (protocol, len(body)) if len(source) == 4 else (len(body), protocol)))


def summed(source, target, protocol, body, at):
    """`body` with the right checksum at `at`, where it has zeros."""
    over = body if protocol == ICMP else pseudo(source, target, protocol, body) + body
    return body[:at] + struct.pack(">H", checksum(over)) + body[at + 2:]


def tcp(source, target, ports, flags, seq=0, ack=0, data=b"", options=b"", window=65535):
    """A packet of IP."""
    options += b"\1" * (-len(options) % 4)
    body = struct.pack(">HHIIBBHHH", *ports, seq & 0xffffffff, ack & 0xffffffff, (5 + len(options) // 4) << 4, flags,
                       window, 0, 0) + options + data
    return ip(source, target, TCP, summed(source, target, TCP, body, 16))


def icmp(source, target, kind, code, word, quoted=b""):
    body = struct.pack(">BBHI", kind, code, 0, word) + quoted
    protocol = ICMP if len(source) == 4 else ICMP6
    return ip(source, target, protocol, summed(source, target, protocol, body, 2), hops=255)


def arp(operation, sender_mac, sender, target_mac, target):
    return struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + sender_mac + sender + target_mac + target


def neighbour(source, target, kind, about, link, flags=0):
    """A solicitation (135) or an advertisement (136) of IPv6."""
    return icmp(source, target, kind, 0, flags, about + bytes([1 if kind == 135 else 2, 1]) + link)


def mss(size):
    return struct.pack(">BBH", 2, 4, size)


def shift(by):
    return bytes([3, 3, by])


SACK_OK = b"\4\2"


def sack(*blocks):
    return bytes([5, 2 + 8 * len(blocks)]) + b"".join(
        struct.pack(">II", start & 0xffffffff, end & 0xffffffff) for start, end in blocks)


def timestamps(value, echo):
    return struct.pack(">BBII", 8, 10, value & 0xffffffff, echo & 0xffffffff)


class Segment:
    """What is in a frame with TCP over IPv4 or IPv6; None of it when it is something else: parse()."""

    def __init__(self, frame, at, ip_bytes):
        self.source = frame[at:at + ip_bytes]
        self.target = frame[at + ip_bytes:at + 2 * ip_bytes]
        at += 2 * ip_bytes
        self.from_port, self.to_port, self.seq, self.ack, offset, self.flags, self.window = struct.unpack_from(
            ">HHIIBBH", frame, at)
        begins = at + (offset >> 4) * 4
        self.options = frame[at + 20:begins]
        self.data = frame[begins:14 + self.whole(frame)]

    @staticmethod
    def whole(frame):
        """Bytes of IP: what is behind them is padding."""
        if frame[12:14] == b"\x08\x00":
            return struct.unpack_from(">H", frame, 16)[0]
        return 40 + struct.unpack_from(">H", frame, 18)[0]

    def timestamp(self):
        at = 0
        while at < len(self.options) and self.options[at] != 0:
            if self.options[at] == 8:
                return struct.unpack_from(">I", self.options, at + 2)[0]
            at += 1 if self.options[at] == 1 else max(self.options[at + 1], 2)
        return None

    @classmethod
    def parse(cls, frame):
        if frame[12:14] == b"\x08\x00" and frame[14] == 0x45 and frame[23] == TCP:
            return cls(frame, 26, 4)
        if frame[12:14] == b"\x86\xdd" and frame[20] == TCP:
            return cls(frame, 22, 16)
        return None
