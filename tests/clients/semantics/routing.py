# SPDX-License-Identifier: Apache-2.0
"""Where a message goes: exchanges, patterns, alternates. C77, C78, C97, S3 to S23."""
from semantics.base import Case

TOPICS = (
    # pattern, keys that match, keys that do not
    ("news.world.#", ["news.world", "news.world.a", "news.world.a.b"], ["news", "xnews.world"]),
    ("city.news.mq.*", ["city.news.mq.a"], ["city.news.mq", "city.news.mq.a.b"]),
    ("#.minor", ["minor", "info.debug.minor", "a.minor"], ["minor.a", "aminor"]),
    ("*.*.major", ["error.warning.major"], ["warning.major", "a.error.warning.major"]),
    ("kern.*", ["kern.x"], ["kern", "kern.x.y"]),
    ("cron.#", ["cron", "cron.x", "cron.x.y"], ["cronx", "x.cron"]),
    ("eu.*.free", ["eu.west.free"], ["eu.free", "eu.a.b.free", "us.west.free"]),
    ("*.culture.*", ["fr.culture.x", ".culture."], ["culture", "fr.culture"]),
    ("#", ["", "a", "a.b.c", "."], []),
    ("/#", ["/#"], ["/a", "", "/"]),
    ("Case", ["Case"], ["case"]),
    ("#.a.#", ["a", "x.a", "a.x", "x.a.y", "a.a"], ["b", "x.b", ""]),
    ("*", ["a"], ["a.b"]),
    ("", [""], ["a"]),
    ("a..b", ["a..b"], ["a.b", "a.x.b"]),
    ("a.*.b", ["a..b", "a.x.b"], ["a.b"]),
)


