# SPDX-License-Identifier: Apache-2.0
"""Declares and binds that a client sends without waiting for the answers before."""
from semantics.base import Case

# More than a channel has under way at once, so that some have to wait their turn.
MANY = 300


class Pipelined(Case):
    def events(self, channel, count):
        return [channel.next() for _ in range(count)]

    def there(self, queue):
        """Whether it exists, asked on a channel of its own."""
        channel = self.channel()
        channel.send("queue.declare", queue=queue, passive=True)
        return channel.next().name == "queue.declare-ok"

    def declare_bad(self, channel, queue):
        """What is not equivalent: the queue is not durable."""
        channel.send("queue.declare", queue=queue, durable=True)

    def test_they_are_answered_in_order_each_with_its_own_answer(self):
        channel = self.channel()
        exchange = self.exchange(channel=channel)
        names = [self.queue("q%d" % n) for n in range(MANY)]
        for name in names:
            channel.send("queue.declare", queue=name)
            channel.send("queue.bind", queue=name, exchange=exchange, routing_key=name)
            channel.send("exchange.declare", exchange=exchange, type="direct")
        for name in names:
            first, second, third = self.events(channel, 3)
            self.assertEqual((first.name, first.queue), ("queue.declare-ok", name))
            self.assertEqual((second.name, third.name), ("queue.bind-ok", "exchange.declare-ok"))
        channel.call("confirm.select")
        for name in names[:3]:
            channel.publish(b"x", exchange=exchange, routing_key=name, mandatory=True)
        channel.confirmed(3)

    def test_none_is_done_behind_one_that_fails(self):
        channel = self.channel()
        plain = self.queue("plain", channel=channel)
        before, behind = self.queue("before"), [self.queue("behind%d" % n) for n in range(5)]
        channel.send("queue.declare", queue=before)
        self.declare_bad(channel, plain)
        for name in behind:
            channel.send("queue.declare", queue=name)
        self.assertEqual(channel.next().queue, before)
        event = channel.next()
        self.assertEqual((event.name, event.code), ("channel.close", 406))
        self.assertTrue(self.there(before))
        self.assertEqual([self.there(name) for name in behind], [False] * len(behind))
        # The same number again is another channel, which may do all of it.
        channel.send("channel.close-ok")
        channel.call("channel.open")
        for name in behind:
            channel.send("queue.declare", queue=name)
        self.assertEqual([event.queue for event in self.events(channel, len(behind))], behind)

    def test_the_first_one_may_be_the_one_that_fails(self):
        channel, other = self.channel(), self.channel()
        plain = self.queue("plain", channel=channel)
        names = [self.queue("q%d" % n) for n in range(3)]
        for _ in range(2):
            self.declare_bad(channel, plain)
            channel.send("queue.declare", queue=names[0])
            other.send("queue.declare", queue=names[1])
            other.send("queue.declare", queue=names[2])
            self.assertEqual(channel.next("channel.close").code, 406)
            self.assertEqual([event.queue for event in self.events(other, 2)], names[1:])
            self.assertFalse(self.there(names[0]))
            channel.send("channel.close-ok")
            channel.call("channel.open")

    def test_one_channel_that_fails_is_not_another(self):
        connection = self.connect()
        one, two = connection.channel(1), connection.channel(2)
        plain = self.queue("plain", channel=one)
        names = [self.queue("q%d" % n) for n in range(20)]
        self.declare_bad(one, plain)
        for name in names:
            two.send("queue.declare", queue=name)
            one.send("queue.declare", queue=name + ".not")
        self.assertEqual([event.queue for event in self.events(two, len(names))], names)
        self.assertEqual(one.next("channel.close").code, 406)
        self.assertFalse(self.there(names[-1] + ".not"))

    def test_queues_that_are_there_are_answered_with_their_counts(self):
        channel = self.confirming()
        full = self.queue("full", channel=channel)
        self.fill(channel, full, [b"1", b"2"])
        names = [self.queue("q%d" % n) for n in range(4)]
        for name in names[:2] + [full] + names[2:] + [full, names[0]]:
            channel.send("queue.declare", queue=name)
        found = [(event.queue, event.message_count) for event in self.events(channel, 7)]
        self.assertEqual(found, [(names[0], 0), (names[1], 0), (full, 2), (names[2], 0), (names[3], 0),
                                 (full, 2), (names[0], 0)])

    def test_the_last_queue_is_that_of_the_declare_before(self):
        channel = self.confirming()
        names = [self.queue("q%d" % n) for n in range(3)]
        channel.send("queue.declare", queue=names[0])
        channel.send("queue.declare", queue=names[1])
        channel.send("queue.bind", queue="", exchange="amq.direct", routing_key=names[1])
        channel.send("queue.declare", queue=names[2])
        channel.send("queue.bind", queue="", exchange="amq.direct", routing_key=names[2])
        self.events(channel, 5)
        for name in names[1:]:
            channel.publish(name.encode(), exchange="amq.direct", routing_key=name, mandatory=True)
            channel.confirmed()
            got = channel.call("basic.get", queue=name, no_ack=True)
            self.assertEqual(got.body, name.encode())

    def test_without_answers_they_are_done_as_well(self):
        channel = self.channel()
        names = [self.queue("q%d" % n) for n in range(MANY)]
        for name in names:
            channel.send("queue.declare", queue=name, nowait=True)
        self.assertEqual(channel.call("queue.declare", queue=names[-1]).queue, names[-1])
        for name in names[::50]:
            self.assertEqual(self.count(channel, name), 0)

    def test_a_close_behind_them_comes_after_them(self):
        names = [self.queue("q%d" % n) for n in range(MANY)]
        channel = self.channel()
        for name in names[:20]:
            channel.send("queue.declare", queue=name)
        channel.send("channel.close", code=200, text="", class_id=0, method_id=0)
        self.assertEqual([event.queue for event in self.events(channel, 20)], names[:20])
        self.assertEqual(channel.next().name, "channel.close-ok")
        connection = self.connect()
        channel = connection.channel()
        for name in names:
            channel.send("queue.declare", queue=name)
        connection.send(0, "connection.close", code=200, text="", class_id=0, method_id=0)
        self.assertEqual(connection.next(0).name, "connection.close-ok")
        for name in names[::50] + names[-1:]:
            self.assertTrue(self.there(name), name)

    def test_their_connection_may_vanish_meanwhile(self):
        for count in (1, 10, MANY):
            channel = self.channel()
            for n in range(count):
                channel.send("queue.declare", queue=self.prefix + "x%d" % n, exclusive=True)
            channel.connection.drop()
        channel = self.channel()
        name = self.queue("last", channel=channel)
        self.assertEqual(self.count(channel, name), 0)
