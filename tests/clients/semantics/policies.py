# SPDX-License-Identifier: Apache-2.0
"""Policies and operator policies: C97, C144, C149."""
import json
import time

from amqp_raw import DEADLINE_S
from semantics.base import Case


class Policies(Case):
    def policy(self, definition, pattern=None, name=None, command="set_policy", **options):
        """Set a policy for this test's objects, until the test ends."""
        if not self.broker.has_ctl:
            self.skipTest("needs the broker's command-line tool")
        name = name or self.prefix + "p"
        pattern = pattern or "^" + self.prefix.replace(".", "\\.")
        line = [command, name, pattern, json.dumps(definition)]
        for key, value in options.items():
            line += ["--" + key.replace("_", "-"), str(value)]
        result = self.broker.ctl(*line, check=False)
        if self.lepus and result.returncode == 64 and "not " in result.stderr + result.stdout:
            self.skipTest("no %s yet" % command)
        self.addCleanup(self.clear, name, command)
        return result

    def clear(self, name, command="set_policy"):
        self.broker.ctl(command.replace("set_", "clear_"), name, check=False)

    def applied(self, done):
        """RabbitMQ applies policies a moment after it has answered."""
        until = time.monotonic() + DEADLINE_S
        while not done():
            self.assertLess(time.monotonic(), until, "the policy is not applied")

    def lengths(self, channel, queue, wanted, published=6):
        """The queue keeps `wanted` of those that are published to it."""
        def full():
            channel.call("queue.purge", queue=queue)
            for _ in range(published):
                channel.publish(b"m", routing_key=queue)
            channel.confirmed(published)
            return self.count(channel, queue) == wanted
        self.applied(full)

    def test_C149_the_smallest_length_counts(self):
        channel = self.confirming()
        queue = self.queue(channel=channel, arguments={"x-max-length": 4})
        plain = self.queue("plain", channel=channel)
        self.policy({"max-length": 5})
        self.lengths(channel, plain, 5)
        self.lengths(channel, queue, 4)
        self.policy({"max-length": 3}, name=self.prefix + "o", command="set_operator_policy")
        self.lengths(channel, plain, 3)
        self.lengths(channel, queue, 3)
        self.clear(self.prefix + "o", "set_operator_policy")
        self.clear(self.prefix + "p")
        self.lengths(channel, plain, 6)
        self.lengths(channel, queue, 4)

    def test_C149_an_argument_for_dead_letters_wins(self):
        channel = self.confirming()
        mine, theirs = self.queue("mine", channel=channel), self.queue("theirs", channel=channel)
        own = self.queue("own", channel=channel, arguments={
            "x-max-length": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": mine})
        none = self.queue("none", channel=channel, arguments={"x-max-length": 0})
        self.policy({"dead-letter-exchange": "", "dead-letter-routing-key": theirs},
                    pattern="^%s(own|none)$" % self.prefix.replace(".", "\\."))

        def dead():
            channel.publish(b"m", routing_key=none)
            channel.confirmed(1)
            return self.count(channel, theirs) > 0
        self.applied(dead)
        channel.call("queue.purge", queue=theirs)
        channel.publish(b"m", routing_key=own)
        channel.confirmed(1)
        self.settled(channel, mine, 1)
        self.assertEqual(self.count(channel, theirs), 0)

    def test_C149_an_argument_for_overflow_wins_on_classic_queues(self):
        channel = self.confirming()
        queue = self.queue(channel=channel, arguments={"x-max-length": 1,
                                                       "x-overflow": "reject-publish"})
        plain = self.queue("plain", channel=channel, arguments={"x-max-length": 1})
        self.policy({"overflow": "drop-head"})
        self.lengths(channel, plain, 1)
        for body in (b"first", b"second"):
            channel.publish(body, routing_key=queue)
        names = sorted(channel.next().name for _ in range(2))
        self.assertEqual(names, ["basic.ack", "basic.nack"])

    def test_the_highest_priority_applies_and_only_that(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        self.policy({"max-length": 4}, name=self.prefix + "low", priority=1)
        self.policy({"max-length": 2}, name=self.prefix + "high", priority=7)
        self.policy({"max-length": 1}, name=self.prefix + "exchanges", priority=9,
                    apply_to="exchanges")
        self.lengths(channel, queue, 2)
        self.clear(self.prefix + "high")
        self.lengths(channel, queue, 4)

    def test_C97_a_policy_gives_an_exchange_its_alternate(self):
        channel = self.confirming()
        exchange = self.exchange(channel=channel)
        alternate = self.exchange("ae", channel=channel, type="fanout")
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange=alternate)
        self.policy({"alternate-exchange": alternate}, apply_to="exchanges")

        def arrives():
            channel.publish(b"m", exchange=exchange, routing_key="nowhere")
            channel.confirmed(1)
            return self.count(channel, queue) > 0
        self.applied(arrives)

    def test_definitions_are_checked(self):
        for definition, text in (
                ({"max-length": -1}, "-1 is not a valid maximum length"),
                ({"message-ttl": "x"}, '<<"x">> is not a valid message TTL'),
                ({"expires": 0}, "0 is not a valid queue expiry"),
                ({"no-such-key": 1}, '[{<<"no-such-key">>,1}] are not recognised policy settings'),
                ({}, "no policy provided")):
            with self.subTest(definition=definition):
                result = self.policy(definition)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn("Validation failed\n\n%s\n" % text, result.stdout + result.stderr)
        result = self.policy({"dead-letter-exchange": "x"}, command="set_operator_policy")
        self.assertIn('[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings',
                      result.stdout + result.stderr)
