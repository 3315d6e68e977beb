# SPDX-License-Identifier: Apache-2.0
"""base - what the tests of exact behaviour share.

One test for each row of the semantics table; its number is in the test's name.
Where RabbitMQ 3.10 and 4.0 differ, `self.v40` chooses, and Lepus goes with 4.0.
"""
import re
import socket
import time
import unittest
import uuid

from amqp_raw import BY_NAME, DEADLINE_S, Closed, EndOfStream, Raw


class Case(unittest.TestCase):
    def setUp(self):
        self.prefix = "t.%s." % uuid.uuid4().hex[:10]
        self.made = []
        self.v40 = self.broker.version >= (4, 0)
        self.lepus = self.broker.flavour == "lepus"
        self.addCleanup(self.tidy)
        self.connections = []

    def tidy(self):
        """Drop this test's connections, then its queues and exchanges."""
        for connection in self.connections:
            connection.drop()
        if not self.made:
            return
        connection = Raw(self.broker.host, self.broker.port).handshake()
        number = 0
        for kind, name in self.made:
            number += 1
            connection.send(number, "channel.open")
            connection.next(number)
            connection.send(number, kind + ".delete", **{kind: name})
            connection.next(number)
        connection.close()

    # names, connections, topology

    def queue(self, name="q", channel=None, **arguments):
        full = self.prefix + name
        self.made.append(("queue", full))
        if channel:
            channel.call("queue.declare", queue=full, **arguments)
        return full

    def exchange(self, name="x", channel=None, **arguments):
        full = self.prefix + name
        self.made.append(("exchange", full))
        if channel:
            channel.call("exchange.declare", exchange=full, **{"type": "direct", **arguments})
        return full

    def dial(self):
        connection = Raw(self.broker.host, self.broker.port)
        self.connections.append(connection)
        return connection

    def connect(self, **options):
        return self.dial().handshake(**options)

    def channel(self, number=1, **options):
        return self.connect(**options).channel(number)

    def count(self, channel, queue):
        return channel.call("queue.declare", queue=queue, passive=True).message_count

    def settled(self, channel, queue, wanted):
        """The queue's count becomes `wanted`: what was requeued may be on its way."""
        until = time.monotonic() + DEADLINE_S
        while self.count(channel, queue) != wanted:
            self.assertLess(time.monotonic(), until, "still not %d ready" % wanted)

    def confirming(self, **options):
        channel = self.channel(**options)
        channel.call("confirm.select")
        return channel

    def fill(self, channel, queue, bodies):
        """Publish, confirmed, on a channel in confirm mode."""
        for body in bodies:
            channel.publish(body, routing_key=queue)
        channel.confirmed(len(bodies))

    def deliveries(self, channel, count):
        return [channel.next("basic.deliver") for _ in range(count)]

    # what must be refused

    def method_ids(self, method):
        return BY_NAME[method][0] if method else (0, 0)

    def check_close(self, event, code, method, text):
        found = (event.code, (event.class_id, event.method_id), event.text)
        self.assertEqual(found, (code, self.method_ids(method), text))

    def channel_error(self, channel, code, method, text):
        """The server closes the channel so, which can then be opened again."""
        event = channel.next("channel.close")
        self.check_close(event, code, method, text)
        channel.send("channel.close-ok")
        channel.call("channel.open", )
        return event

    def connection_error(self, connection, code, method, text, channel=None):
        """The server closes the connection so, and the socket after close-ok.

        `text` may be a function of the text that was found."""
        try:
            if channel:
                found = connection.next(channel)
                raise AssertionError("connection.close expected, got %r" % found)
            event = connection.next(0)
        except Closed as closed:
            event = closed.event
        self.assertEqual(event.name, "connection.close", event)
        wanted = event.text if callable(text) else text
        self.check_close(event, code, method, wanted)
        if callable(text):
            self.assertTrue(text(event.text), event.text)
        connection.send(0, "connection.close-ok")
        self.assertEqual(connection.read_to_end(), b"")
        return event

    def silent_close(self, connection, seconds=10.0):
        self.assertEqual(connection.read_to_end(seconds), b"")

    def later_or_skip(self, channel, method, **arguments):
        """A call that needs a feature which may be refused with 540 for now."""
        try:
            return channel.call(method, **arguments)
        except Closed as closed:
            if self.lepus and closed.event.code == 540:
                self.skipTest("not there yet: " + closed.event.text)
            raise

    def user(self, configure=".*", write=".*", read=".*", vhost="/"):
        """A user with these rights on `vhost`; (name, password)."""
        if not self.broker.has_ctl:
            self.skipTest("needs the broker's command-line tool")
        name = "u" + uuid.uuid4().hex[:8]
        self.broker.ctl("add_user", name, "secret")
        self.addCleanup(lambda: self.broker.ctl("delete_user", name, check=False))
        if configure is not None:
            self.broker.ctl("set_permissions", "-p", vhost, name, configure, write, read)
        return {"user": name, "password": "secret"}

    def ctl(self, *words, check=True):
        if not self.broker.has_ctl:
            self.skipTest("needs the broker's command-line tool")
        return self.broker.ctl(*words, check=check)

    def policy(self, definition, *queues, command="set_policy", apply_to="queues"):
        """Set a policy for these queues, and wait until the broker says that they have it."""
        name = "p" + uuid.uuid4().hex[:8]
        pattern = "^(%s)$" % "|".join(re.escape(queue) for queue in queues)
        self.ctl(command, name, pattern, definition, "--apply-to", apply_to)
        clear = command.replace("set_", "clear_")
        self.addCleanup(lambda: self.broker.ctl(clear, name, check=False))
        return name


__all__ = ["Case", "Closed", "EndOfStream", "Raw", "socket"]
