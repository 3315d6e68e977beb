# SPDX-License-Identifier: Apache-2.0
"""Publish, confirm, consume, ack and requeue: C92 to C140."""
import amqp_raw
from amqp_raw import Closed
from semantics.base import Case


class Publish(Case):
    def test_C92_immediate_540(self):
        channel = self.channel()
        channel.publish(b"x", routing_key="nobody", immediate=True)
        self.connection_error(channel.connection, 540, "basic.publish",
                              "NOT_IMPLEMENTED - immediate=true", channel=1)

    def test_C95_unroutable_is_dropped_and_acked(self):
        """Also S17."""
        channel = self.confirming()
        channel.publish(b"x", exchange="amq.direct", routing_key=self.prefix)
        channel.publish(b"x", routing_key=self.prefix)
        channel.confirmed(2)
        self.assertEqual(channel.pending(), [])

    def test_C96_unroutable_mandatory_is_returned_before_its_ack(self):
        """Also S18."""
        channel = self.confirming()
        properties = {"headers": {"a": 1, "b": [True, None, "c"]}, "message_id": "m",
                      "delivery_mode": 2, "timestamp": 2**40, "priority": 3}
        body = b"body " * 30000
        channel.publish(body, exchange="amq.direct", routing_key=self.prefix, mandatory=True,
                        properties=properties)
        event = channel.next("basic.return")
        self.assertEqual((event.code, event.text, event.exchange, event.routing_key),
                         (312, "NO_ROUTE", "amq.direct", self.prefix))
        self.assertEqual(event.body, body)
        self.assertEqual(event.__dict__["properties"], properties)
        self.assertEqual(channel.next("basic.ack").delivery_tag, 1)
        queue = self.queue(channel=channel)
        channel.publish(b"x", routing_key=queue, mandatory=True)
        self.assertEqual(channel.next("basic.ack").delivery_tag, 2)

    def test_C98_exchange_to_exchange_gives_each_queue_one_copy(self):
        """Also S23."""
        channel = self.confirming()
        queue, other = self.queue(channel=channel), self.queue("other", channel=channel)
        ring = [self.exchange("x%d" % n, channel=channel, type="fanout") for n in range(3)]
        for source, destination in zip(ring, ring[1:] + ring[:1]):
            channel.call("exchange.bind", source=source, destination=destination)
        for exchange in ring:
            channel.call("queue.bind", queue=queue, exchange=exchange)
        channel.call("queue.bind", queue=other, exchange=ring[2])
        channel.publish(b"x", exchange=ring[0], routing_key="key")
        channel.confirmed()
        self.assertEqual((self.count(channel, queue), self.count(channel, other)), (1, 1))
        event = channel.call("basic.get", queue=other)
        self.assertEqual((event.exchange, event.routing_key), (ring[0], "key"))
        channel.call("exchange.unbind", source=ring[1], destination=ring[2])
        channel.publish(b"x", exchange=ring[0])
        channel.confirmed()
        self.assertEqual((self.count(channel, queue), self.count(channel, other)), (2, 0))

    def test_C100_publish_to_a_missing_exchange_404_loses_what_follows(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        channel.publish(b"1", exchange=self.prefix + "no", routing_key="k")
        channel.publish(b"2", routing_key=queue)
        self.channel_error(channel, 404, "basic.publish",
                           "NOT_FOUND - no exchange '%sno' in vhost '/'" % self.prefix)
        self.assertEqual(self.count(channel, queue), 0)

    def test_C101_order_of_one_channel_is_kept(self):
        """Also S16."""
        channel = self.confirming()
        queues = [self.queue(str(n), channel=channel) for n in range(4)]
        for queue in queues:
            channel.call("queue.bind", queue=queue, exchange="amq.fanout")
        wanted = [b"%d" % n for n in range(500)]
        for body in wanted:
            channel.publish(body, exchange="amq.fanout")
        channel.confirmed(500)
        for queue in queues:
            consumer = self.channel()
            consumer.call("basic.consume", queue=queue, no_ack=True)
            self.assertEqual([e.body for e in self.deliveries(consumer, 500)], wanted)

    def test_C101_properties_and_bodies_arrive_as_sent(self):
        """Also S38, S47, S72."""
        channel = self.channel(frame_max=4096)
        queue = self.queue(channel=channel)
        channel.call("basic.consume", queue=queue, no_ack=True)
        everything = {name.split(":")[0]: "text" for name in amqp_raw.PROPERTIES}
        everything.update(headers={"deep": {"er": [1, 2**40, 1.5, {"x": b"y".decode()}]}},
                          delivery_mode=1, priority=9, timestamp=2**63, user_id="guest",
                          expiration="60000")
        for size in (0, 1, 4087, 4088, 4089, 8176, 100000, 1 << 20):
            body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
            channel.publish(body, routing_key=queue, properties=everything)
            event = channel.next("basic.deliver")
            self.assertEqual(event.body, body)
            self.assertEqual(event.__dict__["properties"], everything)


class Confirms(Case):
    def test_C103_numbers_start_at_1_with_select_and_count_unroutable(self):
        """Also S67."""
        channel = self.channel()
        queue = self.queue(channel=channel)
        channel.publish(b"before", routing_key=queue)
        channel.call("confirm.select")
        for routing_key in (queue, self.prefix + "nobody", queue):
            channel.publish(b"x", routing_key=routing_key)
        tags = set()
        while tags != {1, 2, 3}:
            event = channel.next("basic.ack")
            tags |= set(range(1, event.delivery_tag + 1)) if event.multiple \
                else {event.delivery_tag}
            self.assertLessEqual(max(tags), 3)
        self.assertEqual(channel.pending(), [])

    def test_C103_what_is_confirmed_is_said_before_the_channel_closes(self):
        """As one write, so that what closes the channel is there before the first confirm is out."""
        def publish(exchange):
            return (amqp_raw.method_frame(1, "basic.publish", exchange=exchange, routing_key="")
                    + amqp_raw.content_frames(1, b"x"))
        for end, answer in ((publish(self.prefix + "no"), "channel.close"),
                            (amqp_raw.method_frame(1, "channel.close", code=200), "channel.close-ok")):
            channel = self.channel()
            channel.call("confirm.select")
            channel.connection.write(publish("") + end + publish(""))
            ack = channel.next("basic.ack")
            self.assertEqual(ack.delivery_tag, 1)
            channel.next(answer)

    def test_C104_multiple_acks_cover_every_tag_once(self):
        channel = self.confirming()
        queues = [self.queue(str(n), channel=channel) for n in range(4)]
        single, covered = set(), 0
        for number in range(2000):
            channel.publish(b"x", routing_key=queues[number % 4])
        while len(single | set(range(1, covered + 1))) < 2000:
            event = channel.next("basic.ack")
            if event.multiple:
                self.assertGreater(event.delivery_tag, covered)
                covered = event.delivery_tag
            else:
                self.assertNotIn(event.delivery_tag, single)
                self.assertGreater(event.delivery_tag, covered)
                single.add(event.delivery_tag)
        self.assertEqual(channel.pending(), [])

    def test_C113_second_select_does_not_reset(self):
        channel = self.confirming()
        channel.publish(b"x", routing_key=self.prefix)
        self.assertEqual(channel.next("basic.ack").delivery_tag, 1)
        channel.call("confirm.select")
        channel.publish(b"x", routing_key=self.prefix)
        self.assertEqual(channel.next("basic.ack").delivery_tag, 2)


class Consume(Case):
    def stocked(self, *bodies, **options):
        """A channel in confirm mode and a queue holding `bodies`."""
        channel = self.confirming(**options)
        queue = self.queue(channel=channel)
        self.fill(channel, queue, [str(b).encode() for b in bodies])
        return channel, queue

    def test_C114_consume_ok_first_and_nothing_after_cancel_ok(self):
        """Also S55."""
        channel, queue = self.stocked(*range(200))
        channel.send("basic.consume", queue=queue, consumer_tag="t", no_ack=True)
        self.assertEqual(channel.next("basic.consume-ok").consumer_tag, "t")
        channel.next("basic.deliver")
        channel.send("basic.cancel", consumer_tag="t")
        while channel.next().name != "basic.cancel-ok":
            pass
        self.fill(channel, queue, [b"later"])
        self.assertEqual([e for e in channel.pending() if e.name == "basic.deliver"], [])

    def test_C115_duplicate_consumer_tag_530(self):
        channel, queue = self.stocked()
        channel.call("basic.consume", queue=queue, consumer_tag="t")
        channel.connection.channel(2).call("basic.consume", queue=queue, consumer_tag="t")
        channel.send("basic.consume", queue=queue, consumer_tag="t")
        self.connection_error(channel.connection, 530, "basic.consume", "NOT_ALLOWED - attempt to "
                              "reuse consumer tag 't'", channel=1)

    def test_C116_cancel_of_an_unknown_tag_is_ok(self):
        reply = self.channel().call("basic.cancel", consumer_tag="nobody")
        self.assertEqual(reply.consumer_tag, "nobody")

    def test_C117_unacked_outlive_their_consumer(self):
        channel, queue = self.stocked(1, 2)
        channel.call("basic.consume", queue=queue, consumer_tag="t")
        first, second = self.deliveries(channel, 2)
        channel.call("basic.cancel", consumer_tag="t")
        self.settled(channel, queue, 0)
        channel.send("basic.ack", delivery_tag=first.delivery_tag)
        channel.send("basic.nack", delivery_tag=second.delivery_tag, requeue=True)
        self.settled(channel, queue, 1)

    def test_C118_queue_deletion_cancels_consumers_that_can_hear_it(self):
        channel, queue = self.stocked()
        channel.call("basic.consume", queue=queue, consumer_tag="own")
        deaf = self.channel(capabilities=())
        deaf.call("basic.consume", queue=queue, consumer_tag="deaf")
        other = self.channel()
        other.call("basic.consume", queue=queue, consumer_tag="other")
        channel.call("queue.delete", queue=queue)
        for listener, tag in ((channel, "own"), (other, "other")):
            event = listener.next("basic.cancel")
            self.assertEqual((event.consumer_tag, event.nowait), (tag, True))
        self.assertEqual(deaf.pending(), [])

    def test_C119_exclusive_consumer_403(self):
        channel, queue = self.stocked()
        text = "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use" % queue
        channel.call("basic.consume", queue=queue, exclusive=True, consumer_tag="t")
        for exclusive in (False, True):
            other = self.channel()
            other.send("basic.consume", queue=queue, exclusive=exclusive)
            self.channel_error(other, 403, "basic.consume", text)
        channel.call("basic.cancel", consumer_tag="t")
        channel.call("basic.consume", queue=queue)
        other.send("basic.consume", queue=queue, exclusive=True)
        self.channel_error(other, 403, "basic.consume", text)

    def test_C122_prefetch_size_540(self):
        channel = self.channel()
        channel.send("basic.qos", prefetch_size=99, prefetch_count=1)
        self.connection_error(channel.connection, 540, "basic.qos",
                              "NOT_IMPLEMENTED - prefetch_size!=0 (99)", channel=1)

    def delivered(self, channel, count):
        """Exactly `count` deliveries have come, once the queue has nothing left to say."""
        events = self.deliveries(channel, count)
        self.assertEqual([e for e in channel.pending() if e.name == "basic.deliver"], [])
        return events

    def test_C123_prefetch_per_consumer_holds_for_consumers_started_later(self):
        """Also S37, S60."""
        channel, queue = self.stocked(*range(20))
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=2)
        taker.call("basic.consume", queue=queue, consumer_tag="a")
        self.delivered(taker, 2)
        taker.call("basic.qos", prefetch_count=3)
        taker.call("basic.consume", queue=queue, consumer_tag="b")
        events = self.delivered(taker, 3)
        self.assertEqual({e.consumer_tag for e in events}, {"b"})
        taker.send("basic.ack", delivery_tag=1)
        self.assertEqual(self.delivered(taker, 1)[0].consumer_tag, "a")
        self.assertEqual(self.count(channel, queue), 14)

    def test_C123_global_prefetch_is_shared_by_the_channel(self):
        channel, queue = self.stocked(*range(20))
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=5, global_=True)
        for tag in ("a", "b"):
            taker.call("basic.consume", queue=queue, consumer_tag=tag)
        self.deliveries(taker, 5)
        self.assertEqual(taker.pending(), [])
        taker.send("basic.ack", delivery_tag=3, multiple=True)
        self.delivered(taker, 3)
        self.assertEqual(self.count(channel, queue), 12)

    def test_C123_a_prefetch_of_consumers_lifts_the_one_that_they_share(self):
        _, queue = self.stocked(*range(20))
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=2, global_=True)
        taker.call("basic.consume", queue=queue, consumer_tag="a")
        self.delivered(taker, 2)
        taker.call("basic.qos", prefetch_count=5)
        self.deliveries(taker, 18)  # "a" has no limit of its own
        self.assertEqual(taker.pending(), [])

    def test_C147_what_a_nack_of_many_gives_back_is_trimmed_before_it_is_delivered(self):
        channel = self.channel()
        queue = self.queue(channel=channel, arguments={"x-max-length": 5})
        channel.call("basic.qos", prefetch_count=10)
        channel.call("basic.consume", queue=queue)
        for number in range(10):
            channel.publish(b"%d" % number, routing_key=queue)
            self.deliveries(channel, 1)
        channel.send("basic.nack", delivery_tag=10, multiple=True, requeue=True)
        self.assertEqual([event.body for event in self.deliveries(channel, 5)],
                         [b"%d" % number for number in range(5, 10)])
        self.assertEqual(self.count(channel, queue), 0)
        self.assertEqual(channel.pending(), [])

    def test_C124_prefetch_0_is_unlimited(self):
        _, queue = self.stocked(*range(300))
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=1)
        taker.call("basic.qos", prefetch_count=0)
        taker.call("basic.consume", queue=queue)
        self.delivered(taker, 300)

    def test_C125_auto_ack_ignores_prefetch(self):
        """Also S56."""
        channel, queue = self.stocked(*range(50))
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=1)
        taker.call("basic.consume", queue=queue, no_ack=True)
        self.delivered(taker, 50)
        taker.connection.drop()
        self.assertEqual(self.count(channel, queue), 0)

    def test_C125_auto_ack_waits_under_a_shared_prefetch_but_does_not_count(self):
        """Which RabbitMQ's limiter is asked for whether or not acknowledgements are wanted."""
        channel, full = self.stocked(*range(3))
        queue = self.queue("free", channel=channel)
        self.fill(channel, queue, [b"%d" % number for number in range(20)])
        taker = self.channel()
        taker.call("basic.qos", prefetch_count=2, global_=True)
        taker.call("basic.consume", queue=full)
        held = self.deliveries(taker, 2)
        taker.call("basic.consume", queue=queue, no_ack=True)
        self.assertEqual(self.count(channel, queue), 20)
        self.assertEqual(taker.pending(), [])
        # Below the limit everything comes, and none of it counts.
        channel.call("queue.purge", queue=full)
        taker.send("basic.ack", delivery_tag=held[0].delivery_tag)
        self.delivered(taker, 20)
        channel.publish(b"more", routing_key=full)
        self.delivered(taker, 1)

    def test_C126_tags_are_the_channels(self):
        """Also S61."""
        channel, queue = self.stocked(1, 2, 3)
        self.assertEqual(channel.call("basic.get", queue=queue).delivery_tag, 1)
        channel.call("basic.consume", queue=queue)
        self.assertEqual([e.delivery_tag for e in self.deliveries(channel, 2)], [2, 3])
        other = channel.connection.channel(2)
        other.send("basic.ack", delivery_tag=1)
        self.channel_error(other, 406, "basic.ack", "PRECONDITION_FAILED - unknown delivery tag 1")

    def test_C127_unknown_delivery_tag_406(self):
        """Also S57."""
        text = "PRECONDITION_FAILED - unknown delivery tag %d"
        for method, arguments in (("basic.ack", {}), ("basic.ack", {"multiple": True}),
                                  ("basic.nack", {}), ("basic.reject", {})):
            channel = self.channel()
            channel.send(method, delivery_tag=5, **arguments)
            self.channel_error(channel, 406, method, text % 5)
        channel, queue = self.stocked(1, 2)
        for _ in range(2):
            channel.call("basic.get", queue=queue)
        channel.send("basic.ack", delivery_tag=1)
        channel.send("basic.ack", delivery_tag=1)
        self.channel_error(channel, 406, "basic.ack", text % 1)

    def test_C127_tag_0_multiple_is_all_and_may_be_none(self):
        """Also S58."""
        channel, queue = self.stocked(1, 2, 3)
        channel.send("basic.ack", delivery_tag=0, multiple=True)
        for _ in range(3):
            channel.call("basic.get", queue=queue)
        channel.send("basic.ack", delivery_tag=0, multiple=True)
        channel.send("basic.recover", requeue=True)
        channel.next("basic.recover-ok")
        self.assertEqual(self.count(channel, queue), 0)

    def test_C128_reject_and_nack(self):
        """Also S58, S59."""
        channel, queue = self.stocked(1, 2, 3, 4)
        for _ in range(4):
            channel.call("basic.get", queue=queue)
        channel.send("basic.reject", delivery_tag=4, requeue=False)
        channel.send("basic.nack", delivery_tag=2, multiple=True, requeue=True)
        self.settled(channel, queue, 2)
        channel.send("basic.reject", delivery_tag=3, requeue=True)
        self.settled(channel, queue, 3)
        got = [channel.call("basic.get", queue=queue, no_ack=True) for _ in range(3)]
        self.assertEqual([(e.body, e.redelivered) for e in got],
                         [(b"1", True), (b"2", True), (b"3", True)])

    def test_C129_recover(self):
        channel, queue = self.stocked(1, 2)
        for _ in range(2):
            channel.call("basic.get", queue=queue)
        channel.call("basic.recover", requeue=True)
        self.settled(channel, queue, 2)
        for _ in range(2):
            self.assertTrue(channel.call("basic.get", queue=queue).redelivered)
        channel.send("basic.recover-async", requeue=True)
        self.settled(channel, queue, 2)
        channel.send("basic.recover", requeue=False)
        self.connection_error(channel.connection, 540, "basic.recover",
                              "NOT_IMPLEMENTED - requeue=false", channel=1)

    def test_C130_requeued_go_back_to_their_place(self):
        channel, queue = self.stocked(*range(10))
        for _ in range(6):
            channel.call("basic.get", queue=queue)
        for tag in (4, 2, 6):
            channel.send("basic.nack", delivery_tag=tag, requeue=True)
        got = [channel.call("basic.get", queue=queue, no_ack=True) for _ in range(7)]
        self.assertEqual([(int(e.body), e.redelivered) for e in got],
                         [(1, True), (3, True), (5, True), (6, False), (7, False), (8, False),
                          (9, False)])

    def test_C131_redelivered_is_set_on_what_came_back(self):
        """Also S62."""
        channel, queue = self.stocked(1, 2)
        event = channel.call("basic.get", queue=queue)
        self.assertFalse(event.redelivered)
        channel.send("basic.reject", delivery_tag=event.delivery_tag, requeue=True)
        channel.call("basic.consume", queue=queue)
        events = self.deliveries(channel, 2)
        self.assertEqual([(e.body, e.redelivered) for e in events], [(b"1", True), (b"2", False)])

    def test_C121_higher_priority_consumer_is_served_first(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        low, high = self.channel(), self.channel()
        for taker, priority in ((low, 0), (high, 10)):
            taker.call("basic.qos", prefetch_count=5)
            self.later_or_skip(taker, "basic.consume", queue=queue,
                               arguments={"x-priority": priority})
        self.fill(channel, queue, [b"%d" % n for n in range(8)])
        self.assertEqual([int(e.body) for e in self.deliveries(high, 5)], [0, 1, 2, 3, 4])
        self.assertEqual([int(e.body) for e in self.deliveries(low, 3)], [5, 6, 7])

    def test_C135_deliver_names_exchange_and_routing_key(self):
        channel, queue = self.stocked()
        channel.call("queue.bind", queue=queue, exchange="amq.topic",
                     routing_key="#." + self.prefix[2:-1])
        key = "some.words." + self.prefix[2:-1]
        channel.publish(b"x", exchange="amq.topic", routing_key=key)
        channel.confirmed()
        event = channel.call("basic.get", queue=queue)
        self.assertEqual((event.exchange, event.routing_key), ("amq.topic", key))
        channel.publish(b"x", routing_key=queue)
        channel.confirmed()
        event = channel.call("basic.get", queue=queue)
        self.assertEqual((event.exchange, event.routing_key), ("", queue))

    def test_C136_nowait_passive_declare(self):
        channel, queue = self.stocked()
        channel.send("queue.declare", queue=queue, passive=True, nowait=True)
        self.assertEqual(channel.pending(), [])
        channel.send("queue.declare", queue=self.prefix + "no", passive=True, nowait=True)
        self.channel_error(channel, 404, "queue.declare",
                           "NOT_FOUND - no queue '%sno' in vhost '/'" % self.prefix)

    def test_C137_get_empty_and_message_count(self):
        channel, queue = self.stocked(1, 2)
        self.assertEqual(channel.call("basic.get", queue=queue).message_count, 1)
        self.assertEqual(channel.call("basic.get", queue=queue, no_ack=True).message_count, 0)
        self.assertEqual(channel.call("basic.get", queue=queue).name, "basic.get-empty")

    def test_C139_death_of_a_connection_gives_back_what_it_held(self):
        """Also S45, S78."""
        channel, queue = self.stocked(1, 2, 3)
        dying = self.channel()
        dying.call("basic.consume", queue=queue)
        own = self.queue("own", channel=dying, exclusive=True)
        auto = self.queue("auto", channel=dying, auto_delete=True)
        dying.call("basic.consume", queue=auto)
        self.deliveries(dying, 3)
        heir = self.channel()
        heir.call("basic.consume", queue=queue)
        dying.connection.drop()
        got = [(e.body, e.redelivered) for e in self.deliveries(heir, 3)]
        self.assertEqual(got, [(b"1", True), (b"2", True), (b"3", True)])
        for name in (own, auto):
            self.gone(name)

    def gone(self, name):
        """A queue that is being deleted: ask until it is missing, at most 1000 times."""
        channel = self.channel()
        for _ in range(1000):
            channel.send("queue.declare", queue=name, passive=True)
            event = channel.next()
            if event.name == "channel.close" and event.code == 404:
                return
            if event.name == "channel.close":
                channel.send("channel.close-ok")
                channel.call("channel.open")
        self.fail(name + " is still there")

    def test_C139_closed_channel_gives_back_what_it_held(self):
        channel, queue = self.stocked(1, 2)
        holder = channel.connection.channel(2)
        for _ in range(2):
            holder.call("basic.get", queue=queue)
        channel.call("basic.consume", queue=queue)
        holder.call("channel.close", code=200)
        got = [(e.body, e.redelivered) for e in self.deliveries(channel, 2)]
        self.assertEqual(got, [(b"1", True), (b"2", True)])

    def test_C140_forced_close_320(self):
        if not self.broker.has_ctl or self.lepus:
            self.skipTest("needs close_connection of the command-line tool")
        channel = self.channel()
        self.broker.ctl("close_all_connections", "maintenance")
        try:
            event = channel.next()
        except Closed as closed:
            event = closed.event
        self.assertEqual((event.code, event.text), (320, "CONNECTION_FORCED - maintenance"))
