# SPDX-License-Identifier: Apache-2.0
"""Direct reply-to: C160, C161, C162."""
from semantics.base import Case

NAME = "amq.rabbitmq.reply-to"


class Reply(Case):
    def asker(self, tag="asker", number=1):
        """A channel that waits for answers."""
        channel = self.channel(number)
        event = channel.call("basic.consume", queue=NAME, no_ack=True, consumer_tag=tag)
        self.assertEqual(event.consumer_tag, tag)
        return channel

    def address(self, channel):
        """Where answers to `channel` are to be sent, as the one who is asked sees it."""
        other = self.channel()
        queue = self.queue("asked", channel=other)
        channel.publish(b"question", routing_key=queue,
                        properties={"reply_to": NAME, "correlation_id": "c", "headers": {"a": 1},
                                    "app_id": "z"})
        self.settled(other, queue, 1)
        event = other.call("basic.get", queue=queue, no_ack=True)
        properties = event.__dict__["properties"]
        self.assertEqual(event.body, b"question")
        reply_to = properties.pop("reply_to")
        self.assertEqual(properties, {"correlation_id": "c", "headers": {"a": 1}, "app_id": "z"})
        self.assertTrue(reply_to.startswith(NAME + "."), reply_to)
        self.assertGreater(len(reply_to), len(NAME) + 16)
        return reply_to

    def missing(self, channel, method, name):
        self.channel_error(channel, 404, method,
                           "NOT_FOUND - no queue '%s' in vhost '/'" % name)

    def test_C160_consume_only_with_auto_ack_and_once_a_channel(self):
        channel = self.channel()
        channel.send("basic.consume", queue=NAME, no_ack=False)
        self.channel_error(channel, 406, "basic.consume",
                           "PRECONDITION_FAILED - reply consumer cannot acknowledge")
        channel.call("basic.consume", queue=NAME, no_ack=True)
        channel.send("basic.consume", queue=NAME, no_ack=False)
        self.channel_error(channel, 406, "basic.consume",
                           "PRECONDITION_FAILED - reply consumer cannot acknowledge")
        channel.call("basic.consume", queue=NAME, no_ack=True)
        channel.send("basic.consume", queue=NAME, no_ack=True, consumer_tag="another")
        self.channel_error(channel, 406, "basic.consume",
                           "PRECONDITION_FAILED - reply consumer already set")

    def test_C160_publish_before_consuming_406(self):
        channel = self.channel()
        queue = self.queue(channel=channel)
        other = channel.connection.channel(2)
        other.call("basic.consume", queue=NAME, no_ack=True)  # another channel's does not count
        channel.publish(b"x", routing_key=queue, properties={"reply_to": NAME})
        self.channel_error(channel, 406, "basic.publish",
                           "PRECONDITION_FAILED - fast reply consumer does not exist")
        channel.publish(b"x", exchange=self.prefix + "no", properties={"reply_to": NAME})
        self.channel_error(channel, 404, "basic.publish",
                           "NOT_FOUND - no exchange '%sno' in vhost '/'" % self.prefix)
        self.assertEqual(self.count(channel, queue), 0)

    def test_C160_its_tag_is_not_among_the_others(self):
        channel = self.asker("same")
        queue = self.queue(channel=channel)
        channel.call("basic.consume", queue=queue, consumer_tag="same", no_ack=True)
        channel.publish(b"1", routing_key=queue)
        self.assertEqual(channel.next("basic.deliver").delivery_tag, 1)
        channel.call("basic.cancel", consumer_tag="same")  # the one that waits for answers
        channel.publish(b"2", routing_key=queue)
        self.assertEqual(channel.next("basic.deliver").delivery_tag, 2)
        channel.send("basic.consume", queue=NAME, no_ack=True, consumer_tag="same")
        self.connection_error(channel.connection, 530, "basic.consume",
                              "NOT_ALLOWED - attempt to reuse consumer tag 'same'", channel=1)

    def test_C160_nowait_and_made_up_tags(self):
        channel = self.channel()
        channel.send("basic.consume", queue=NAME, no_ack=True, nowait=True)
        address = self.address(channel)
        self.channel().publish(b"answer", routing_key=address)
        self.assertRegex(channel.next("basic.deliver").consumer_tag, r"^amq\.ctag-.{22}$")

    def test_C161_answers_reach_who_asked_in_order(self):
        channel = self.asker()
        address = self.address(channel)
        self.assertEqual(self.address(channel), address)  # the same as long as it waits
        server = self.confirming()
        for number in range(500):
            server.publish(b"%d" % number, routing_key=address,
                           properties={"correlation_id": "c", "reply_to": "somewhere"})
        server.confirmed(500)
        for number in range(500):
            event = channel.next("basic.deliver")
            self.assertEqual((event.body, event.exchange, event.routing_key, event.redelivered),
                             (b"%d" % number, "", address, False))
            self.assertEqual(event.__dict__["properties"],
                             {"correlation_id": "c", "reply_to": "somewhere"})

    def test_C161_answers_use_no_delivery_tags_up(self):
        channel = self.asker()
        address, queue = self.address(channel), self.queue(channel=channel)
        server = self.confirming()
        tags = []
        for key in (address, address, queue, address, queue):
            server.publish(b"x", routing_key=key)
            server.confirmed()
            event = channel.next("basic.deliver") if key == address else \
                channel.call("basic.get", queue=queue)
            tags.append(event.delivery_tag)
        self.assertEqual(tags, [1, 1, 1, 2, 2])

    def test_C161_a_mandatory_answer_is_returned_and_arrives(self):
        channel = self.asker()
        address = self.address(channel)
        server = self.confirming()
        server.publish(b"answer", routing_key=address, mandatory=True)
        event = server.next("basic.return")
        self.assertEqual((event.code, event.text, event.routing_key, event.body),
                         (312, "NO_ROUTE", address, b"answer"))
        server.next("basic.ack")
        self.assertEqual(channel.next("basic.deliver").body, b"answer")

    def test_C161_large_answers_and_many_askers(self):
        askers = [self.asker("t%d" % number) for number in range(6)]
        addresses = [self.address(channel) for channel in askers]
        self.assertEqual(len(set(addresses)), 6)
        server = self.confirming()
        for number, address in enumerate(addresses):
            server.publish(b"%d" % number * 200000, routing_key=address)
        server.confirmed(6)
        for number, channel in enumerate(askers):
            event = channel.next("basic.deliver")
            self.assertEqual((event.consumer_tag, event.body),
                             ("t%d" % number, b"%d" % number * 200000))
            self.assertEqual(channel.pending(), [])

    def test_C161_declare_tells_whether_the_asker_lives(self):
        channel = self.asker()
        address = self.address(channel)
        server = self.channel()
        for more in ({"passive": True}, {}, {"durable": True, "exclusive": True,
                                             "arguments": {"x-message-ttl": "no number"}}):
            for name in (address, NAME):
                event = server.call("queue.declare", queue=name, **more)
                self.assertEqual((event.queue, event.message_count, event.consumer_count),
                                 (name, 0, 1))
        server.send("queue.declare", queue=address, passive=True, nowait=True)
        self.assertEqual(server.pending(), [])
        channel.call("basic.cancel", consumer_tag="asker")
        for options in ({"passive": True}, {}, {"passive": True, "nowait": True}):
            server.send("queue.declare", queue=address, **options)
            self.missing(server, "queue.declare", address)
        for name in (address[:-1], NAME + "x", NAME + ".", NAME + ".nonsense", address + "x"):
            server.send("queue.declare", queue=name, passive=True)
            self.missing(server, "queue.declare", name)

    def test_C161_a_gone_asker_gets_nothing_and_a_mandatory_answer_comes_back(self):
        for end in ("cancel", "channel", "connection", "socket"):
            channel = self.asker()
            address = self.address(channel)
            watcher = self.channel()
            if end == "cancel":
                channel.call("basic.cancel", consumer_tag="asker")
            elif end == "channel":
                channel.call("channel.close", code=200)
            elif end == "connection":
                channel.connection.close()
            else:
                channel.connection.drop()
                self.until_missing(watcher, address)
            server = self.confirming()
            server.publish(b"1", routing_key=address)
            server.publish(b"2", routing_key=address, mandatory=True)
            events = [server.next()]
            while (events[-1].name, events[-1].arguments.get("delivery_tag")) != ("basic.ack", 2):
                events.append(server.next())
            self.assertEqual([e.body for e in events if e.name == "basic.return"], [b"2"])
            server.send("queue.declare", queue=address, passive=True)
            self.missing(server, "queue.declare", address)
            if end == "cancel":
                self.assertEqual(channel.pending(), [])

    def until_missing(self, channel, address):
        """Until the broker has seen that a socket closed."""
        while True:
            channel.send("queue.declare", queue=address, passive=True)
            event = channel.next()
            if event.name == "channel.close":
                self.check_close(event, 404, "queue.declare",
                                 "NOT_FOUND - no queue '%s' in vhost '/'" % address)
                channel.send("channel.close-ok")
                channel.call("channel.open")
                return

    def test_C161_an_address_is_not_kept_over_a_new_consumer(self):
        channel = self.asker()
        address = self.address(channel)
        channel.call("basic.cancel", consumer_tag="asker")
        channel.call("basic.consume", queue=NAME, no_ack=True, consumer_tag="anew")
        fresh = self.address(channel)
        self.assertNotEqual(fresh, address)
        server = self.channel()
        server.publish(b"old", routing_key=address)
        server.publish(b"new", routing_key=fresh)
        self.assertEqual(channel.next("basic.deliver").body, b"new")

    def test_C161_answers_do_not_wait_for_a_commit(self):
        channel = self.asker()
        address = self.address(channel)
        server = self.channel()
        server.call("tx.select")
        server.publish(b"answer", routing_key=address, mandatory=True)
        self.assertEqual(channel.next("basic.deliver").body, b"answer")
        self.assertEqual(server.pending(), [])
        server.send("tx.commit")
        self.assertEqual(server.next("basic.return").body, b"answer")
        server.next("tx.commit-ok")
        self.assertEqual(channel.pending(), [])

    def test_C161_only_the_default_exchange_answers(self):
        channel = self.asker()
        address = self.address(channel)
        server = self.confirming()
        server.publish(b"x", exchange="amq.direct", routing_key=address, mandatory=True)
        server.next("basic.return")
        server.next("basic.ack")
        self.assertEqual(channel.pending(), [])

    def test_C161_it_needs_no_right_to_wait_and_one_to_answer(self):
        login = self.user(configure="", write="", read="")
        channel = self.channel(**login)
        channel.call("basic.consume", queue=NAME, no_ack=True)
        channel.publish(b"x", routing_key="k", properties={"reply_to": NAME})
        event = channel.next("channel.close")
        self.assertEqual((event.code, event.text[:14]), (403, "ACCESS_REFUSED"))

    def test_C162_no_other_method_finds_it(self):
        channel = self.asker()
        address = self.address(channel)
        server = self.channel()
        for name in (NAME, address):
            for method, more in (("basic.get", {}), ("queue.purge", {}),
                                 ("queue.bind", {"exchange": "amq.direct"})):
                server.send(method, queue=name, **more)
                self.missing(server, method, name)
            server.call("queue.unbind", queue=name, exchange="amq.direct")
            server.call("queue.delete", queue=name)
        server.send("basic.consume", queue=address, no_ack=True)
        self.missing(server, "basic.consume", address)
