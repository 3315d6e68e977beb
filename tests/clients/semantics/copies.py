# SPDX-License-Identifier: Apache-2.0
"""Sender-selected distribution: the headers CC and BCC. C99, C152."""
from amqp_raw import Typed
from semantics.base import Case


class Copies(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.confirming()

    def take(self, queue):
        event = self.ch.call("basic.get", queue=queue, no_ack=True)
        self.assertEqual(event.name, "basic.get-ok", queue)
        return event

    def publish(self, key, exchange="", count=1, **headers):
        self.ch.publish(b"x", exchange=exchange, routing_key=key,
                        properties={"headers": headers})
        self.ch.confirmed(count)

    def test_C99_copies_by_the_default_exchange(self):
        a, b, c, d = (self.queue(name, channel=self.ch) for name in "abcd")
        self.publish(a, CC=[b, c, a, self.prefix + "nobody"], BCC=[d, b], other=1)
        for queue in (a, b, c, d):
            event = self.take(queue)
            # The first key is told, wherever it went, and BCC to nobody.
            self.assertEqual((event.exchange, event.routing_key), ("", a))
            headers = event.__dict__["properties"]["headers"]
            self.assertEqual(headers, {"CC": [b, c, a, self.prefix + "nobody"], "other": 1})
            self.assertEqual(self.count(self.ch, queue), 0)

    def test_C99_copies_by_exchanges_of_every_type(self):
        queue, other = self.queue("q", channel=self.ch), self.queue("o", channel=self.ch)
        for kind in ("direct", "topic", "fanout"):
            exchange = self.exchange(kind, channel=self.ch, type=kind)
            key, other_key = ("a.*", "#.b") if kind == "topic" else ("a.x", "y.b")
            self.ch.call("queue.bind", queue=queue, exchange=exchange, routing_key=key)
            self.ch.call("queue.bind", queue=other, exchange=exchange, routing_key=other_key)
            self.publish("a.x", exchange, CC=["a.x", "a.x"], BCC=["y.b"])
            self.assertEqual(self.take(queue).routing_key, "a.x")
            self.assertEqual(self.take(other).routing_key, "a.x")
            self.assertEqual((self.count(self.ch, queue), self.count(self.ch, other)), (0, 0))

    def test_C99_bcc_alone_leaves_headers_without_it(self):
        queue = self.queue(channel=self.ch)
        self.publish(self.prefix + "nobody", BCC=[queue])
        self.assertEqual(self.take(queue).__dict__["properties"]["headers"], {})

    def test_C99_a_copy_makes_it_routable(self):
        queue = self.queue(channel=self.ch)
        for headers in ({"CC": [queue]}, {"BCC": [queue]}):
            self.ch.publish(b"x", routing_key=self.prefix + "nobody", mandatory=True,
                            properties={"headers": headers})
            self.ch.confirmed()
        self.assertEqual(self.count(self.ch, queue), 2)
        self.ch.publish(b"x", routing_key=self.prefix + "nobody", mandatory=True,
                        properties={"headers": {"BCC": [self.prefix + "nor me"], "a": 1}})
        event = self.ch.next("basic.return")
        self.assertEqual(event.__dict__["properties"]["headers"], {"a": 1})
        self.ch.confirmed()

    def test_C99_elements_that_are_no_strings_are_passed_over(self):
        queue = self.queue(channel=self.ch)
        self.publish(self.prefix + "nobody", CC=[1, None, {"a": 2}, queue])
        self.take(queue)

    def test_C99_what_is_no_array_406(self):
        for headers, name, kind in (({"CC": "text"}, "CC", "longstr"),
                                    ({"BCC": 5}, "BCC", "signedint"),
                                    ({"BCC": {}, "CC": True}, "CC", "bool"),
                                    ({"CC": [], "BCC": Typed("x", b"1")}, "BCC", "binary")):
            self.ch.publish(b"x", routing_key=self.prefix, properties={"headers": headers})
            self.channel_error(self.ch, 406, "basic.publish",
                               "PRECONDITION_FAILED - invalid message: "
                               '{unacceptable_type_in_header,"%s",%s}' % (name, kind))

    def test_C91_a_bad_expiration_comes_before_a_bad_cc(self):
        if not self.v40:
            self.skipTest("3.10 looks at user_id before expiration")
        self.ch.publish(b"x", routing_key=self.prefix,
                        properties={"headers": {"CC": 1}, "expiration": "x", "user_id": "no"})
        event = self.ch.next("channel.close")
        self.assertIn("invalid expiration", event.text)

    def test_C91_a_bad_cc_comes_before_a_wrong_user(self):
        if not self.v40:
            self.skipTest("3.10 looks at user_id first")
        self.ch.publish(b"x", routing_key=self.prefix,
                        properties={"headers": {"CC": 1}, "user_id": "nobody"})
        event = self.ch.next("channel.close")
        self.assertIn("unacceptable_type_in_header", event.text)

    # C152: what becomes of them after a death

    def rejected(self, **arguments):
        """Queues, and a message with copies that died in the first of them."""
        exchange = self.exchange("dlx", channel=self.ch, type="direct")
        source = self.queue("source", channel=self.ch,
                            arguments={"x-dead-letter-exchange": exchange, **arguments})
        dead = {}
        for key in ("one", "cc", "bcc", "own"):
            dead[key] = self.queue(key, channel=self.ch)
            self.ch.call("queue.bind", queue=dead[key], exchange=exchange, routing_key=key)
        self.ch.call("queue.bind", queue=source, exchange="amq.direct",
                     routing_key=self.prefix + "in")
        return exchange, source, dead

    def die(self, source, key, **headers):
        publisher = self.exchange("in", channel=self.ch, type="fanout")
        self.ch.call("queue.bind", queue=source, exchange=publisher)
        self.publish(key, publisher, **headers)
        event = self.ch.call("basic.get", queue=source)
        self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=False)

    def test_C152_the_dead_go_by_all_their_keys_and_tell_those_that_may_be_told(self):
        exchange, source, dead = self.rejected()
        self.die(source, "one", CC=["cc", "other"], BCC=["bcc"])
        for key in ("one", "cc", "bcc"):
            self.settled(self.ch, dead[key], 1)
            event = self.take(dead[key])
            self.assertEqual((event.exchange, event.routing_key), (exchange, "one"))
            headers = event.__dict__["properties"]["headers"]
            self.assertEqual(headers["x-death"][0]["routing-keys"], ["one", "cc", "other"])
            self.assertEqual(headers["CC"], ["cc", "other"])
            self.assertNotIn("BCC", headers)
        self.assertEqual(self.count(self.ch, dead["own"]), 0)

    def test_C152_a_dead_letter_key_is_the_only_one_from_then_on(self):
        exchange, source, dead = self.rejected(**{"x-dead-letter-routing-key": "own"})
        self.die(source, "one", CC=["cc"], BCC=["bcc"])
        self.settled(self.ch, dead["own"], 1)
        event = self.take(dead["own"])
        self.assertEqual((event.exchange, event.routing_key), (exchange, "own"))
        headers = event.__dict__["properties"]["headers"]
        self.assertEqual(headers["x-death"][0]["routing-keys"], ["one", "cc"])
        self.assertEqual(headers.get("CC"), ["cc"] if self.v40 else None)
        for key in ("one", "cc", "bcc"):
            self.assertEqual(self.count(self.ch, dead[key]), 0)
