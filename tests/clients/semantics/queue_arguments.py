# SPDX-License-Identifier: Apache-2.0
"""Arguments and types that are refused, and those that are taken: C53, C64, C74 to C76, S51."""
from amqp_raw import Typed
from semantics.base import Case

INTEGERS = ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes")
TEN_YEARS_MS = 315360000000


class Arguments(Case):
    def refused(self, channel, arguments, text, **more):
        """406 with this text about `{arg}`, `{queue}`."""
        queue = self.prefix + "refused"
        channel.send("queue.declare", queue=queue, arguments=arguments, **more)
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - " + text.format(
            arg=next(iter(arguments), ""), queue="queue '%s' in vhost '/'" % queue))

    def test_C74_numbers_must_be_numbers(self):
        channel = self.channel()
        for name in INTEGERS:
            self.refused(channel, {name: "5"},
                         'invalid arg \'{arg}\' for {queue}: "expected integer, got longstr"')
            self.refused(channel, {name: True},
                         'invalid arg \'{arg}\' for {queue}: "expected integer, got bool"')
            self.refused(channel, {name: 1.5},
                         'invalid arg \'{arg}\' for {queue}: "expected integer, got double"')
        self.refused(channel, {"x-max-priority": "5"},
                     'invalid arg \'{arg}\' for {queue}: "expected integer, got longstr"')

    def test_C74_numbers_have_bounds(self):
        channel = self.channel()
        for name in (*INTEGERS, "x-max-priority"):
            self.refused(channel, {name: -1}, "invalid arg '{arg}' for {queue}: {{value_negative,-1}}")
        for name in ("x-message-ttl", "x-expires"):
            self.refused(channel, {name: TEN_YEARS_MS + 1}, "invalid arg '{arg}' for {queue}: "
                         "{{value_too_large,%d}}" % (TEN_YEARS_MS + 1))
        self.refused(channel, {"x-max-priority": 256},
                     "invalid arg '{arg}' for {queue}: {{max_value_exceeded,256}}")
        self.refused(channel, {"x-expires": 0}, "invalid arg '{arg}' for {queue}: {{value_zero,0}}")

    def test_C74_words_must_be_known(self):
        channel = self.channel()
        self.refused(channel, {"x-overflow": "explode"},
                     "invalid arg '{arg}' for {queue}: invalid_overflow")
        self.refused(channel, {"x-overflow": 1},
                     "invalid arg '{arg}' for {queue}: {{unacceptable_type,signedint}}")
        self.refused(channel, {"x-queue-mode": "fast"},
                     "invalid arg '{arg}' for {queue}: \"unsupported queue mode 'fast'\"")
        self.refused(channel, {"x-single-active-consumer": "yes"},
                     "invalid arg '{arg}' for {queue}: {{unacceptable_type,longstr}}")

    def test_C74_dead_letter_exchanges_and_keys(self):
        channel = self.channel()
        self.refused(channel, {"x-dead-letter-routing-key": "k"},
                     "invalid arg '{arg}' for {queue}: routing_key_but_no_dlx_defined")
        self.refused(channel, {"x-dead-letter-exchange": 1},
                     "invalid type 'signedint' for arg '{arg}' in {queue}")

    def test_C74_what_is_taken(self):
        channel = self.channel()
        for number, arguments in enumerate((
                {"x-message-ttl": 0}, {"x-message-ttl": TEN_YEARS_MS}, {"x-expires": 1000000},
                {"x-max-length": 0, "x-max-length-bytes": 0}, {"x-max-length": Typed("l", 2**40)},
                {"x-max-priority": 0}, {"x-max-priority": 255}, {"x-queue-mode": "lazy"},
                {"x-queue-mode": "default"}, {"x-overflow": "reject-publish-dlx"},
                {"x-single-active-consumer": False}, {"x-dead-letter-exchange": self.prefix + "no"},
                {"x-queue-master-locator": "min-masters"}, {"x-unknown": [1, {"a": None}]},
                {"x-queue-type": "classic"}, {"x-message-ttl": Typed("B", 200)},
                {"x-max-length": Typed("u", 65535)})):
            self.queue("q%d" % number, channel=channel, arguments=arguments)

    def test_C74_an_equal_declare_of_a_queue_with_arguments(self):
        """Also S28."""
        channel = self.channel()
        arguments = {"x-message-ttl": 1000, "x-max-length": 5, "x-overflow": "drop-head"}
        queue = self.queue(channel=channel, arguments=arguments)
        channel.call("queue.declare", queue=queue, arguments=arguments)
        channel.call("queue.declare", queue=queue, arguments={**arguments, "x-other": 1})
        channel.send("queue.declare", queue=queue, arguments={**arguments, "x-max-length": 6})
        self.channel_error(channel, 406, "queue.declare",
                           "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '%s' "
                           "in vhost '/': received '6' but current is '5'" % queue)

    def test_C64_an_unknown_exchange_type(self):
        """Also S51."""
        channel = self.channel()
        exchange = self.prefix + "x"
        channel.send("exchange.declare", exchange=exchange, type="x-odd")
        if self.v40:
            self.channel_error(channel, 406, "exchange.declare",
                               "PRECONDITION_FAILED - unknown exchange type 'x-odd'")
        else:
            self.connection_error(channel.connection, 503, "exchange.declare",
                                  "COMMAND_INVALID - unknown exchange type 'x-odd'", channel=1)

    def test_C64_the_empty_exchange_type(self):
        """The type is looked at before the name."""
        for name in (self.prefix + "x", ""):
            channel = self.channel()
            channel.send("exchange.declare", exchange=name, type="")
            if self.v40:
                self.channel_error(channel, 406, "exchange.declare",
                                   "PRECONDITION_FAILED - invalid exchange type ''")
            else:
                self.connection_error(channel.connection, 503, "exchange.declare",
                                      "COMMAND_INVALID - invalid exchange type ''", channel=1)

    def other_types(self):
        """A channel, unless this broker has classic queues only."""
        channel = self.channel()
        name = self.queue("quorum")
        self.later_or_skip(channel, "queue.declare", queue=name, durable=True,
                           arguments={"x-queue-type": "quorum"})
        return channel

    def test_C75_arguments_of_other_types(self):
        channel = self.other_types()
        self.refused(channel, {"x-max-priority": 5, "x-queue-type": "quorum"},
                     "invalid arg '{arg}' for {queue} of queue type rabbit_quorum_queue",
                     durable=True)

    def test_C76_properties_that_other_types_cannot_have(self):
        channel = self.other_types()
        quorum = {"x-queue-type": "quorum"}
        self.refused(channel, quorum, "invalid property 'non-durable' for {queue}")
        self.refused(channel, quorum, "invalid property 'auto-delete' for {queue}", durable=True,
                     auto_delete=True)
        self.refused(channel, quorum, "invalid property 'exclusive-owner' for {queue}", durable=True,
                     exclusive=True)

    def test_C53_an_unknown_queue_type(self):
        channel = self.channel()
        queue = self.prefix + "q"
        channel.send("queue.declare", queue=queue, arguments={"x-queue-type": "odd"})
        event = channel.next("channel.close")
        self.assertEqual(event.code, 406, event)
        self.assertTrue(event.text.startswith("PRECONDITION_FAILED - invalid arg 'x-queue-type' "
                                              "for queue '%s' in vhost '/': " % queue), event.text)
