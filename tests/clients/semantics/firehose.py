# SPDX-License-Identifier: Apache-2.0
"""The firehose: copies of what is published and delivered. C163."""
import time
import uuid

from semantics.base import Case


class Firehose(Case):
    def setUp(self):
        super().setUp()
        if not self.broker.has_ctl:
            self.skipTest("needs the broker's command-line tool")
        self.connect()  # so that there is somebody for the tool to talk to
        self.vhost = "v" + uuid.uuid4().hex[:8]
        self.broker.ctl("add_vhost", self.vhost)
        self.addCleanup(lambda: self.broker.ctl("delete_vhost", self.vhost, check=False))
        self.broker.ctl("set_permissions", "-p", self.vhost, "guest", ".*", ".*", ".*")
        self.ch = self.open()
        self.taps = self.open()
        self.tap = self.taps.call("queue.declare", queue="", exclusive=True).queue
        self.taps.call("queue.bind", queue=self.tap, exchange="amq.rabbitmq.trace",
                       routing_key="#")

    def open(self, number=1):
        channel = self.connect(vhost=self.vhost).channel(number)
        channel.call("confirm.select")
        return channel

    def trace(self, on):
        self.broker.ctl("trace_on" if on else "trace_off", "-p", self.vhost)

    def declare(self, name):
        self.ch.call("queue.declare", queue=name)
        return name

    def put(self, queue, body=b"x", **properties):
        self.ch.publish(body, routing_key=queue, properties=properties)
        self.ch.confirmed()

    def take(self):
        """The next copy, as soon as there is one."""
        until = time.monotonic() + 15
        while True:
            event = self.taps.call("basic.get", queue=self.tap, no_ack=True)
            if event.name == "basic.get-ok":
                return event, event.__dict__["properties"]
            self.assertLess(time.monotonic(), until)

    def nothing_more(self):
        self.assertEqual(self.taps.call("basic.get", queue=self.tap, no_ack=True).name,
                         "basic.get-empty")

    def ends(self, channel):
        sock = channel.connection.sock
        return "%s:%d -> %s:%d" % (sock.getsockname()[:2] + sock.getpeername()[:2])

    def test_C163_a_published_message_is_copied_with_where_it_went(self):
        queue = self.declare("q")
        self.ch.call("queue.bind", queue=queue, exchange="amq.direct", routing_key="a.key")
        self.trace(True)
        body = b"body " * 2000
        self.ch.publish(body, exchange="amq.direct", routing_key="a.key",
                        properties={"headers": {"mine": 1}, "delivery_mode": 2, "priority": 7,
                                    "content_type": "text/plain", "timestamp": 1234567890,
                                    "message_id": "m"})
        self.ch.confirmed()
        event, properties = self.take()
        self.assertEqual((event.exchange, event.routing_key),
                         ("amq.rabbitmq.trace", "publish.amq.direct"))
        self.assertEqual(event.body, body)
        self.assertEqual(list(properties), ["headers"])
        headers = properties["headers"]
        self.assertIn("@", headers.pop("node"))
        self.assertEqual(headers, {
            "exchange_name": "amq.direct", "routing_keys": ["a.key"], "routed_queues": ["q"],
            "vhost": self.vhost, "channel": 1, "user": "guest",
            "connection": self.ends(self.ch),
            "properties": {"headers": {"mine": 1}, "delivery_mode": 2, "priority": 7,
                           "content_type": "text/plain", "timestamp": 1234567890,
                           "message_id": "m"}})
        self.nothing_more()

    def test_C163_unroutable_and_copied_messages_are_told_too(self):
        queues = [self.declare(name) for name in ("q", "r")]
        self.trace(True)
        self.ch.publish(b"x", exchange="amq.topic", routing_key="nobody")
        self.ch.confirmed()
        event, properties = self.take()
        self.assertEqual(event.routing_key, "publish.amq.topic")
        self.assertEqual(properties["headers"]["routed_queues"], [])
        self.assertEqual(properties["headers"]["properties"], {})
        for queue in queues:
            self.ch.call("queue.bind", queue=queue, exchange="amq.topic", routing_key=queue)
        self.ch.publish(b"x", exchange="amq.topic", routing_key="q",
                        properties={"headers": {"CC": ["r"], "BCC": ["no"]}})
        self.ch.confirmed()
        _, properties = self.take()
        self.assertEqual(sorted(properties["headers"]["routed_queues"]), queues)
        self.assertEqual(properties["headers"]["routing_keys"], ["q", "r", "no"])
        self.assertEqual(properties["headers"]["properties"], {"headers": {"CC": ["r"]}})

    def test_C163_the_default_exchange_tells_keys_for_queues(self):
        self.declare("q")
        self.trace(True)
        self.put("nobody", headers={"CC": ["q"]})
        event, properties = self.take()
        self.assertEqual(event.routing_key, "publish.")
        self.assertEqual(sorted(properties["headers"]["routed_queues"]), ["nobody", "q"])

    def test_C163_deliveries_and_gets_are_copied(self):
        queue = self.declare("q")
        self.put(queue, b"one", app_id="a")
        self.put(queue, b"two")
        self.trace(True)
        other = self.open(5)
        other.call("basic.get", queue=queue)
        event, properties = self.take()
        self.assertEqual((event.routing_key, event.body), ("deliver.q", b"one"))
        headers = properties["headers"]
        headers.pop("node")
        self.assertEqual(headers, {
            "exchange_name": "", "routing_keys": ["q"], "redelivered": 0, "vhost": self.vhost,
            "channel": 5, "user": "guest", "connection": self.ends(other),
            "properties": {"app_id": "a"}})
        other.call("basic.recover", requeue=True)
        other.call("basic.consume", queue=queue, no_ack=True)
        self.deliveries(other, 2)
        found = []
        for _ in range(2):
            event, properties = self.take()
            found.append((event.routing_key, event.body, properties["headers"]["redelivered"]))
        self.assertEqual(found, [("deliver.q", b"one", 1), ("deliver.q", b"two", 0)])
        self.nothing_more()

    def test_C163_copies_are_not_copied_and_off_is_off(self):
        queue = self.declare("q")
        self.trace(True)
        self.taps.call("basic.consume", queue=self.tap, no_ack=True)
        for n in range(10):
            self.put(queue, b"%d" % n)
        self.assertEqual([event.body for event in self.deliveries(self.taps, 10)],
                         [b"%d" % n for n in range(10)])
        self.trace(False)
        self.put(queue, b"unseen")
        self.trace(True)
        self.put(queue, b"seen")
        self.assertEqual(self.taps.next("basic.deliver").body, b"seen")
        self.assertEqual(self.taps.pending(), [])

    def test_C163_other_vhosts_are_not_traced(self):
        self.trace(True)
        channel = self.confirming()
        queue = self.queue(channel=channel)
        self.fill(channel, queue, [b"x"])
        channel.call("basic.get", queue=queue, no_ack=True)
        self.nothing_more()

    def test_C163_more_than_the_broker_keeps_for_itself_is_copied(self):
        queue = self.declare("q")
        self.trace(True)
        self.taps.call("basic.consume", queue=self.tap, no_ack=True)
        for n in range(3000):
            self.ch.publish(b"%d" % n, routing_key=queue)
        self.ch.confirmed(3000)
        self.assertEqual([event.body for event in self.deliveries(self.taps, 3000)],
                         [b"%d" % n for n in range(3000)])
