#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Thousands of queues, bindings and connections that come and go, and listings meanwhile.

Figures that a test measures are printed on lines that begin with `#`.
"""
import json
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker as broker_module
import suite
from amqp_raw import Raw, method_frame

TRANSIENT, DURABLE = 2000, 200


def note(text, *values):
    print("#     " + text % values, flush=True)


class Timings(list):
    def measure(self, action):
        began = time.monotonic()
        result = action()
        self.append(time.monotonic() - began)
        return result

    def median(self):
        return sorted(self)[len(self) // 2]

    def text(self):
        return "%.0f/s, median %.0f us, longest %.1f ms" % (
            len(self) / sum(self), 1e6 * self.median(), 1e3 * max(self))


class Case(unittest.TestCase):
    def setUp(self):
        if self.broker.external:
            self.skipTest("needs a broker of its own")

    def dial(self):
        connection = Raw(self.broker.host, self.broker.port)
        self.addCleanup(connection.drop)
        return connection.handshake()

    def rows(self, command, *columns):
        done = self.broker.ctl("--formatter", "json", command, *columns)
        return json.loads(done.stdout)

    def names_become(self, wanted):
        """Queues of closed connections are deleted a moment later."""
        until = time.monotonic() + 30
        while True:
            names = sorted(row["name"] for row in self.rows("list_queues", "name"))
            if names == sorted(wanted) or time.monotonic() > until:
                return self.assertEqual(names, sorted(wanted))


class Declares(Case):
    def test_transient_queues_cost_no_sync_each(self):
        """A durable declare is synced to disk before its answer; where disks are fast it shows
        little, so the other kind is only required not to be slower. They take turns: a neighbour of
        this machine slows down both."""
        channel = self.dial().channel()
        transient, durable, gone = Timings(), Timings(), Timings()
        names, kept = [], ["churn.durable.%d" % number for number in range(DURABLE)]
        for kept_one in kept:
            durable.measure(lambda: channel.call("queue.declare", queue=kept_one, durable=True))
            names += [transient.measure(lambda: channel.call("queue.declare", exclusive=True).queue)
                      for _ in range(TRANSIENT // DURABLE)]
        self.names_become(names + kept)
        for name in names[:TRANSIENT // 2]:
            gone.measure(lambda: channel.call("queue.delete", queue=name))
        for name in kept:
            channel.call("queue.delete", queue=name)
        channel.connection.close()
        self.names_become([])
        note("exclusive queues declared: %s", transient.text())
        note("durable queues declared: %s", durable.text())
        note("exclusive queues deleted: %s", gone.text())
        self.assertLess(transient.median(), 1.2 * durable.median())

    def test_two_thousand_bindings(self):
        channel = self.dial().channel()
        queue = channel.call("queue.declare", exclusive=True).queue
        channel.call("exchange.declare", exchange="churn.topic", type="topic", auto_delete=True)
        bind, unbind = Timings(), Timings()
        keys = ["a.%d.#" % number for number in range(2000)]
        for key in keys:
            bind.measure(lambda: channel.call("queue.bind", queue=queue, exchange="churn.topic",
                                              routing_key=key))
        rows = self.rows("list_bindings", "source_name", "routing_key")
        self.assertEqual(sum(row["source_name"] == "churn.topic" for row in rows), 2000)
        channel.call("confirm.select")
        for key in keys:
            channel.publish(b"x", exchange="churn.topic", routing_key=key[:-1] + "b.c")
        channel.confirmed(2000)
        self.assertEqual(channel.call("queue.purge", queue=queue).message_count, 2000)
        for key in keys:
            unbind.measure(lambda: channel.call("queue.unbind", queue=queue, routing_key=key,
                                                exchange="churn.topic"))
        note("bindings made: %s; removed: %s", bind.text(), unbind.text())
        self.assertEqual(self.rows("list_exchanges", "name").count({"name": "churn.topic"}), 0)


class UnderLoad(Case):
    def load(self, over, problems, counts):
        """Publish and consume on one connection until told to end."""
        try:
            channel = self.dial().channel()
            queue = channel.call("queue.declare", exclusive=True).queue
            channel.call("confirm.select")
            channel.call("basic.consume", queue=queue, no_ack=True)
            while not over.is_set():
                for _ in range(50):
                    channel.publish(b"load", routing_key=queue)
                channel.confirmed(50)
                channel.connection.events[channel.number].clear()
                counts.append(50)
            channel.connection.close()
        except Exception as problem:
            problems.append(problem)

    def churn(self, over, problems, counts):
        """Connections with two queues each; every other one just vanishes."""
        try:
            while not over.is_set():
                connection = self.dial()
                channel = connection.channel()
                channel.call("queue.declare", exclusive=True)
                channel.call("queue.declare", exclusive=True)
                connection.drop() if len(counts) % 2 else connection.close()
                counts.append(1)
        except Exception as problem:
            problems.append(problem)

    def test_listings_while_connections_come_and_go(self):
        over, problems = threading.Event(), []
        messages, connections = [], []
        threads = [threading.Thread(target=self.load, args=(over, problems, messages))] + [
            threading.Thread(target=self.churn, args=(over, problems, connections))
            for _ in range(3)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        listings = Timings()
        try:
            for _ in range(40):
                queues = listings.measure(lambda: self.rows(
                    "list_queues", "name", "messages_ready", "messages_unacknowledged",
                    "consumers"))
                self.assertEqual(len({row["name"] for row in queues}), len(queues))
                open_ones = listings.measure(lambda: self.rows(
                    "list_connections", "name", "user", "state", "channels"))
                # The load's; of who churns one, and those that a shard has not been told yet that they are gone.
                self.assertLessEqual(len(open_ones), 1 + 3 * (1 + self.broker.shards))
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
        seconds = time.monotonic() - began
        self.assertEqual(problems, [])
        self.names_become([])
        note("listings under load: %s; beside them %.0f connections/s and %.0f messages/s",
             listings.text(), len(connections) / seconds, sum(messages) / seconds)

    def test_two_thousand_queues_go_with_their_connections(self):
        connections = [self.dial() for _ in range(20)]
        for connection in connections:
            connection.channel()
            connection.write(b"".join(method_frame(1, "queue.declare", exclusive=True)
                                      for _ in range(100)))
        for connection in connections:
            for _ in range(100):
                self.assertEqual(connection.next(1).name, "queue.declare-ok")
        self.assertEqual(len(self.rows("list_queues", "name")), 2000)
        began = time.monotonic()
        for number, connection in enumerate(connections):
            connection.drop() if number % 2 else connection.close()
        self.names_become([])
        note("2000 queues gone with 20 connections in %.2f s", time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
