# SPDX-License-Identifier: Apache-2.0
"""What time does to messages and queues: C73, C134, C141 to C144."""
import time

from amqp_raw import DEADLINE_S, method_frame, publish_frames
from semantics.base import Case

TEN_YEARS_MS = 315360000000


class TimeToLive(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.confirming()

    def ttl_queue(self, ttl, name="q", **more):
        return self.queue(name, channel=self.ch, arguments={"x-message-ttl": ttl, **more})

    def put(self, queue, *bodies, **properties):
        for body in bodies:
            self.ch.publish(body, routing_key=queue, properties=properties)
        self.ch.confirmed(len(bodies))

    def bodies(self, queue):
        return [self.ch.call("basic.get", queue=queue, no_ack=True).body.decode()
                for _ in range(self.count(self.ch, queue))]

    def test_C141_the_smaller_of_queue_and_message_counts(self):
        """Also S80: expired messages are gone from the queue."""
        for number, (ttl, expiration) in enumerate(((40, "3600000"), (3600000, "40"),
                                                    (40, None))):
            queue = self.ttl_queue(ttl, str(number))
            began = time.monotonic()
            self.put(queue, "short", **({"expiration": expiration} if expiration else {}))
            self.settled(self.ch, queue, 0)
            self.assertGreater(time.monotonic() - began, 0.03)
            self.assertLess(time.monotonic() - began, 5)
        queue = self.ttl_queue(3600000, "long")
        self.put(queue, "long", expiration="3600000")
        self.assertEqual(self.bodies(queue), ["long"])

    def test_C141_the_end_is_kept_through_requeues(self):
        """It is taken and comes back again and again; what asks for it after its end does not get it."""
        queue, seconds = self.ttl_queue(400), 0.4
        self.put(queue, "x")
        end, asked = time.monotonic() + seconds, 0.0
        while asked < end + seconds:
            asked = time.monotonic()
            event = self.ch.call("basic.get", queue=queue)
            if event.name == "basic.get-ok":
                self.assertLess(asked, end + 0.05)
                self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=True)
        self.assertEqual(self.count(self.ch, queue), 0)

    def test_C141_unacknowledged_do_not_expire_and_do_when_they_come_back(self):
        queue = self.ttl_queue(50)
        witness = self.ttl_queue(60, "witness")
        # At once: a machine that stops us between the two would let it expire.
        self.ch.connection.write(publish_frames(self.ch.number, "x", routing_key=queue)
                                 + method_frame(self.ch.number, "basic.get", queue=queue))
        event = self.next_but_confirms()
        self.put(witness, "w")
        self.settled(self.ch, witness, 0)       # more than 50 ms have gone
        self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=True)
        self.settled(self.ch, queue, 0)
        self.assertEqual(self.ch.call("basic.get", queue=queue).name, "basic.get-empty")

    def next_but_confirms(self):
        """The answer to a get behind a publish, and then the publish is confirmed."""
        events = [self.ch.next(), self.ch.next()]
        events.sort(key=lambda event: event.name)
        self.assertEqual([event.name for event in events], ["basic.ack", "basic.get-ok"])
        return events[1]

    def test_C142_expired_behind_a_live_head_are_counted_until_they_get_there(self):
        queue, witness = self.queue(channel=self.ch), self.ttl_queue(30, "witness")
        self.put(queue, "live", expiration="3600000")
        self.put(queue, "dead", "dead", expiration="20")
        self.put(queue, "last")
        self.put(witness, "w")
        self.settled(self.ch, witness, 0)
        self.assertEqual(self.count(self.ch, queue), 4)
        event = self.ch.call("basic.get", queue=queue, no_ack=True)
        # At the head now, and gone before the answer.
        self.assertEqual((event.body, event.message_count), (b"live", 1))
        event = self.ch.call("basic.get", queue=queue, no_ack=True)
        self.assertEqual((event.body, event.message_count), (b"last", 0))

    def test_C142_expired_ones_are_not_delivered(self):
        queue, witness = self.queue(channel=self.ch), self.ttl_queue(30, "witness")
        self.put(queue, "live")
        self.put(queue, "dead", expiration="20")
        self.put(queue, "last")
        self.put(witness, "w")
        self.settled(self.ch, witness, 0)
        self.ch.call("basic.consume", queue=queue, no_ack=True)
        self.assertEqual([e.body for e in self.deliveries(self.ch, 2)], [b"live", b"last"])
        self.assertEqual(self.ch.pending(), [])

    def test_C143_a_ttl_of_0_is_now_or_never(self):
        for number, (arguments, properties) in enumerate((({"x-message-ttl": 0}, {}),
                                                          ({}, {"expiration": "0"}))):
            queue = self.queue("q%d" % number, channel=self.ch, arguments=arguments)
            dead = self.queue("dead%d" % number, channel=self.ch)
            self.put(queue, "nobody is there", **properties)
            self.settled(self.ch, queue, 0)
            taker = self.channel()
            taker.call("basic.qos", prefetch_count=1)
            taker.call("basic.consume", queue=queue)
            self.put(queue, "taken", "too many", **properties)
            self.assertEqual(taker.next("basic.deliver").body, b"taken")
            self.settled(self.ch, queue, 0)
            taker.send("basic.ack", delivery_tag=1)
            self.assertEqual(taker.pending(), [])
            self.assertEqual(self.count(self.ch, dead), 0)

    def test_C143_what_was_taken_at_once_and_comes_back_is_too_late(self):
        queue = self.ttl_queue(0)
        self.ch.call("basic.consume", queue=queue)
        for number in range(100):
            self.ch.publish(b"%d" % number, routing_key=queue)
            event = self.ch.next("basic.deliver")
            self.assertEqual((event.body, event.redelivered), (b"%d" % number, False))
            self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=True)
            self.ch.confirmed(1)
        self.settled(self.ch, queue, 0)
        self.assertEqual(self.ch.pending(), [])

    def test_C143_a_ttl_of_0_dead_letters_at_once(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.ttl_queue(0, **{"x-dead-letter-exchange": "",
                                     "x-dead-letter-routing-key": dead})
        self.put(queue, "x")
        self.settled(self.ch, dead, 1)

    def test_C144_a_changed_ttl_is_for_later_messages(self):
        """Also the longest: ten years are fine, more is not."""
        queue, witness = self.queue(channel=self.ch), self.ttl_queue(60, "witness")
        self.put(queue, "before")
        self.policy('{"message-ttl":30}', queue)
        self.put(witness, "w")
        self.settled(self.ch, witness, 0)
        self.assertEqual(self.count(self.ch, queue), 1)
        self.ch.call("queue.purge", queue=queue)
        self.put(queue, "after")
        self.settled(self.ch, queue, 0)
        self.ttl_queue(TEN_YEARS_MS, "long")
        name = self.queue("longer")
        self.ch.send("queue.declare", queue=name, arguments={"x-message-ttl": TEN_YEARS_MS + 1})
        self.channel_error(self.ch, 406, "queue.declare",
                           "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '%s' in "
                           "vhost '/': {value_too_large,%d}" % (name, TEN_YEARS_MS + 1))


class UnusedQueues(Case):
    """Queues with x-expires. To look for one with a passive declare is to use it: it is bound."""

    def asked(self, channel, method, **arguments):
        """The answer; None when the queue was not there."""
        channel.send(method, **arguments)
        event = channel.next()
        if event.name != "channel.close":
            return event
        self.assertEqual(event.code, 404)
        channel.send("channel.close-ok")
        channel.call("channel.open")
        return None

    def there(self, channel, queue):
        return self.asked(channel, "queue.bind", queue=queue, exchange="amq.direct", routing_key=self.prefix) is not None

    def gone_after(self, channel, queue):
        """Seconds until the queue is not there any more."""
        began = time.monotonic()
        while self.there(channel, queue):
            self.assertLess(time.monotonic() - began, DEADLINE_S, "still there")
        return time.monotonic() - began

    def test_C73_a_queue_that_is_not_used_goes(self):
        """Also C157: what was in it is not dead-lettered. Binding and publishing are no use."""
        channel = self.confirming()
        dead = self.queue("dead", channel=channel)
        began = time.monotonic()
        queue = self.queue(channel=channel, arguments={
            "x-expires": 300, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        self.fill(channel, queue, [b"x"])
        self.assertLess(self.gone_after(channel, queue), 5)
        self.assertGreater(time.monotonic() - began, 0.3)
        self.assertEqual(self.count(channel, dead), 0)

    def used(self, method, milliseconds=300, **arguments):
        """A queue with x-expires lives while it is used so, and goes after.

        A machine that stops us for as long as that may lose it; then it is tried anew."""
        channel, other, until = self.confirming(), self.channel(), time.monotonic() + 2 * DEADLINE_S
        seconds, tries = milliseconds / 1000, 0
        while True:
            queue, tries = self.queue("q%d" % tries), tries + 1
            if self.kept(channel, other, seconds, queue, method, **arguments):
                break
            self.assertLess(time.monotonic(), until, "this machine stops too often")
        self.assertLess(self.gone_after(other, queue), 5)

    def kept(self, channel, other, seconds, queue, method, **arguments):
        """Used for some times as long as it would live without. The message in it shows that it is the same one."""
        declared = time.monotonic()
        channel.call("queue.declare", queue=queue, arguments={"x-expires": int(1000 * seconds)})
        channel.publish(b"x", routing_key=queue)
        channel.confirmed()
        used = began = time.monotonic()
        last = declared
        while used < began + 2.5 * seconds:
            used = time.monotonic()
            event = self.asked(channel, method, queue=queue, **arguments)
            again = event is not None and event.name == "queue.declare-ok" and event.message_count == 0
            if event is None or again or not self.there(other, queue):
                self.assertGreater(time.monotonic() - last, seconds)
                return False
            if event.name == "basic.get-ok":
                channel.send("basic.reject", delivery_tag=event.delivery_tag, requeue=True)
            last = used
        return True

    def test_C73_get_is_use(self):
        self.used("basic.get")

    def test_C73_declaring_is_use_passive_or_not(self):
        self.used("queue.declare", passive=True)
        self.used("queue.declare", arguments={"x-expires": 300})

    def test_C73_a_consumer_is_use_until_it_is_cancelled(self):
        channel, other = self.confirming(), self.channel()
        queue = self.queue()
        channel.connection.write(      # at once: it has to be used before it goes
            method_frame(channel.number, "queue.declare", queue=queue, arguments={"x-expires": 200})
            + method_frame(channel.number, "basic.consume", queue=queue, consumer_tag="t"))
        channel.next("queue.declare-ok")
        channel.next("basic.consume-ok")
        witness = self.queue("witness", channel=channel, arguments={"x-expires": 600})
        self.gone_after(other, witness)
        self.assertTrue(self.there(other, queue))
        channel.call("basic.cancel", consumer_tag="t")
        self.assertLess(self.gone_after(other, queue), 5)

    def test_C73_0_is_refused(self):
        channel, queue = self.channel(), self.queue()
        channel.send("queue.declare", queue=queue, arguments={"x-expires": 0})
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - invalid arg "
                           "'x-expires' for queue '%s' in vhost '/': {value_zero,0}" % queue)
