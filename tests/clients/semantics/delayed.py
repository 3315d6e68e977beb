# SPDX-License-Identifier: Apache-2.0
"""Exchanges of type x-delayed-message. S88, C164."""
import time

from amqp_raw import Closed, Typed, publish_frames
from semantics.base import Case

KIND = "x-delayed-message"


class Delayed(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.confirming()

    def delayed(self, name="d", inner="direct", **more):
        """An exchange that delays; skipped where the plug-in is not there."""
        full = self.prefix + name
        self.made.append(("exchange", full))
        try:
            self.ch.call("exchange.declare", exchange=full, type=KIND,
                         arguments={"x-delayed-type": inner, **more})
        except Closed as closed:
            if not self.lepus and "unknown exchange type" in closed.event.text:
                self.skipTest("this RabbitMQ has no plug-in for it")
            raise
        return full

    def bound(self, exchange, name="q", key="k", **arguments):
        queue = self.queue(name, channel=self.ch)
        self.ch.call("queue.bind", queue=queue, exchange=exchange, routing_key=key,
                     arguments=arguments)
        return queue

    def put(self, exchange, body=b"x", key="k", **headers):
        self.ch.publish(body, exchange=exchange, routing_key=key,
                        properties={"headers": headers})
        self.ch.confirmed()  # at once, whatever the delay

    def take(self, queue):
        until = time.monotonic() + 15
        while True:
            event = self.ch.call("basic.get", queue=queue, no_ack=True)
            if event.name == "basic.get-ok":
                return event
            self.assertLess(time.monotonic(), until)

    def headers(self, event):
        return event.__dict__["properties"]["headers"]

    def test_S88_C164_a_delayed_message_comes_later_with_the_delay_negated(self):
        exchange = self.delayed()
        queue = self.bound(exchange)
        began = time.monotonic()
        self.put(exchange, b"body" * 5000, **{"x-delay": 1000, "mine": "kept"})
        self.assertTrue(self.count(self.ch, queue) == 0 or time.monotonic() - began >= 1.0)
        event = self.take(queue)
        self.assertGreaterEqual(time.monotonic() - began, 1.0)
        self.assertEqual((event.exchange, event.routing_key, event.redelivered, event.body),
                         (exchange, "k", 0, b"body" * 5000))
        self.assertEqual(self.headers(event), {"x-delay": -1000, "mine": "kept"})

    def test_C164_order_is_by_due_time_then_arrival(self):
        exchange = self.delayed(inner="fanout")
        queue = self.bound(exchange)
        self.ch.connection.write(b"".join(     # at once: their order is what they are due in, not what we are late by
            publish_frames(self.ch.number, body, {"headers": {"x-delay": delay}}, exchange=exchange, routing_key="k")
            for body, delay in ((b"3", 1200), (b"1", 400), (b"2", 800), (b"4", 1200))))
        self.ch.confirmed(4)
        for n in range(50):
            self.put(exchange, b"n%d" % n, **{"x-delay": 1})
        self.put(exchange, b"now")
        found = [self.take(queue).body for _ in range(55)]
        self.assertEqual([body for body in found if body[:1] != b"n"], [b"1", b"2", b"3", b"4"])
        self.assertEqual([body for body in found if body[:1] == b"n" and body != b"now"],
                         [b"n%d" % n for n in range(50)])

    def test_C164_what_is_no_delay_goes_at_once(self):
        exchange = self.delayed()
        queue = self.bound(exchange)
        for value in (0, -5, 2**32, None, True, {"a": 1}, [5], Typed("b", 5), 0.5):
            self.put(exchange, **{"x-delay": value})
            self.assertEqual(self.count(self.ch, queue), 1, value)
            self.take(queue)
        self.put(exchange)
        self.assertEqual(self.count(self.ch, queue), 1)

    def test_C164_numbers_of_any_type_and_strings_are_delays(self):
        exchange = self.delayed()
        queue = self.bound(exchange)
        for value in (Typed("s", 20), Typed("i", 20), Typed("l", 20), Typed("B", 20), 20, 20.9,
                      Typed("f", 20.5), "20", "+20"):
            self.put(exchange, **{"x-delay": value})
            self.assertEqual(self.headers(self.take(queue)), {"x-delay": -20})

    def test_C164_it_routes_as_its_inner_type_does(self):
        topic = self.delayed("t", inner="topic")
        queue = self.bound(topic, "tq", "a.*.c")
        self.put(topic, b"yes", "a.b.c", **{"x-delay": 10})
        self.put(topic, b"no", "a.b", **{"x-delay": 10})
        self.assertEqual(self.take(queue).body, b"yes")
        match = self.delayed("h", inner="headers")
        queue = self.bound(match, "hq", "", **{"x-match": "all", "colour": "red"})
        self.put(match, b"no", colour="blue", **{"x-delay": 10})
        self.put(match, b"yes", colour="red", **{"x-delay": 10})
        self.assertEqual(self.take(queue).body, b"yes")
        self.ch.send("queue.bind", queue=queue, exchange=match, arguments={"x-match": "none"})
        event = self.ch.next("channel.close")
        self.assertIn("Invalid x-match field value", event.text)

    def test_C164_it_is_routed_by_the_bindings_of_its_time(self):
        exchange = self.delayed()
        first = self.bound(exchange, "first")
        self.put(exchange, **{"x-delay": 1500})
        self.ch.call("queue.unbind", queue=first, exchange=exchange, routing_key="k")
        second = self.bound(exchange, "second")
        self.take(second)
        self.assertEqual(self.count(self.ch, first), 0)

    def test_C164_a_mandatory_one_is_returned_although_it_comes(self):
        exchange = self.delayed()
        queue = self.bound(exchange)
        self.ch.publish(b"body", exchange=exchange, routing_key="k", mandatory=True,
                        properties={"headers": {"x-delay": 50}})
        event = self.ch.next("basic.return")
        self.assertEqual((event.body, self.headers(event)), (b"body", {"x-delay": 50}))
        self.ch.confirmed()
        self.assertEqual(self.take(queue).body, b"body")

    def test_C164_others_get_it_at_once(self):
        # Behind another exchange only that branch waits; it keeps the name it was published to.
        fan = self.exchange("fan", channel=self.ch, type="fanout")
        exchange = self.delayed(inner="fanout")
        self.ch.call("exchange.bind", source=fan, destination=exchange)
        late = self.bound(exchange, "late")
        now = self.bound(fan, "now")
        began = time.monotonic()
        self.put(fan, b"both", **{"x-delay": 1000})
        event = self.take(now)
        self.assertTrue(self.count(self.ch, late) == 0 or time.monotonic() - began >= 1.0)
        self.assertEqual((event.body, self.headers(event)), (b"both", {"x-delay": 1000}))
        event = self.take(late)
        self.assertEqual((event.body, self.headers(event), event.exchange),
                         (b"both", {"x-delay": -1000}, fan))
        self.assertEqual(self.count(self.ch, now), 0)

    def test_C164_the_dead_are_delayed_once(self):
        exchange = self.delayed()
        dead = self.bound(exchange, "dead")
        source = self.queue("source", channel=self.ch,
                            arguments={"x-dead-letter-exchange": exchange,
                                       "x-dead-letter-routing-key": "k"})
        began = time.monotonic()
        self.put("", b"x", source, **{"x-delay": 100})
        event = self.ch.call("basic.get", queue=source)
        self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=False)
        event = self.take(dead)
        self.assertGreaterEqual(time.monotonic() - began, 0.1)
        self.assertEqual(self.headers(event)["x-delay"], -100)
        self.assertEqual(self.headers(event)["x-death"][0]["reason"], "rejected")

    def test_C164_going_round_by_a_delay_is_no_cycle(self):
        # What comes out of a delay is published anew: C153 does not look at it.
        exchange = self.delayed(inner="fanout")
        queue = self.queue("q", channel=self.ch,
                           arguments={"x-message-ttl": 20, "x-dead-letter-exchange": exchange})
        self.ch.call("queue.bind", queue=queue, exchange=exchange)
        self.put("", b"x", queue, **{"x-delay": 20})  # once; then it goes round without one
        seen = self.bound(exchange, "seen")
        self.assertEqual(self.headers(self.take(seen))["x-death"][0]["count"], 1)
        self.take(seen)

    def test_C164_rights_on_topics_are_for_topic_exchanges_alone(self):
        exchange = self.delayed(inner="topic")
        queue = self.bound(exchange)
        user = self.user()
        self.broker.ctl("set_topic_permissions", "-p", "/", user["user"], exchange, "^no$", "^no$")
        channel = self.confirming(**user)
        channel.publish(b"x", exchange=exchange, routing_key="k")
        channel.confirmed()
        self.assertEqual(self.count(self.ch, queue), 1)

    def test_C164_declaring_one(self):
        self.delayed("ok")
        # Redeclared with another inner type it is the same (only what C54 names is compared).
        self.delayed("ok", inner="topic")
        name = self.prefix + "bad"
        prefix = "PRECONDITION_FAILED - "
        for arguments, text in (
                ({}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
                ({"x-delayed-type": 5},
                 "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
                ({"x-delayed-type": KIND},
                 "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'"),
                ({"x-delayed-type": "nonsense"}, "unknown exchange type 'nonsense'")):
            self.ch.send("exchange.declare", exchange=name, type=KIND, arguments=arguments)
            self.channel_error(self.ch, 406, "exchange.declare", prefix + text)
        plain = self.exchange("plain", channel=self.ch)
        self.ch.send("exchange.declare", exchange=plain, type=KIND,
                     arguments={"x-delayed-type": "direct"})
        self.channel_error(self.ch, 406, "exchange.declare", prefix +
                           "inequivalent arg 'type' for exchange '%s' in vhost '/': received "
                           "'%s' but current is 'direct'" % (plain, KIND))

    def test_C164_transactions_do_not_hold_it_back(self):
        exchange = self.delayed()
        queue = self.bound(exchange)
        channel = self.channel()
        channel.call("tx.select")
        channel.publish(b"x", exchange=exchange, routing_key="k",
                        properties={"headers": {"x-delay": 20}})
        self.assertEqual(self.take(queue).body, b"x")
        channel.call("tx.rollback")
        self.assertEqual(self.count(self.ch, queue), 0)
