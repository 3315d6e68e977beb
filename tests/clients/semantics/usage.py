# SPDX-License-Identifier: Apache-2.0
"""What users do, with pika: the S rows that are about clients and scenarios, not single answers."""
import time

import pika

from amqp_raw import DEADLINE_S
from semantics.base import Case


class Pika(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.pika().channel()

    def pika(self, **options):
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            self.broker.host, self.broker.port, heartbeat=0, **options))
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def bodies(self, channel, queue, count):
        """The next messages of a queue, acknowledged."""
        out, until = [], time.monotonic() + DEADLINE_S
        while len(out) < count:
            method, _, body = channel.basic_get(queue)
            if method:
                channel.basic_ack(method.delivery_tag)
                out.append(body.decode())
            self.assertLess(time.monotonic(), until, out)
        return out

    def own(self, channel, exchange=None, *keys):
        """An exclusive queue from the server, bound."""
        name = channel.queue_declare("", exclusive=True).method.queue
        for key in keys:
            channel.queue_bind(name, exchange, key)
        return name

    def until(self, connection, done):
        until = time.monotonic() + DEADLINE_S
        while not done():
            connection.process_data_events(0.05)
            self.assertLess(time.monotonic(), until)

    # work and who does it

    def test_S2_work_waits_for_a_worker(self):
        """Also S27, S45, S54, S57: both sides declare, the publisher is gone, an ack says done."""
        queue = self.queue()
        publisher = self.pika()
        channel = publisher.channel()
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"work", pika.BasicProperties(delivery_mode=2))
        publisher.close()
        worker = self.pika()
        channel = worker.channel()
        channel.queue_declare(queue, durable=True)
        method, properties, body = channel.basic_get(queue)
        self.assertEqual((body, properties.delivery_mode), (b"work", 2))
        worker.close()      # without an ack
        method, _, body = self.ch.basic_get(queue)
        self.assertEqual((body, method.redelivered), (b"work", True))
        self.ch.basic_ack(method.delivery_tag)
        self.assertEqual(self.ch.basic_get(queue), (None, None, None))

    def test_S36_workers_take_turns(self):
        """Also S34, S35, S37, S60: one queue each, no more than a worker can hold."""
        queue = self.queue()
        self.ch.queue_declare(queue)
        taken, tags = {}, {}
        workers = []
        for name in ("a", "b", "c"):
            connection = self.pika()
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1)
            taken[name], tags[name] = [], []

            def take(ch, method, _properties, body, name=name):
                taken[name].append(int(body))
                tags[name].append((ch, method.delivery_tag))
            channel.basic_consume(queue, take)
            workers.append((name, connection))
        for number in range(6):
            self.ch.basic_publish("", queue, b"%d" % number)
        for name, connection in workers:
            self.until(connection, lambda name=name: taken[name])
        self.assertEqual([taken[name] for name in "abc"], [[0], [1], [2]])
        for turn in (3, 4, 5):
            name, connection = workers[turn - 3]
            channel, tag = tags[name][-1]
            channel.basic_ack(tag)
            self.until(connection, lambda name=name: len(taken[name]) == 2)
            self.assertEqual(taken[name][-1], turn)

    def test_S16_first_in_first_out(self):
        """Also S43: there is no other order to be had."""
        queue = self.queue()
        self.ch.queue_declare(queue)
        for number in range(50):
            self.ch.basic_publish("", queue, b"%d" % number)
        self.assertEqual(self.bodies(self.ch, queue, 50), [str(n) for n in range(50)])

    def test_S78_what_is_not_acknowledged_comes_twice(self):
        """Also S59, S62: a channel that goes gives back what it held."""
        queue = self.queue()
        self.ch.queue_declare(queue)
        self.ch.basic_publish("", queue, b"1")
        other = self.ch.connection.channel()
        self.assertEqual(other.basic_get(queue)[2], b"1")
        other.close()
        method, _, body = self.ch.basic_get(queue)
        self.assertEqual((body, method.redelivered), (b"1", True))

    def test_S87_both_counts_of_a_queue(self):
        queue = self.queue()
        self.ch.queue_declare(queue)
        for number in range(3):
            self.ch.basic_publish("", queue, b"%d" % number)
        self.ch.basic_get(queue)
        self.assertEqual(self.ch.queue_declare(queue, passive=True).method.message_count, 2)
        lines = self.ctl("list_queues", "name", "messages_ready",
                         "messages_unacknowledged").stdout.splitlines()
        self.assertIn([queue, "2", "1"], [line.split("\t") for line in lines])

    # publish and subscribe

    def test_S33_a_live_feed_begins_when_one_listens(self):
        """Also S30, S31, S52: exclusive queues, gone with their connection."""
        exchange = self.exchange()
        self.ch.exchange_declare(exchange, "fanout")
        self.ch.basic_publish(exchange, "", b"before")
        listener = self.pika()
        channel = listener.channel()
        name = self.own(channel, exchange, "")
        self.ch.basic_publish(exchange, "", b"after")
        self.assertEqual(self.bodies(channel, name, 1), ["after"])
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
            self.ch.connection.channel().queue_declare(name, passive=True)
        self.assertEqual(caught.exception.reply_code, 405)
        listener.close()
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
            self.ch.connection.channel().queue_declare(name, passive=True)
        self.assertEqual(caught.exception.reply_code, 404)

    def test_S40_one_writes_errors_another_sees_all(self):
        exchange = self.exchange()
        self.ch.exchange_declare(exchange, exchange_type="direct")
        disk = self.own(self.ch, exchange, "error")
        screen = self.own(self.ch, exchange, "info", "warning", "error")
        for severity in ("info", "error", "warning"):
            self.ch.basic_publish(exchange=exchange, routing_key=severity, body=severity)
        self.assertEqual(self.bodies(self.ch, disk, 1), ["error"])
        self.assertEqual(self.bodies(self.ch, screen, 3), ["info", "error", "warning"])

    def test_S41_chat_rooms(self):
        """Rooms come and go at run time; those who stay miss nothing."""
        rooms, everybody = self.exchange("rooms"), self.exchange("all")
        self.ch.exchange_declare(rooms, "direct")
        self.ch.exchange_declare(everybody, "fanout")
        users = {name: self.own(self.ch, everybody, "") for name in ("ann", "bob")}
        self.ch.queue_bind(users["ann"], rooms, "tea")
        said = 0
        for _ in range(10):
            self.ch.queue_bind(users["bob"], rooms, "tea")
            self.ch.queue_bind(users["bob"], rooms, "coffee")
            self.ch.basic_publish(rooms, "tea", b"tea %d" % said)
            self.ch.queue_unbind(users["bob"], rooms, "tea")
            self.ch.basic_publish(rooms, "tea", b"tea %d" % (said + 1))
            self.ch.basic_publish(rooms, "coffee", b"coffee %d" % said)
            said += 2
        self.ch.basic_publish(everybody, "", b"bye")
        self.assertEqual(self.bodies(self.ch, users["ann"], 21),
                         ["tea %d" % n for n in range(20)] + ["bye"])
        self.assertEqual(self.bodies(self.ch, users["bob"], 21), [
            "%s %d" % (room, n) for n in range(0, 20, 2) for room in ("tea", "coffee")] + ["bye"])

    def test_S42_each_step_publishes_the_next(self):
        """A request makes a user, that sends mail, that is logged: three consumers in a chain."""
        connection = self.ch.connection
        names = [self.queue(step) for step in ("web", "service", "mail")]
        for name in names:
            self.ch.queue_declare(name)
        done = []

        def pass_on(following):
            def take(channel, method, _properties, body):
                if following:
                    channel.basic_publish("", following, body + b">" + following[-3:].encode())
                else:
                    done.append(body)
                channel.basic_ack(method.delivery_tag)
            return take
        for name, following in zip(names, names[1:] + [None]):
            connection.channel().basic_consume(name, pass_on(following))
        for number in range(5):
            self.ch.basic_publish("", names[0], b"%d" % number)
        self.until(connection, lambda: len(done) == 5)
        self.assertEqual(done, [b"%d>ice>ail" % n for n in range(5)])

    # declaring

    def test_S26_arguments_by_position(self):
        """Also S25, S53: what is declared is what is meant, and another declaration is 406."""
        exchange, queue = self.exchange(), self.queue()
        self.ch.exchange_declare(exchange, "fanout", False, False, False)
        self.ch.queue_declare(queue, False, False, False, True)
        self.ch.queue_bind(queue, exchange)
        for declare in (lambda ch: ch.exchange_declare(exchange, "fanout", durable=True),
                        lambda ch: ch.queue_declare(queue, auto_delete=False)):
            with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
                declare(self.ch.connection.channel())
            self.assertEqual(caught.exception.reply_code, 406)
        tag = self.ch.basic_consume(queue, lambda *_: None)
        self.ch.basic_cancel(tag)
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker):
            self.ch.connection.channel().queue_declare(queue, passive=True)
        self.ch.exchange_declare(exchange, passive=True)

    def test_S50_queue_declare_answers_with_counts(self):
        """Also S29."""
        answer = self.ch.queue_declare("", exclusive=True).method
        self.assertTrue(answer.queue.startswith("amq.gen-"))
        self.ch.basic_publish("", answer.queue, b"x")
        self.ch.basic_consume(answer.queue, lambda *_: None, auto_ack=True)
        self.until(self.ch.connection, lambda: not self.ch.queue_declare(
            answer.queue, exclusive=True, passive=True).method.message_count)
        again = self.ch.queue_declare(answer.queue, exclusive=True, passive=True).method
        self.assertEqual((again.message_count, again.consumer_count), (0, 1))

    # channels, callbacks, properties

    def test_S49_many_channels_at_once(self):
        """Also S48."""
        connection = self.ch.connection
        queue = self.queue()
        self.ch.queue_declare(queue)
        channels = [connection.channel() for _ in range(100)]
        for number, channel in enumerate(channels):
            channel.basic_publish("", queue, b"%d" % number)
        got = []
        self.ch.basic_consume(queue, lambda _c, _m, _p, body: got.append(int(body)), auto_ack=True)
        self.until(connection, lambda: len(got) == 100)
        self.assertEqual(sorted(got), list(range(100)))

    def test_S44_callbacks(self):
        """Also S55, S56, S61: what the callback is given, and close after it."""
        queue, got = self.queue(), []
        connection = self.pika()
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_publish("", queue, b"1", pika.BasicProperties(headers={"h": 1}))
        channel.basic_publish("", queue, b"2")

        def callback(ch, method, properties, body):
            got.append((method.consumer_tag, method.delivery_tag, method.redelivered,
                        method.exchange, method.routing_key, properties.headers, body))
            if len(got) == 2:
                ch.stop_consuming()
        channel.basic_consume(queue=queue, on_message_callback=callback, auto_ack=True,
                              consumer_tag="mine")
        channel.start_consuming()
        connection.close()
        self.assertEqual(got, [("mine", 1, False, "", queue, {"h": 1}, b"1"),
                               ("mine", 2, False, "", queue, None, b"2")])

    def test_S68_headers_keep_their_types(self):
        """Also S63, S69, S72."""
        queue = self.queue()
        self.ch.queue_declare(queue)
        headers = {"text": "t", "number": 5, "long": 2**40, "true": True, "none": None,
                   "list": [1, "a", {"deep": 1}]}
        self.ch.basic_publish("", queue, b"x", pika.BasicProperties(
            content_type="text/plain", headers=headers, delivery_mode=1, reply_to="anybody",
            correlation_id="c", priority=4))
        _, properties, _ = self.ch.basic_get(queue)
        self.assertEqual(properties.headers, headers)
        self.assertEqual((properties.content_type, properties.delivery_mode, properties.reply_to,
                          properties.correlation_id, properties.priority),
                         ("text/plain", 1, "anybody", "c", 4))

    # RPC

    def serve(self, connection, queue, replies):
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_qos(prefetch_count=1)

        def on_request(ch, method, properties, body):
            ch.basic_publish("", properties.reply_to, body * 2, pika.BasicProperties(
                correlation_id=properties.correlation_id))
            if replies:
                ch.basic_ack(method.delivery_tag)
        channel.basic_consume(queue, on_request)

    def test_S70_rpc_with_an_exclusive_queue_and_with_the_pseudo_queue(self):
        """Also S71: the server acks after it replied."""
        queue, server, client = self.queue(), self.pika(), self.pika()
        self.serve(server, queue, True)
        for direct in (False, True):
            channel, got = client.channel(), []
            back = "amq.rabbitmq.reply-to" if direct else self.own(channel)
            channel.basic_consume(back, lambda _c, _m, p, b: got.append((p.correlation_id, b)),
                                  auto_ack=True)
            channel.basic_publish("", queue, b"ab", pika.BasicProperties(
                reply_to=back, correlation_id="7"))
            until = time.monotonic() + DEADLINE_S
            while not got:
                server.process_data_events(0.02)
                client.process_data_events(0.02)
                self.assertLess(time.monotonic(), until)
            self.assertEqual(got, [("7", b"abab")])

    def test_S71_a_request_of_a_dead_server_goes_to_another(self):
        queue, client = self.queue(), self.pika()
        channel, got = client.channel(), []
        dying = self.pika()
        self.serve(dying, queue, False)
        channel.basic_consume("amq.rabbitmq.reply-to", lambda _c, _m, _p, b: got.append(b),
                              auto_ack=True)
        channel.basic_publish("", queue, b"ab", pika.BasicProperties(
            reply_to="amq.rabbitmq.reply-to"))

        def until(server, count):
            end = time.monotonic() + DEADLINE_S
            while len(got) < count:
                server.process_data_events(0.02)
                client.process_data_events(0.02)
                self.assertLess(time.monotonic(), end)
        until(dying, 1)
        dying.close()       # replied, and never said that it was done
        heir = self.pika()
        self.serve(heir, queue, True)
        until(heir, 2)
        self.assertEqual(got, [b"abab", b"abab"])

    # addresses

    def test_S73_credentials(self):
        connection = self.pika(credentials=pika.PlainCredentials("guest", "guest"))
        self.assertTrue(connection.channel().is_open)

    def test_S74_addresses(self):
        """A path of / is the virtual host "/" for pika, and an empty name is none."""
        url = "amqp://guest:guest@%s:%d/" % (self.broker.host, self.broker.port)
        for path in ("", "%2F"):
            connection = pika.BlockingConnection(pika.URLParameters(url + path))
            self.assertTrue(connection.channel().is_open)
            connection.close()
        raw = self.dial()
        raw.start()
        raw.start_ok()
        raw.next(0)
        raw.send(0, "connection.tune-ok", channel_max=2047, frame_max=131072)
        raw.send(0, "connection.open", vhost="")
        self.connection_error(raw, 530, "connection.open", "NOT_ALLOWED - vhost  not found")
