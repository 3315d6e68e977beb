# SPDX-License-Identifier: Apache-2.0
"""Quorum queues where they differ from classic ones: C68, C119, C120, C123, C130, C132, C133, C148, C159."""
from amqp_raw import method_frame
from semantics.base import Case

LIMIT = "x-delivery-limit"


class Quorum(Case):
    def setUp(self):
        super().setUp()
        if not self.v40:
            self.skipTest("3.10 counts, orders and limits otherwise")
        self.ch = self.confirming()

    def quorum(self, name="q", **arguments):
        return self.queue(name, channel=self.ch, durable=True,
                          arguments={"x-queue-type": "quorum", **arguments})

    def put(self, queue, body, **properties):
        self.ch.publish(body, routing_key=queue, properties=properties)
        self.ch.confirmed()

    def take(self, queue, no_ack=False):
        return self.ch.call("basic.get", queue=queue, no_ack=no_ack)

    def back(self, channel, event):
        channel.send("basic.nack", delivery_tag=event.delivery_tag, requeue=True)

    def text(self, queue, rest):
        return "queue '%s' in vhost '/'%s" % (queue, rest)

    # consumers

    def test_C119_the_exclusive_flag_is_ignored(self):
        queue = self.quorum()
        first, second = self.channel(), self.channel()
        first.call("basic.consume", queue=queue, consumer_tag="a", exclusive=True)
        second.call("basic.consume", queue=queue, consumer_tag="b", exclusive=True)

    def test_what_comes_back_before_a_cancel_stays_there(self):
        """RabbitMQ's channel gives back what a cancelled consumer is still sent."""
        queue = self.quorum()
        self.ch.publish(b"x", routing_key=queue)
        channel = self.channel()
        channel.call("basic.consume", queue=queue, consumer_tag="c")
        tag = channel.next("basic.deliver").delivery_tag
        channel.connection.write(
            method_frame(channel.number, "basic.reject", delivery_tag=tag, requeue=True) +
            method_frame(channel.number, "basic.cancel", consumer_tag="c"))
        channel.next("basic.cancel-ok")
        self.settled(channel, queue, 1)
        event = self.take(queue)
        self.assertEqual((event.body, event.redelivered), (b"x", True))

    def test_C123_a_shared_prefetch_is_refused(self):
        queue = self.quorum()
        for no_ack in (False, True):
            taker = self.channel()
            taker.call("basic.qos", prefetch_count=5, global_=True)
            taker.send("basic.consume", queue=queue, consumer_tag="a", no_ack=no_ack)
            self.connection_error(taker.connection, 540, "basic.consume",
                                  "NOT_IMPLEMENTED - " + self.text(queue, " does not support global qos"),
                                  channel=taker.number)

    def test_C120_a_higher_priority_takes_over(self):
        queue = self.quorum(**{"x-single-active-consumer": True})
        low, high = self.channel(), self.channel()
        low.call("basic.qos", prefetch_count=1)
        low.call("basic.consume", queue=queue, consumer_tag="low", arguments={"x-priority": 1})
        self.put(queue, b"1")
        self.put(queue, b"2")
        event = low.next("basic.deliver")
        high.call("basic.consume", queue=queue, consumer_tag="high", arguments={"x-priority": 2})
        # It waits until the active one has acknowledged all that it has.
        self.assertEqual(high.pending(), [])
        low.send("basic.ack", delivery_tag=event.delivery_tag)
        self.assertEqual(high.next("basic.deliver").body, b"2")
        self.assertEqual(low.pending(), [])

    def test_C120_no_get_from_a_queue_with_a_single_active_consumer(self):
        queue = self.quorum(**{"x-single-active-consumer": True})
        self.ch.send("basic.get", queue=queue)
        self.channel_error(self.ch, 405, "basic.get",
                           "RESOURCE_LOCKED - cannot obtain access to locked "
                           + self.text(queue, ". basic.get operations are not supported by quorum queues "
                                              "with single active consumer"))

    # what comes back

    def test_C130_returned_ones_are_served_first_in_the_order_of_return(self):
        queue = self.quorum()
        for body in (b"1", b"2", b"3", b"4"):
            self.put(queue, body)
        events = [self.take(queue) for _ in range(3)]
        for index in (1, 0, 2):
            self.back(self.ch, events[index])
        self.assertEqual([self.take(queue, no_ack=True).body for _ in range(4)], [b"2", b"1", b"3", b"4"])

    def test_C132_the_second_delivery_tells_how_many_there_were(self):
        queue = self.quorum()
        self.put(queue, b"x", headers={"mine": 7}, content_type="a/b", delivery_mode=2)
        counts = []
        for _ in range(4):
            event = self.take(queue)
            counts.append(event.properties["headers"].get("x-delivery-count"))
            self.assertEqual(event.properties["headers"]["mine"], 7)
            self.assertEqual(event.properties["content_type"], "a/b")
            self.assertEqual(event.redelivered, counts[-1] is not None)
            self.back(self.ch, event)
        self.assertEqual(counts, [None, 1, 2, 3])

    def test_C132_a_message_without_properties_gets_them(self):
        queue = self.quorum()
        self.put(queue, b"y" * 300000)
        taker = self.channel()
        taker.call("basic.consume", queue=queue)
        event = taker.next("basic.deliver")
        self.assertNotIn("headers", event.properties)
        self.back(taker, event)
        event = taker.next("basic.deliver")
        self.assertEqual(event.properties["headers"], {"x-delivery-count": 1})
        self.assertEqual(event.body, b"y" * 300000)

    def deliveries_until_gone(self, queue):
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=1)
        taker.call("basic.consume", queue=queue)
        count = 0
        self.put(queue, b"last")
        while True:
            event = taker.next("basic.deliver")
            if event.body == b"last":
                return count
            count += 1
            self.back(taker, event)

    def test_C132_the_limit_is_20_returns(self):
        queue = self.quorum()
        self.put(queue, b"x")
        self.assertEqual(self.deliveries_until_gone(queue), 21)

    def test_C132_a_limit_of_its_own_and_a_dead_letter(self):
        """Also S82."""
        dead = self.queue("dead", channel=self.ch)
        queue = self.quorum(**{LIMIT: 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        self.put(queue, b"x")
        self.assertEqual(self.deliveries_until_gone(queue), 3)
        self.settled(self.ch, dead, 1)
        event = self.take(dead)
        self.assertEqual(event.properties["headers"]["x-first-death-reason"], "delivery_limit")

    def test_C132_without_a_limit_it_comes_back_for_ever(self):
        queue = self.quorum(**{LIMIT: -1})
        self.put(queue, b"x")
        for _ in range(50):
            self.back(self.ch, self.take(queue))
        self.assertEqual(self.take(queue).properties["headers"]["x-delivery-count"], 50)

    def test_C133_the_death_of_a_channel_counts_and_reject_does(self):
        queue = self.quorum()
        self.put(queue, b"x")
        taker = self.channel()
        taker.call("basic.get", queue=queue)
        taker.call("channel.close", code=200, text="", class_id=0, method_id=0)
        self.settled(self.ch, queue, 1)
        event = self.take(queue)
        self.assertEqual(event.properties["headers"]["x-delivery-count"], 1)
        self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=True)
        self.assertEqual(self.take(queue).properties["headers"]["x-delivery-count"], 2)

    # lengths and priorities

    def test_C148_one_more_is_let_in_before_publishes_are_refused(self):
        queue = self.quorum(**{"x-max-length": 2, "x-overflow": "reject-publish"})
        answers = []
        for number in range(5):
            self.ch.publish(b"%d" % number, routing_key=queue)
            answers.append(self.ch.next().name)
        self.assertEqual(answers, ["basic.ack"] * 3 + ["basic.nack"] * 2)
        self.assertEqual(self.count(self.ch, queue), 3)

    def test_C159_two_of_a_high_priority_for_one_of_a_normal_one(self):
        queue = self.quorum()
        for body, priority in ((b"n1", 0), (b"n2", 4), (b"h1", 5), (b"h2", 255), (b"h3", 9), (b"h4", 5)):
            self.put(queue, body, priority=priority)
        self.assertEqual([self.take(queue, no_ack=True).body for _ in range(6)],
                         [b"h1", b"h2", b"n1", b"h3", b"h4", b"n2"])

    # what RabbitMQ's do not know

    def test_C68_deleting_with_conditions_is_not_implemented(self):
        queue = self.quorum()
        taker = self.channel()
        taker.send("queue.delete", queue=queue, if_empty=True)
        self.connection_error(taker.connection, 540, "queue.delete",
                              "NOT_IMPLEMENTED - cannot delete %s queue.delete operations with if-empty flag "
                              "set are not supported by quorum queues" % self.text(queue, "."),
                              channel=taker.number)
