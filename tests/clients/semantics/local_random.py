# SPDX-License-Identifier: Apache-2.0
"""Exchanges of type x-local-random: one of the queues that are bound, whatever the key."""
import unittest

from semantics.base import Case

MESSAGES = 90


class LocalRandom(Case):
    def setUp(self):
        super().setUp()
        if not self.v40:
            raise unittest.SkipTest("the type is RabbitMQ 4.0's")
        self.open = self.confirming()

    def declare(self, **arguments):
        return self.exchange(channel=self.open, type="x-local-random", **arguments)

    def bind(self, exchange, names):
        queues = [self.queue(name, channel=self.open) for name in names]
        for queue in queues:
            self.open.call("queue.bind", queue=queue, exchange=exchange, routing_key="")
        return queues

    def publish(self, exchange, count):
        for n in range(count):
            self.open.publish(b"%d" % n, exchange=exchange, routing_key="key %d" % n, mandatory=True)
        self.open.confirmed(count)

    def counts(self, queues):
        return [self.count(self.open, queue) for queue in queues]

    def test_each_message_goes_to_one_and_each_queue_gets_some(self):
        exchange = self.declare(durable=True)
        queues = self.bind(exchange, "abc")
        self.publish(exchange, MESSAGES)
        found = self.counts(queues)
        self.assertEqual(sum(found), MESSAGES)
        self.assertNotIn(0, found)
        self.open.call("queue.unbind", queue=queues[0], exchange=exchange, routing_key="")
        self.open.call("queue.delete", queue=queues[1])
        self.publish(exchange, 10)
        self.assertEqual(self.counts([queues[0], queues[2]]), [found[0], found[2] + 10])

    def test_copies_do_not_go_to_others(self):
        exchange = self.declare()
        queues = self.bind(exchange, "ab")
        self.open.publish(b"x", exchange=exchange, routing_key="a",
                          properties={"headers": {"CC": ["b", "c"]}})
        self.open.confirmed()
        self.assertEqual(sum(self.counts(queues)), 1)

    def test_without_queues_it_is_returned_or_goes_to_the_alternate(self):
        exchange = self.declare()
        self.open.publish(b"x", exchange=exchange, routing_key="any", mandatory=True)
        event = self.open.next("basic.return")
        self.assertEqual((event.code, event.text), (312, "NO_ROUTE"))
        self.open.confirmed()
        other = self.exchange("other", channel=self.open, type="fanout")
        queue = self.queue(channel=self.open)
        self.open.call("queue.bind", queue=queue, exchange=other, routing_key="")
        exchange = self.exchange("y", channel=self.open, type="x-local-random",
                                 arguments={"alternate-exchange": other})
        self.publish(exchange, 3)
        self.assertEqual(self.count(self.open, queue), 3)

    def refused(self, text, method, **arguments):
        channel = self.channel()
        channel.send(method, **arguments)
        self.channel_error(channel, 406, method, "PRECONDITION_FAILED - " + text)

    def test_it_binds_classic_queues_by_no_key(self):
        exchange, queue = self.declare(), self.queue(channel=self.open)
        quorum = self.queue("quorum", channel=self.open, durable=True,
                            arguments={"x-queue-type": "quorum"})
        fanout = self.exchange("fan", channel=self.open, type="fanout")
        self.refused("Non empty binding 'key' key not permitted", "queue.bind", queue=queue,
                     exchange=exchange, routing_key="key")
        self.refused("Non empty binding 'key' key not permitted", "exchange.bind",
                     destination=fanout, source=exchange, routing_key="key")
        self.refused("Destination not found", "exchange.bind", destination=fanout, source=exchange,
                     routing_key="")
        self.refused("Queue type rabbit_quorum_queue not valid for this exchange type",
                     "queue.bind", queue=quorum, exchange=exchange, routing_key="")
        self.open.call("exchange.bind", destination=exchange, source=fanout, routing_key="")
        self.open.call("queue.bind", queue=queue, exchange=exchange, routing_key="")
        self.publish(fanout, 2)
        self.assertEqual(self.count(self.open, queue), 2)
