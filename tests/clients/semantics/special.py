# SPDX-License-Identifier: Apache-2.0
"""Queues of special kinds, and what is promised: C105, C107, C120, C134, C149, C150, C158."""
import time

from amqp_raw import DEADLINE_S
from semantics.base import Case


class Priorities(Case):
    def prioritised(self, channel, levels, *priorities, name="q"):
        queue = self.queue(name, channel=channel, arguments={"x-max-priority": levels})
        for number, priority in enumerate(priorities):
            properties = {} if priority is None else {"priority": priority}
            channel.publish(b"%d" % number, routing_key=queue, properties=properties)
        channel.confirmed(len(priorities))
        return queue

    def order(self, channel, queue):
        return [int(channel.call("basic.get", queue=queue, no_ack=True).body)
                for _ in range(self.count(channel, queue))]

    def test_C158_higher_first_missing_is_0_too_high_is_the_highest(self):
        channel = self.confirming()
        queue = self.prioritised(channel, 5, None, 1, 5, 0, 200, 3, 5, 1)
        self.assertEqual(self.order(channel, queue), [2, 4, 6, 5, 1, 7, 0, 3])

    def test_C158_the_priority_itself_stays_as_it_was_sent(self):
        channel = self.confirming()
        queue = self.prioritised(channel, 5, 200)
        self.assertEqual(channel.call("basic.get", queue=queue).properties, {"priority": 200})

    def test_C158_a_queue_without_levels_ignores_priorities(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        for number, priority in enumerate((0, 9, 4)):
            channel.publish(b"%d" % number, routing_key=queue, properties={"priority": priority})
        channel.confirmed(3)
        self.assertEqual(self.order(channel, queue), [0, 1, 2])

    def test_C158_what_is_prefetched_is_not_overtaken(self):
        channel = self.confirming()
        queue = self.prioritised(channel, 5, 1, 1)
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=1)
        taker.call("basic.consume", queue=queue)
        first = taker.next("basic.deliver")
        channel.publish(b"2", routing_key=queue, properties={"priority": 5})
        channel.confirmed()
        taker.send("basic.ack", delivery_tag=first.delivery_tag)
        self.assertEqual([first.body, taker.next("basic.deliver").body], [b"0", b"2"])

    def test_C158_what_comes_back_keeps_its_level_and_place(self):
        channel = self.confirming()
        queue = self.prioritised(channel, 5, 1, 5, 5, 1)
        tags = [channel.call("basic.get", queue=queue).delivery_tag for _ in range(3)]
        channel.send("basic.nack", delivery_tag=tags[-1], multiple=True, requeue=True)
        self.settled(channel, queue, 4)
        self.assertEqual(self.order(channel, queue), [1, 2, 0, 3])


class SingleActive(Case):
    def consumers(self, channel, *priorities):
        """A queue with one active consumer, and consumers on channels of their own."""
        queue = self.queue(channel=channel, arguments={"x-single-active-consumer": True})
        out = []
        for priority in priorities:
            taker = self.channel()
            taker.call("basic.consume", queue=queue, consumer_tag="t",
                       arguments={"x-priority": priority})
            out.append(taker)
        return queue, out

    def test_C120_the_first_is_active_and_the_others_wait(self):
        channel = self.confirming()
        queue, (first, second, third) = self.consumers(channel, 0, 5, 0)
        self.fill(channel, queue, [b"1", b"2", b"3"])
        got = self.deliveries(first, 3)
        self.assertEqual([second.pending(), third.pending()], [[], []])
        self.assertEqual(channel.call("queue.declare", queue=queue, passive=True).consumer_count, 3)
        first.send("basic.ack", delivery_tag=got[0].delivery_tag)
        first.call("basic.cancel", consumer_tag="t")
        self.fill(channel, queue, [b"4"])
        self.assertEqual(second.next("basic.deliver").body, b"4")   # the higher priority is next
        second.connection.drop()
        self.assertEqual(third.next("basic.deliver").body, b"4")
        first.connection.drop()                                     # and gives back what it held
        self.assertEqual([e.body for e in self.deliveries(third, 2)], [b"2", b"3"])

    def test_C120_an_exclusive_consumer_is_refused(self):
        """Also C119."""
        channel = self.confirming()
        queue, _ = self.consumers(channel)
        channel.send("basic.consume", queue=queue, exclusive=True)
        self.channel_error(channel, 403, "basic.consume",
                           "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use" % queue)

    def test_C120_get_is_served_as_ever(self):
        channel = self.confirming()
        queue, _ = self.consumers(channel)
        self.fill(channel, queue, [b"1"])
        self.assertEqual(channel.call("basic.get", queue=queue).body, b"1")


