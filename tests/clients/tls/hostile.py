# SPDX-License-Identifier: Apache-2.0
"""Peers that begin and do not go on, in the middle of a handshake, of a record, of a connection."""
import json
import socket
import ssl
import struct
import time

import broker as broker_module
from tls.base import Case, DEADLINE_S, settings, setUpModule, tearDownModule  # noqa: F401


class Cut(Case):
    """Whatever they did, an honest client beside them has its messages, and nothing of them is left."""

    @classmethod
    def setUpClass(cls):
        cls.broker = broker_module.Broker(settings=settings())

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def setUp(self):
        self.honest = self.connect(self.broker)

    def open(self):
        return socket.create_connection((self.broker.host, self.port(self.broker)), DEADLINE_S)

    @staticmethod
    def leave(peer, rudely):
        if rudely:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    def client(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return incoming, outgoing, self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")

    def shake(self):
        """A connection whose handshake is done: its socket, and what encrypts for it."""
        incoming, outgoing, tls = self.client()
        peer = self.open()
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                peer.sendall(outgoing.read())
                data = peer.recv(65536)
                self.assertTrue(data)
                incoming.write(data)
        peer.sendall(outgoing.read())
        return peer, outgoing, tls

    def nothing_is_left(self):
        """Of all that came only the honest one is there."""
        until = time.monotonic() + DEADLINE_S
        while True:
            stats = json.loads(self.broker.ctl("--formatter", "json", "tls_stats").stdout)
            if (stats["connections"], stats["handshaking"]) == (1, 0):
                break
            self.assertLess(time.monotonic(), until, stats)
        self.round_trip(self.honest)
        self.round_trip(self.connect(self.broker))

    def test_a_handshake_cut_at_any_byte(self):
        _, outgoing, tls = self.client()
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        for cut in [*range(12), *range(12, len(hello), 11), len(hello)]:
            peer = self.open()
            peer.sendall(hello[:cut])
            self.leave(peer, cut % 2)
        self.nothing_is_left()

    def test_a_hello_with_any_byte_changed(self):
        _, outgoing, tls = self.client()
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        for at in [*range(11), *range(43, len(hello), 13)]:
            peer = self.open()
            peer.sendall(hello[:at] + bytes([hello[at] ^ 0x55]) + hello[at + 1:])
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
            peer.close()
        self.nothing_is_left()

    def test_a_record_cut_at_any_byte(self):
        for cut in range(0, 36, 3):
            peer, outgoing, tls = self.shake()
            tls.write(b"AMQP\0\0\x09\x01")
            record = outgoing.read()
            peer.sendall(record[:cut])
            self.leave(peer, cut % 2)
        self.nothing_is_left()

    def test_a_hundred_come_at_once_and_go_without_a_word(self):
        peers = [self.shake()[0] for _ in range(100)]
        for at, peer in enumerate(peers):
            self.leave(peer, at % 2)
        self.nothing_is_left()