class Exchanges(Case):
    def bound(self, name, exchange, *keys, channel, **arguments):
        queue = self.queue(name, channel=channel)
        for key in keys or ("",):
            channel.call("queue.bind", queue=queue, exchange=exchange, routing_key=key,
                         arguments=arguments)
        return queue

    def counts(self, channel, *queues):
        return [self.count(channel, queue) for queue in queues]

    def test_S5_what_a_virtual_host_begins_with(self):
        """Also S3, S4: the default exchange is one of them, and queues are bound to it."""
        channel = self.confirming()
        for name, kind in (("amq.direct", "direct"), ("amq.fanout", "fanout"),
                           ("amq.topic", "topic"), ("amq.headers", "headers"),
                           ("amq.match", "headers"), ("amq.rabbitmq.trace", "topic")):
            channel.call("exchange.declare", exchange=name, type=kind, durable=True,
                         internal=name == "amq.rabbitmq.trace")
        queue = self.queue(channel=channel)
        self.fill(channel, queue, [b"x"])
        event = channel.call("basic.get", queue=queue)
        self.assertEqual((event.exchange, event.routing_key), ("", queue))

    def test_S6_direct_compares_whole_keys(self):
        """Also S22: a key is what the publisher says, up to 255 octets."""
        channel = self.confirming()
        exchange = self.exchange(channel=channel)
        long = "k" * 255
        one = self.bound("one", exchange, "uploaded", "deleted", channel=channel)
        two = self.bound("two", exchange, "uploaded", "#", long, channel=channel)
        for key in ("uploaded", "deleted", "upload", "uploaded.x", "Uploaded", "", long):
            channel.publish(key, exchange=exchange, routing_key=key)
        channel.confirmed(7)
        self.assertEqual(self.counts(channel, one, two), [2, 2])

    def test_S7_fanout_ignores_keys(self):
        channel = self.confirming()
        exchange = self.exchange(channel=channel, type="fanout")
        queues = [self.bound(str(n), exchange, "key%d" % n, channel=channel) for n in range(3)]
        for key in ("", "key1", "other"):
            channel.publish(b"x", exchange=exchange, routing_key=key)
        channel.confirmed(3)
        self.assertEqual(self.counts(channel, *queues), [3, 3, 3])

    def test_S8_topic_patterns(self):
        """Also S9 to S14."""
        channel = self.confirming()
        exchange = self.exchange(channel=channel, type="topic")
        for number, (pattern, good, bad) in enumerate(TOPICS):
            queue = self.bound(str(number), exchange, pattern, channel=channel)
            for key in good + bad:
                channel.publish(key, exchange=exchange, routing_key=key)
            channel.confirmed(len(good + bad))
            got = [channel.call("basic.get", queue=queue, no_ack=True).body.decode()
                   for _ in range(self.count(channel, queue))]
            self.assertEqual(got, good, pattern)
            channel.call("queue.unbind", queue=queue, exchange=exchange, routing_key=pattern)

    def test_C78_patterns_with_many_wildcards_give_one_copy(self):
        """Also S21."""
        channel = self.confirming()
        exchange = self.exchange(channel=channel, type="topic")
        queue = self.bound("q", exchange, "#.a.#.b.#", "#", "*.a.#", "x.a.b", channel=channel)
        channel.publish(b"1", exchange=exchange, routing_key="x.a.b")
        channel.publish(b"2", exchange=exchange, routing_key="a.a.b.b.a.b")
        channel.confirmed(2)
        self.assertEqual(self.count(channel, queue), 2)

    def test_S15_headers_all_and_any(self):
        channel = self.confirming()
        exchange = self.exchange(channel=channel, type="headers")
        bind = lambda name, **arguments: self.bound(name, exchange, channel=channel, **arguments)
        queues = {
            "all": bind("all", a=1, b="x", **{"x-match": "all", "x-skipped": 5}),
            "default": bind("default", a=1, b="x"),
            "any": bind("any", a=1, b="x", **{"x-match": "any"}),
            "none-all": bind("none-all", **{"x-match": "all"}),
            "none-any": bind("none-any", **{"x-match": "any"}),
            "present": bind("present", b=None),
            "all-x": bind("all-x", **{"x-match": "all-with-x", "x-k": 5}),
            "any-x": bind("any-x", **{"x-match": "any-with-x", "x-k": 5}),
        }
        cases = (({"a": 1, "b": "x"}, {"all", "default", "any", "none-all", "present"}),
                 ({"a": 1}, {"any", "none-all"}),
                 ({"b": "y"}, {"none-all", "present"}),
                 ({"a": "1"}, {"none-all"}),
                 ({"x-k": 5}, {"none-all", "all-x", "any-x"}),
                 ({}, {"none-all"}))
        for headers, wanted in cases:
            channel.publish(b"x", exchange=exchange, properties={"headers": headers})
            channel.confirmed()
            got = {name for name, queue in queues.items() if self.count(channel, queue)}
            self.assertEqual(got, wanted, headers)
            for queue in queues.values():
                channel.call("queue.purge", queue=queue)
        channel.publish(b"x", exchange=exchange)    # without any headers
        channel.confirmed()
        self.assertEqual(self.counts(channel, queues["none-all"], queues["none-any"]), [1, 0])

    def test_S20_bindings_are_a_set(self):
        """Also S21: one copy, however many bindings match."""
        channel = self.confirming()
        exchange = self.exchange(channel=channel)
        queue = self.bound("q", exchange, "k", "k", "other", channel=channel)
        channel.publish(b"x", exchange=exchange, routing_key="k")
        channel.confirmed()
        self.assertEqual(self.count(channel, queue), 1)
        channel.call("queue.bind", queue=queue, exchange=exchange, routing_key="k",
                     arguments={"a": 1})    # another binding, by its arguments
        channel.call("queue.unbind", queue=queue, exchange=exchange, routing_key="k")
        channel.publish(b"x", exchange=exchange, routing_key="k")
        channel.confirmed()
        self.assertEqual(self.count(channel, queue), 2)
        for _ in range(2):
            channel.call("queue.unbind", queue=queue, exchange=exchange, routing_key="k",
                         arguments={"a": 1})
        channel.publish(b"x", exchange=exchange, routing_key="k")
        channel.confirmed()
        self.assertEqual(self.count(channel, queue), 2)

    def test_C77_a_transient_queue_for_everybody(self):
        """Also S32: made without a name, it stays when its connection goes."""
        connection = self.connect()
        name = connection.channel().call("queue.declare").queue
        self.made.append(("queue", name))
        queue = self.queue(channel=connection.channel(2), durable=False)
        connection.close()
        channel = self.channel()
        self.assertEqual(self.counts(channel, name, queue), [0, 0])


