#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What programs do with pika beyond the tutorials: threads, callbacks, queues with arguments."""
import os
import sys
import threading
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pika
import pika.exceptions
import broker as broker_module
import suite

DEADLINE_S = 30.0


class Case(unittest.TestCase):
    def parameters(self, target=None, **options):
        target = target or self.broker
        return pika.ConnectionParameters(target.host, target.port, heartbeat=30, **options)

    def connect(self, target=None, **options):
        connection = pika.BlockingConnection(self.parameters(target, **options))
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def queue(self, channel, **arguments):
        return channel.queue_declare("", exclusive=True, arguments=arguments).method.queue

    def get(self, channel, queue):
        """A body that is there or comes soon."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method:
                return method, properties, body
        self.fail("no message in " + queue)

    def wait(self, connection, done):
        until = time.monotonic() + DEADLINE_S
        while not done():
            self.assertLess(time.monotonic(), until)
            connection.process_data_events(1)


class Blocking(Case):
    def test_confirmed_publishes_raise_what_became_of_them(self):
        channel = self.connect().channel()
        channel.confirm_delivery()
        queue = self.queue(channel, **{"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.basic_publish("", queue, b"in")
        with self.assertRaises(pika.exceptions.NackError):
            channel.basic_publish("", queue, b"out")
        with self.assertRaises(pika.exceptions.UnroutableError) as caught:
            channel.basic_publish("", "nobody", b"back", mandatory=True)
        self.assertEqual(caught.exception.messages[0].body, b"back")

    def test_consume_as_a_generator(self):
        channel = self.connect().channel()
        queue = self.queue(channel)
        for number in range(10):
            channel.basic_publish("", queue, b"%d" % number)
        got = []
        for method, _properties, body in channel.consume(queue, inactivity_timeout=DEADLINE_S):
            got.append(body)
            channel.basic_ack(method.delivery_tag)
            if len(got) == 7:
                break
        self.assertEqual(got, [b"%d" % number for number in range(7)])
        channel.cancel()    # what came ahead goes back
        self.assertEqual([self.get(channel, queue)[2] for _ in range(3)], [b"7", b"8", b"9"])

    def test_work_in_threads_is_acknowledged_by_callbacks(self):
        """add_callback_threadsafe, as for consumers whose work takes long."""
        connection = self.connect()
        channel, done = connection.channel(), []
        queue = self.queue(channel)
        channel.basic_qos(prefetch_count=4)

        def work(tag, body):
            connection.add_callback_threadsafe(lambda: (channel.basic_ack(tag), done.append(body)))

        def on_message(_channel, method, _properties, body):
            threading.Thread(target=work, args=(method.delivery_tag, body)).start()
        channel.basic_consume(queue, on_message)
        for number in range(40):
            channel.basic_publish("", queue, b"%d" % number)
        self.wait(connection, lambda: len(done) == 40)
        self.assertEqual(channel.queue_declare(queue, passive=True).method.message_count, 0)
        self.assertEqual(set(done), {b"%d" % number for number in range(40)})

    def test_ten_threads_with_a_connection_each(self):
        name, problems = "pika.threads." + uuid.uuid4().hex[:8], []
        setup = self.connect().channel()
        setup.queue_declare(name)

        def publish(number):
            try:
                connection = pika.BlockingConnection(self.parameters())
                channel = connection.channel()
                channel.confirm_delivery()
                for count in range(50):
                    channel.basic_publish("", name, b"%d.%d" % (number, count))
                connection.close()
            except Exception as problem:
                problems.append(problem)
        threads = [threading.Thread(target=publish, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        self.assertEqual(problems, [])
        self.assertEqual(setup.queue_delete(name).method.message_count, 500)

    def test_cancel_by_the_server_is_told(self):
        connection = self.connect()
        channel, cancelled = connection.channel(), []
        name = "pika.cancel." + uuid.uuid4().hex[:8]
        channel.queue_declare(name)
        channel.add_on_cancel_callback(cancelled.append)
        channel.basic_consume(name, print)
        connection.channel().queue_delete(name)
        self.wait(connection, lambda: cancelled)

    def test_channel_closed_by_the_server(self):
        connection = self.connect()
        channel = connection.channel()
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
            channel.queue_declare("nobody.declared.this", passive=True)
        self.assertEqual((caught.exception.reply_code, caught.exception.reply_text),
                         (404, "NOT_FOUND - no queue 'nobody.declared.this' in vhost '/'"))
        self.assertTrue(channel.is_closed and connection.is_open)

    def test_wrong_password_and_missing_vhost(self):
        with self.assertRaises(pika.exceptions.ProbableAuthenticationError):
            self.connect(credentials=pika.PlainCredentials("guest", "wrong"))
        with self.assertRaisesRegex(pika.exceptions.ProbableAccessDeniedError,
                                    r"\(530\) 'NOT_ALLOWED - vhost nowhere not found'"):
            self.connect(virtual_host="nowhere")

    def test_transactions(self):
        channel = self.connect().channel()
        queue = self.queue(channel)
        channel.tx_select()
        channel.basic_publish("", queue, b"kept")
        channel.tx_commit()
        channel.basic_publish("", queue, b"not")
        channel.tx_rollback()
        channel.tx_commit()
        self.assertEqual(self.get(channel, queue)[2], b"kept")
        self.assertIsNone(channel.basic_get(queue)[0])


class Arguments(Case):
    """Queues with arguments, as programs use them together."""

    def test_retry_with_a_delay_through_two_queues(self):
        """work -> (rejected) -> wait -> (expired) -> work, counted by x-death."""
        connection = self.connect()
        channel, seen = connection.channel(), []
        stem = "pika.retry." + uuid.uuid4().hex[:8]
        channel.exchange_declare(stem, "direct", auto_delete=True)
        channel.queue_declare(stem + ".work", exclusive=True, arguments={
            "x-dead-letter-exchange": stem, "x-dead-letter-routing-key": "wait"})
        channel.queue_declare(stem + ".wait", exclusive=True, arguments={
            "x-message-ttl": 20, "x-dead-letter-exchange": stem, "x-dead-letter-routing-key": "work"})
        for key in ("work", "wait"):
            channel.queue_bind(stem + "." + key, stem, key)

        def on_message(_channel, method, properties, _body):
            deaths = (properties.headers or {}).get("x-death", [])
            rejected = [d["count"] for d in deaths if d["reason"] == "rejected"]
            seen.append(rejected[0] if rejected else 0)
            if len(seen) <= 3:
                channel.basic_reject(method.delivery_tag, requeue=False)
            else:
                channel.basic_ack(method.delivery_tag)
        channel.basic_consume(stem + ".work", on_message)
        channel.basic_publish(stem, "work", b"again and again")
        self.wait(connection, lambda: len(seen) == 4)
        self.assertEqual(seen, [0, 1, 2, 3])

    def test_a_ring_of_the_newest(self):
        channel = self.connect().channel()
        dropped = self.queue(channel)
        ring = self.queue(channel, **{"x-max-length": 3, "x-dead-letter-exchange": "",
                                      "x-dead-letter-routing-key": dropped})
        for number in range(10):
            channel.basic_publish("", ring, b"%d" % number)
        self.assertEqual([self.get(channel, ring)[2] for _ in range(3)], [b"7", b"8", b"9"])
        got = [self.get(channel, dropped) for _ in range(7)]
        self.assertEqual([body for _m, _p, body in got], [b"%d" % number for number in range(7)])
        self.assertEqual({p.headers["x-death"][0]["reason"] for _m, p, _b in got}, {"maxlen"})

    def test_priorities_of_messages_and_of_consumers(self):
        connection = self.connect()
        channel, got = connection.channel(), []
        queue = self.queue(channel, **{"x-max-priority": 10})
        for priority in (0, 9, 4, 9, 1):
            channel.basic_publish("", queue, b"%d" % priority, pika.BasicProperties(priority=priority))
        channel.basic_qos(prefetch_count=1)
        for name, priority in (("low", -1), ("high", 5)):
            channel.basic_consume(queue, lambda c, m, p, body, name=name: (got.append((name, body)),
                                                                            c.basic_ack(m.delivery_tag)),
                                  arguments={"x-priority": priority})
        self.wait(connection, lambda: len(got) == 5)
        self.assertEqual([body for _name, body in got], [b"9", b"9", b"4", b"1", b"0"])

    def test_single_active_consumer_and_its_successor(self):
        connection = self.connect()
        name, got = "pika.sac." + uuid.uuid4().hex[:8], []
        publishing = connection.channel()
        publishing.queue_declare(name, arguments={"x-single-active-consumer": True})
        channels = []
        for number in range(2):
            channel = connection.channel()
            channel.basic_consume(name, lambda c, m, p, body, number=number: (
                got.append((number, body)), c.basic_ack(m.delivery_tag)))
            channels.append(channel)
        for number in range(3):
            publishing.basic_publish("", name, b"%d" % number)
        self.wait(connection, lambda: len(got) == 3)
        channels[0].close()
        publishing.basic_publish("", name, b"3")
        self.wait(connection, lambda: len(got) == 4)
        self.assertEqual(got, [(0, b"0"), (0, b"1"), (0, b"2"), (1, b"3")])
        publishing.queue_delete(name)

    def test_direct_reply_to(self):
        connection = self.connect()
        server, client, answers = connection.channel(), connection.channel(), []
        queue = self.queue(server)

        def on_request(channel, _method, properties, body):
            channel.basic_publish("", properties.reply_to, body * 2,
                                  pika.BasicProperties(correlation_id=properties.correlation_id))
        server.basic_consume(queue, on_request, auto_ack=True)
        client.basic_consume("amq.rabbitmq.reply-to", lambda c, m, p, body: answers.append(
            (p.correlation_id, body)), auto_ack=True)
        for number in range(20):
            client.basic_publish("", queue, b"%d" % number, pika.BasicProperties(
                reply_to="amq.rabbitmq.reply-to", correlation_id=str(number)))
        self.wait(connection, lambda: len(answers) == 20)
        self.assertEqual(answers, [(str(number), b"%d" % number * 2) for number in range(20)])

    def test_copies_to_other_keys(self):
        channel = self.connect().channel()
        queues = [self.queue(channel) for _ in range(3)]
        channel.basic_publish("", queues[0], b"to all", pika.BasicProperties(
            headers={"CC": [queues[1]], "BCC": [queues[2]]}))
        got = [self.get(channel, queue) for queue in queues]
        self.assertEqual([body for _m, _p, body in got], [b"to all"] * 3)
        self.assertEqual([sorted(p.headers) for _m, p, _b in got], [["CC"]] * 3)

    def test_alternate_exchange_catches_what_is_not_routed(self):
        channel = self.connect().channel()
        stem = "pika.alternate." + uuid.uuid4().hex[:8]
        channel.exchange_declare(stem + ".rest", "fanout", auto_delete=True)
        rest, good = self.queue(channel), self.queue(channel)
        channel.queue_bind(rest, stem + ".rest")
        channel.exchange_declare(stem, "direct", auto_delete=True, arguments={
            "alternate-exchange": stem + ".rest"})
        channel.queue_bind(good, stem, "good")
        channel.basic_publish(stem, "good", b"1")
        channel.basic_publish(stem, "other", b"2")
        self.assertEqual(self.get(channel, good)[2], b"1")
        self.assertEqual(self.get(channel, rest)[2], b"2")

    def test_an_unused_queue_expires(self):
        connection = self.connect()
        name = "pika.expires." + uuid.uuid4().hex[:8]
        connection.channel().queue_declare(name, arguments={"x-expires": 50})
        until = time.monotonic() + DEADLINE_S
        time.sleep(0.1)     # a look at the queue would be a use of it
        while time.monotonic() < until:
            try:
                connection.channel().queue_declare(name, passive=True)
                time.sleep(0.1)
            except pika.exceptions.ChannelClosedByBroker as closed:
                self.assertEqual(closed.reply_code, 404)
                return
        self.fail("the queue is still there")


class Select(Case):
    """The callback API: everything is asked for at once, and answers come in order."""

    target = None

    def run_loop(self, on_open):
        problems = []
        connection = pika.SelectConnection(
            self.parameters(self.target), on_open_callback=on_open,
            on_open_error_callback=lambda _c, problem: problems.append(problem) or connection.ioloop.stop(),
            on_close_callback=lambda _c, _reason: connection.ioloop.stop())
        connection.ioloop.call_later(DEADLINE_S, lambda: problems.append("deadline") or connection.ioloop.stop())
        connection.ioloop.start()
        self.assertEqual(problems, [])

    def test_publish_and_consume_with_callbacks(self):
        got, confirmed, total = [], set(), 500

        def on_open(connection):
            connection.channel(on_open_callback=lambda channel: on_channel(connection, channel))

        def on_channel(connection, channel):
            def on_confirm(frame):
                tag = frame.method.delivery_tag
                confirmed.update(range(1, tag + 1) if frame.method.multiple else [tag])
                finish()

            def on_message(_channel, method, _properties, body):
                got.append(body)
                channel.basic_ack(method.delivery_tag)
                finish()

            def on_declared(frame):
                queue = frame.method.queue
                channel.basic_consume(queue, on_message)
                for number in range(total):
                    channel.basic_publish("", queue, b"%d" % number)

            def finish():
                if len(got) == total and len(confirmed) == total:
                    connection.close()
            channel.confirm_delivery(on_confirm)
            channel.queue_declare("", exclusive=True, callback=on_declared)
        self.run_loop(on_open)
        self.assertEqual(got, [b"%d" % number for number in range(total)])

    def test_blocked_and_unblocked_are_told(self):
        """C102: a publisher above the watermark, and a consumer that makes room."""
        if self.broker.external:
            self.skipTest("needs a broker of its own")
        self.target = broker_module.Broker(shards=1, settings=["lepus.memory=32MB", "lepus.log.backlog_bytes=1GB"])
        self.addCleanup(self.target.stop)
        told, total, drained = [], 400, []
        self.connect(self.target).channel().queue_declare("full")

        def drain():
            channel = self.connect(self.target).channel()
            for count, (method, _properties, _body) in enumerate(channel.consume("full"), 1):
                channel.basic_ack(method.delivery_tag)
                if count == total:
                    drained.append(count)
                    return

        def on_open(connection):
            def on_blocked(_connection, frame):
                if not told:
                    threading.Thread(target=drain).start()
                told.append(frame.method.reason)

            def on_unblocked(_connection, _frame):
                told.append("unblocked")

            def on_channel(channel):
                for _ in range(total):
                    channel.basic_publish("", "full", bytes(100000))
                look()

            def look():
                if drained and told[-1] == "unblocked":
                    connection.close()
                else:
                    connection.ioloop.call_later(0.01, look)
            connection.add_on_connection_blocked_callback(on_blocked)
            connection.add_on_connection_unblocked_callback(on_unblocked)
            connection.channel(on_open_callback=on_channel)
        self.run_loop(on_open)
        self.assertEqual(told[:2], ["low on memory", "unblocked"])


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
