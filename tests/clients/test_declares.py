#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many declares are little work: commits are counted, not time.

The store's revision is how many transactions it has taken.
"""
import contextlib
import os
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker as broker_module
import suite
from amqp_raw import Raw, method_frame

QUEUES = 4000
CONNECTIONS = 40


class Declares(unittest.TestCase):
    def setUp(self):
        if self.broker.external:
            self.skipTest("needs the files of a broker of its own")
        self.own = broker_module.Broker(shards=2)
        self.addCleanup(self.own.stop)
        self.connections = []

    def connect(self):
        connection = Raw(self.own.host, self.own.port).handshake()
        self.connections.append(connection)
        return connection

    def commits(self):
        """Of the store; the broker is stopped for it, and started again."""
        while self.connections:
            self.connections.pop().close()
        self.own.terminate()
        with contextlib.closing(sqlite3.connect(os.path.join(self.own.data, "topology.db"))) as file:
            revision = file.execute("SELECT revision FROM head").fetchone()[0]
        self.own.start()
        return revision

    def pipeline(self, channel, names, **options):
        """All at once; each must be answered, in order."""
        data = b"".join(method_frame(channel.number, "queue.declare", queue=name, **options)
                        for name in names)
        channel.connection.write(data)
        for name in names:
            self.assertEqual(channel.next("queue.declare-ok").queue, name)

    def test_declares_that_one_channel_sends_together_share_commits(self):
        before = self.commits()
        names = ["d%d" % n for n in range(QUEUES)]
        self.pipeline(self.connect().channel(), names, durable=True)
        spent = self.commits() - before
        print("#     %d durable queues of one channel: %d commits" % (QUEUES, spent), flush=True)
        self.assertLess(spent, QUEUES / 16)
        channel = self.connect().channel()
        for name in names[::100]:
            channel.call("queue.declare", queue=name, passive=True)
        channel.connection.close()

    def test_declares_that_many_connections_send_share_commits(self):
        before = self.commits()
        channels = [self.connect().channel() for _ in range(CONNECTIONS)]
        share = QUEUES // CONNECTIONS
        for k, channel in enumerate(channels):
            channel.connection.write(b"".join(
                method_frame(1, "queue.declare", queue="s%d.%d" % (k, n), durable=True)
                for n in range(share)))
        for k, channel in enumerate(channels):
            self.assertEqual([channel.next("queue.declare-ok").queue for _ in range(share)],
                             ["s%d.%d" % (k, n) for n in range(share)])
        spent = self.commits() - before
        print("#     %d durable queues of %d channels: %d commits" % (QUEUES, CONNECTIONS, spent), flush=True)
        self.assertLess(spent, QUEUES / 16)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