class Alternates(Case):
    def chain(self, channel, count, last=None, **arguments):
        """Exchanges, each with the next as its alternate; their names."""
        names = [self.prefix + "x%d" % n for n in range(count)]
        for at, name in enumerate(names):
            following = names[at + 1] if at + 1 < count else last
            more = {"alternate-exchange": following} if following else {}
            self.exchange("x%d" % at, channel=channel, arguments=more, **arguments)
        return names

    def test_C97_the_alternate_gets_what_matched_nothing(self):
        """Also S17, S19."""
        channel = self.confirming()
        first, second = self.chain(channel, 2)
        mine, other = self.queue("mine", channel=channel), self.queue("other", channel=channel)
        channel.call("queue.bind", queue=mine, exchange=first, routing_key="k")
        channel.call("queue.bind", queue=other, exchange=second, routing_key="k")
        channel.call("queue.bind", queue=other, exchange=second, routing_key="lost")
        for key in ("k", "lost", "nobody"):
            channel.publish(key, exchange=first, routing_key=key)
        channel.confirmed(3)
        got = channel.call("basic.get", queue=other)
        self.assertEqual((got.exchange, got.routing_key, got.message_count), (first, "lost", 0))
        self.assertEqual(self.count(channel, mine), 1)

    def test_C97_what_an_alternate_routes_is_not_returned(self):
        channel = self.confirming()
        first, second = self.chain(channel, 2)
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange=second, routing_key="k")
        channel.publish(b"1", exchange=first, routing_key="k", mandatory=True)
        channel.confirmed()
        channel.publish(b"2", exchange=first, routing_key="nobody", mandatory=True)
        event = channel.next("basic.return")
        self.assertEqual((event.code, event.exchange, event.body), (312, first, b"2"))
        channel.confirmed()

    def test_C97_a_circle_of_alternates_ends(self):
        channel = self.confirming()
        names = self.chain(channel, 3, last=self.prefix + "x0")
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange=names[2], routing_key="k")
        channel.publish(b"k", exchange=names[0], routing_key="k", mandatory=True)
        channel.confirmed()
        channel.publish(b"nobody", exchange=names[1], routing_key="nobody", mandatory=True)
        self.assertEqual(channel.next("basic.return").body, b"nobody")
        self.assertEqual(self.count(channel, queue), 1)

    def test_C97_an_alternate_that_is_not_there_is_none(self):
        channel = self.confirming()
        name, = self.chain(channel, 1, last=self.prefix + "no")
        channel.publish(b"x", exchange=name, routing_key="k", mandatory=True)
        self.assertEqual(channel.next("basic.return").code, 312)
        channel.confirmed()

    def test_C97_only_its_own_bindings_count(self):
        # A bound exchange that routes nowhere is a match all the same: no alternate.
        channel = self.confirming()
        first, second = self.chain(channel, 2)
        target = self.exchange("target", channel=channel)
        queue = self.queue(channel=channel)
        channel.call("exchange.bind", source=first, destination=target, routing_key="k")
        channel.call("queue.bind", queue=queue, exchange=second, routing_key="k")
        channel.publish(b"x", exchange=first, routing_key="k", mandatory=True)
        self.assertEqual(channel.next("basic.return").code, 312)
        channel.confirmed()
        self.assertEqual(self.count(channel, queue), 0)