class Timeouts(Case):
    def test_C134_a_delivery_that_is_never_acknowledged(self):
        """RabbitMQ looks once a minute, and takes a timeout of the queue from 3.12 on."""
        if not self.lepus:
            self.skipTest("takes minutes: seen once by hand, 406 with this text")
        channel = self.confirming()
        queue = self.queue(channel=channel, arguments={"x-consumer-timeout": 200})
        self.fill(channel, queue, [b"1"])
        taker = self.channel()
        taker.call("basic.consume", queue=queue)
        event = taker.next("basic.deliver")
        self.channel_error(
            taker, 406, None,
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value "
            "used: 200 ms. This timeout value can be configured, see consumers doc guide to learn "
            "more")
        self.settled(channel, queue, 1)
        again = channel.call("basic.get", queue=queue)
        self.assertEqual((event.body, again.body, again.redelivered), (b"1", b"1", True))


class Policies(Case):
    def dropped_to(self, channel, queue, count=5):
        """How many of `count` messages the queue keeps; None while it keeps all."""
        channel.call("queue.purge", queue=queue)
        self.fill(channel, queue, [b"%d" % n for n in range(count)])
        return self.count(channel, queue)

    def until(self, wanted, look):
        """A policy reaches its queues soon, not at once."""
        until = time.monotonic() + DEADLINE_S
        while True:
            found = look()
            if found == wanted:
                return
            self.assertLess(time.monotonic(), until, "%r, not %r" % (found, wanted))

    def test_C149_a_policy_can_be_below_the_argument_and_goes_again(self):
        channel = self.confirming()
        queue = self.queue(channel=channel, arguments={"x-max-length": 3})
        name = self.policy('{"max-length":1}', queue)
        self.until(1, lambda: self.dropped_to(channel, queue))
        self.ctl("clear_policy", name)
        self.until(3, lambda: self.dropped_to(channel, queue))

    def test_C149_a_dead_letter_exchange_by_policy(self):
        """Also S83, S86: what is dead is looked at, and sent where it was meant for."""
        channel = self.confirming()
        dead, queue = self.queue("dead", channel=channel), self.queue(channel=channel)
        self.policy('{"dead-letter-exchange":"","dead-letter-routing-key":"%s","max-length":0}'
                    % dead, queue)
        self.until(0, lambda: self.dropped_to(channel, queue))
        self.until(True, lambda: self.count(channel, dead) > 0)
        event = channel.call("basic.get", queue=dead, no_ack=True)
        death = event.properties["headers"]["x-death"][0]
        self.assertEqual((death["queue"], death["exchange"], death["routing-keys"]),
                         (queue, "", [queue]))
        other = self.queue("other", channel=channel)
        channel.publish(event.body, routing_key=other, properties=event.properties)
        channel.confirmed()
        self.assertEqual(channel.call("basic.get", queue=other).body, event.body)


class Safety(Case):
    def test_C105_an_ack_says_that_every_queue_has_it(self):
        """Also S2, S65, S67: it is kept when its publisher is gone."""
        channel = self.confirming()
        queues = [self.queue(str(n), channel=channel) for n in range(5)]
        exchange = self.exchange(channel=channel, type="fanout")
        for queue in queues:
            channel.call("queue.bind", queue=queue, exchange=exchange)
        for number in range(20):
            channel.publish(b"x", exchange=exchange, properties={"delivery_mode": 2})
            channel.confirmed()
            self.assertEqual([self.count(channel, q) for q in queues], [number + 1] * 5)
        channel.connection.drop()
        other = self.channel()
        self.assertEqual([self.count(other, q) for q in queues], [20] * 5)

    def test_C107_confirms_do_not_wait_for_more_messages(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        began = time.monotonic()
        for _ in range(50):
            self.fill(channel, queue, [b"x"])
        self.assertLess((time.monotonic() - began) / 50, 0.2 if self.lepus else 1.0)

    def test_C150_dead_letters_are_published_without_confirm(self):
        """The queue that refuses a dead letter loses it, and the source goes on."""
        channel = self.confirming()
        full = self.queue("full", channel=channel, arguments={
            "x-max-length": 0, "x-overflow": "reject-publish"})
        queue = self.queue(channel=channel, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": full})
        self.fill(channel, queue, [b"1", b"2"])
        held = channel.call("basic.get", queue=queue)
        channel.send("basic.reject", delivery_tag=held.delivery_tag, requeue=False)
        self.assertEqual(channel.call("basic.get", queue=queue).body, b"2")
        self.assertEqual(self.count(channel, full), 0)
        self.settled(channel, queue, 0)
