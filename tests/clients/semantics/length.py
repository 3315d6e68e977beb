# SPDX-License-Identifier: Apache-2.0
"""Queues that have a length, and what makes room or is refused: C106, C146 to C148."""
from semantics.base import Case


class Length(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.confirming()

    def limited(self, name="q", **arguments):
        return self.queue(name, channel=self.ch, arguments={
            k.replace("_", "-"): v for k, v in arguments.items()})

    def bodies(self, queue):
        return [self.ch.call("basic.get", queue=queue, no_ack=True).body
                for _ in range(self.count(self.ch, queue))]

    def test_C146_ready_messages_count_and_unacknowledged_do_not(self):
        queue = self.limited(x_max_length=2)
        self.fill(self.ch, queue, [b"1", b"2"])
        held = self.ch.call("basic.get", queue=queue)
        self.fill(self.ch, queue, [b"3"])
        self.assertEqual(self.count(self.ch, queue), 2)
        self.fill(self.ch, queue, [b"4"])       # now the oldest that is ready goes
        self.ch.send("basic.ack", delivery_tag=held.delivery_tag)
        self.assertEqual(self.bodies(queue), [b"3", b"4"])

    def test_C146_what_comes_back_counts_again(self):
        queue = self.limited(x_max_length=2)
        self.fill(self.ch, queue, [b"1", b"2"])
        held = self.ch.call("basic.get", queue=queue)
        self.fill(self.ch, queue, [b"3"])
        self.ch.send("basic.reject", delivery_tag=held.delivery_tag, requeue=True)
        self.settled(self.ch, queue, 2)
        self.assertEqual(self.bodies(queue), [b"2", b"3"])

    def test_C146_bytes_are_those_of_bodies(self):
        queue = self.limited(x_max_length_bytes=10)
        big = {"headers": {"h": "x" * 1000}}
        for body in (b"12345", b"67890"):
            self.ch.publish(body, routing_key=queue, properties=big)
        self.ch.confirmed(2)
        self.assertEqual(self.count(self.ch, queue), 2)
        self.fill(self.ch, queue, [b""])
        self.assertEqual(self.count(self.ch, queue), 3)
        self.fill(self.ch, queue, [b"x"])
        self.assertEqual(self.bodies(queue), [b"67890", b"", b"x"])

    def test_C146_a_message_larger_than_the_queue_does_not_stay(self):
        queue = self.limited(x_max_length_bytes=10)
        self.fill(self.ch, queue, [b"1", b"x" * 11])
        self.assertEqual(self.count(self.ch, queue), 0)

    def test_C146_a_length_of_0_keeps_nothing_and_serves_consumers(self):
        queue = self.limited(x_max_length=0)
        self.fill(self.ch, queue, [b"1"])
        self.assertEqual(self.count(self.ch, queue), 0)
        taker = self.channel()
        taker.call("basic.consume", queue=queue, no_ack=True)
        self.fill(self.ch, queue, [b"2"])
        self.assertEqual(taker.next("basic.deliver").body, b"2")

    def test_C147_the_oldest_make_room_and_are_dead_letters(self):
        """Also S81; reason maxlen. drop-head is what happens without x-overflow, too."""
        dead = self.queue("dead", channel=self.ch)
        more = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": dead}
        for number, overflow in enumerate(({}, {"x_overflow": "drop-head"})):
            queue = self.limited("q%d" % number, x_max_length=2, **overflow, **more)
            self.fill(self.ch, queue, [b"1", b"2", b"3", b"4"])
            self.assertEqual(self.bodies(queue), [b"3", b"4"])
            self.settled(self.ch, dead, 2)
            for body in (b"1", b"2"):
                event = self.ch.call("basic.get", queue=dead, no_ack=True)
                death = event.properties["headers"]["x-death"][0]
                self.assertEqual((event.body, death["reason"], death["queue"]),
                                 (body, "maxlen", queue))

    def refused(self, queue, body):
        self.ch.publish(body, routing_key=queue)
        event = self.ch.next()
        self.assertEqual(event.name, "basic.nack", event)
        return event

    def test_C148_reject_publish_refuses_with_nack(self):
        """Also C106."""
        queue = self.limited(x_max_length=2, x_overflow="reject-publish")
        self.fill(self.ch, queue, [b"1", b"2"])
        self.assertEqual(self.refused(queue, b"3").delivery_tag, 3)
        self.assertEqual(self.bodies(queue), [b"1", b"2"])
        self.fill(self.ch, queue, [b"4"])
        self.assertEqual(self.bodies(queue), [b"4"])

    def test_C148_others_lose_the_message_in_silence(self):
        queue = self.limited(x_max_length=1, x_overflow="reject-publish")
        plain = self.channel()
        for body in (b"1", b"2"):
            plain.publish(body, routing_key=queue, mandatory=True)
        self.assertEqual(plain.pending(), [])
        self.settled(self.ch, queue, 1)
        self.assertEqual(self.bodies(queue), [b"1"])

    def test_C106_refused_by_one_queue_and_taken_by_another_is_a_nack(self):
        full = self.limited("full", x_max_length=0, x_overflow="reject-publish")
        other = self.queue("other", channel=self.ch)
        exchange = self.exchange(channel=self.ch, type="fanout")
        for queue in (full, other):
            self.ch.call("queue.bind", queue=queue, exchange=exchange)
        self.ch.publish(b"x", exchange=exchange, mandatory=True)
        self.assertEqual(self.ch.next().name, "basic.nack")
        self.assertEqual((self.count(self.ch, full), self.count(self.ch, other)), (0, 1))

    def test_C148_reject_publish_dlx_dead_letters_what_is_refused(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.limited(x_max_length=1, x_overflow="reject-publish-dlx",
                             x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
        self.fill(self.ch, queue, [b"1"])
        self.refused(queue, b"2")
        self.settled(self.ch, dead, 1)
        event = self.ch.call("basic.get", queue=dead, no_ack=True)
        death = event.properties["headers"]["x-death"][0]
        self.assertEqual((event.body, death["reason"], death["queue"]), (b"2", "maxlen", queue))

    def test_C148_reject_publish_by_bytes(self):
        queue = self.limited(x_max_length_bytes=4, x_overflow="reject-publish")
        self.fill(self.ch, queue, [b"12", b"34"])
        self.refused(queue, b"5")
        self.assertEqual(self.bodies(queue), [b"12", b"34"])
