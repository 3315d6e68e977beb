#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""py-amqp, the library below kombu: its own calls and callbacks, without kombu."""
import os
import socket
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import amqp
import suite

DEADLINE_S = 30.0


class Case(unittest.TestCase):
    def connect(self, **options):
        options = {"confirm_publish": False, **options}
        connection = amqp.Connection("%s:%d" % (self.broker.host, self.broker.port), connect_timeout=DEADLINE_S,
                                     read_timeout=DEADLINE_S, **options)
        connection.connect()
        self.addCleanup(connection.collect)
        return connection

    def channel(self, **options):
        return self.connect(**options).channel()

    def queue(self, channel, **options):
        return channel.queue_declare(exclusive=True, auto_delete=False, **options).queue

    def publish(self, channel, body, queue, **options):
        message = amqp.Message(body, **options.pop("properties", {}))
        channel.basic_publish(message, routing_key=queue, **options)

    def drain(self, connection, done):
        until = time.monotonic() + DEADLINE_S
        while not done():
            connection.drain_events(timeout=until - time.monotonic())


class PyAmqp(Case):
    def test_publish_and_get(self):
        channel = self.channel()
        queue = self.queue(channel)
        self.assertIsNone(channel.basic_get(queue))
        for body in ("text", "", "x" * 300000):
            self.publish(channel, body, queue)
            message = channel.basic_get(queue)
            self.assertEqual(message.body, body)
            channel.basic_ack(message.delivery_tag)

    def test_properties_and_headers_come_back(self):
        channel = self.channel()
        queue = self.queue(channel)
        from datetime import datetime
        from decimal import Decimal
        headers = {"s": "text", "n": 12, "big": 1 << 40, "f": 1.5, "none": None, "yes": True, "list": [1, [2], {}],
                   "table": {"in": {"deep": "er"}}, "when": datetime(2020, 1, 2, 3, 4, 5), "d": Decimal("1.25"),
                   "bytes": b"\x00\xff"}
        self.publish(channel, "x", queue, properties={
            "application_headers": headers, "content_type": "text/plain", "priority": 5, "correlation_id": "c",
            "reply_to": "r", "expiration": "60000", "message_id": "m", "type": "t", "app_id": "a"})
        message = channel.basic_get(queue, no_ack=True)
        got = message.headers
        for key in ("s", "n", "big", "f", "none", "yes", "list", "table", "when", "d"):
            self.assertEqual(got[key], headers[key], key)
        self.assertEqual(message.properties["message_id"], "m")
        self.assertEqual((message.properties["priority"], message.properties["expiration"]), (5, "60000"))

    def test_consume_ack_reject_and_recover(self):
        connection = self.connect()
        channel, got = connection.channel(), []
        queue = self.queue(channel)
        channel.basic_qos(0, 4, False)
        for number in range(6):
            self.publish(channel, str(number), queue)
        tag = channel.basic_consume(queue, callback=got.append)
        self.drain(connection, lambda: len(got) == 4)
        channel.basic_ack(got[0].delivery_tag)
        channel.basic_reject(got[1].delivery_tag, requeue=False)
        self.drain(connection, lambda: len(got) == 6)
        channel.basic_cancel(tag)
        channel.basic_recover(requeue=True)
        again = [channel.basic_get(queue) for _ in range(4)]
        self.assertEqual([message.body for message in again], ["2", "3", "4", "5"])
        self.assertTrue(all(message.delivery_info["redelivered"] for message in again))

    def test_confirms_and_nacks(self):
        connection = self.connect(confirm_publish=True)
        channel = connection.channel()
        queue = self.queue(channel, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        self.publish(channel, "1", queue)       # waits for its confirm
        self.publish(channel, "2", queue)
        with self.assertRaises(amqp.exceptions.MessageNacked):
            self.publish(channel, "3", queue)

    def test_events_of_confirms(self):
        connection = self.connect()
        channel, tags = connection.channel(), []
        queue = self.queue(channel)
        channel.confirm_select()
        channel.events["basic_ack"].add(lambda tag, multiple: tags.append((tag, multiple)))
        for number in range(100):
            self.publish(channel, str(number), queue)
        self.drain(connection, lambda: tags and tags[-1][0] == 100)
        told = set()
        for tag, multiple in tags:
            told |= set(range(1, tag + 1)) if multiple else {tag}
        self.assertEqual(told, set(range(1, 101)))

    def test_returned_message(self):
        connection = self.connect()
        channel, returned = connection.channel(), []
        channel.events["basic_return"].add(lambda *parts: returned.append(parts))
        self.publish(channel, "back", "nobody", mandatory=True)
        self.drain(connection, lambda: returned)
        exception, exchange, key, message = returned[0]
        self.assertEqual((exception.reply_code, exchange, key, message.body), (312, "", "nobody", "back"))

    def test_cancel_notify(self):
        connection = self.connect()
        channel, cancelled = connection.channel(), []
        queue = channel.queue_declare("py-amqp." + uuid.uuid4().hex[:8]).queue
        tag = channel.basic_consume(queue, callback=print, on_cancel=cancelled.append)
        connection.channel().queue_delete(queue)
        self.drain(connection, lambda: cancelled)
        self.assertEqual(cancelled, [tag])

    def test_transaction(self):
        channel = self.channel()
        queue = self.queue(channel)
        channel.tx_select()
        self.publish(channel, "kept", queue)
        self.assertIsNone(channel.basic_get(queue))
        channel.tx_commit()
        self.publish(channel, "not", queue)
        channel.tx_rollback()
        channel.tx_commit()
        self.assertEqual(channel.basic_get(queue, no_ack=True).body, "kept")
        self.assertIsNone(channel.basic_get(queue, no_ack=True))

    def test_errors_of_a_channel_and_of_a_connection(self):
        connection = self.connect()
        with self.assertRaises(amqp.exceptions.NotFound) as caught:
            connection.channel().queue_declare("nobody.declared.this", passive=True)
        self.assertEqual((caught.exception.reply_code, caught.exception.method_name), (404, "Queue.declare"))
        with self.assertRaises(amqp.exceptions.AccessRefused):
            connection.channel().queue_declare("amq.mine")
        with self.assertRaises(amqp.exceptions.PreconditionFailed):
            connection.channel().exchange_declare("amq.direct", "fanout", durable=True, auto_delete=False)
        with self.assertRaises(amqp.exceptions.PreconditionFailed):
            connection.channel().basic_ack(77)
            self.drain(connection, lambda: False)
        channel = connection.channel()
        channel.basic_qos(0, 1, False)          # the connection has lived through all that
        other = self.connect()
        channel = other.channel()
        tag = channel.basic_consume(self.queue(channel), consumer_tag="same")
        with self.assertRaises(amqp.exceptions.NotAllowed):
            channel.basic_consume(self.queue(channel), consumer_tag=tag)

    def test_exchanges_and_bindings(self):
        connection = self.connect()
        channel, stem = connection.channel(), uuid.uuid4().hex[:8]
        for name, kind in (("a." + stem, "topic"), ("b." + stem, "fanout")):
            channel.exchange_declare(name, kind, auto_delete=False)
        queue = self.queue(channel)
        channel.exchange_bind("b." + stem, "a." + stem, "k.#")
        channel.queue_bind(queue, "b." + stem)
        channel.basic_publish(amqp.Message("routed"), "a." + stem, "k.1.2")
        self.assertEqual(channel.basic_get(queue, no_ack=True).body, "routed")
        channel.exchange_unbind("b." + stem, "a." + stem, "k.#")
        channel.queue_unbind(queue, "b." + stem)
        for name in ("a." + stem, "b." + stem):
            channel.exchange_delete(name, if_unused=True)
        self.assertEqual(channel.queue_purge(queue), 0)
        self.assertEqual(channel.queue_delete(queue), 0)

    def test_heartbeats_keep_an_idle_connection(self):
        """C25, C26: the client asks for 1 s and gets it; three periods pass without a word."""
        connection = self.connect(heartbeat=1)
        self.assertEqual(connection.heartbeat, 1)
        until = time.monotonic() + 3.2
        while time.monotonic() < until:
            connection.heartbeat_tick(rate=2)
            try:
                connection.drain_events(timeout=0.25)
            except socket.timeout:
                pass
        channel = connection.channel()
        self.publish(channel, "alive", self.queue(channel))

    def test_login_with_amqplain_and_with_a_wrong_password(self):
        self.connect(login_method="AMQPLAIN").channel().close()
        with self.assertRaises(amqp.exceptions.AccessRefused):
            self.connect(password="wrong")

    def test_channels_reuse_their_numbers(self):
        connection = self.connect()
        first = connection.channel(1)
        queue = self.queue(first)
        for _ in range(20):
            first.close()
            first = connection.channel(1)
            self.publish(first, "again", queue)
            self.assertEqual(first.basic_get(queue, no_ack=True).body, "again")


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
