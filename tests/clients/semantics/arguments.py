# SPDX-License-Identifier: Apache-2.0
"""Arguments of queues: C52, C66, C74 to C76, C82, C87."""
from amqp_raw import Typed
from semantics.base import Case


class Arguments(Case):
    def refused(self, channel, arguments, text, **flags):
        """queue.declare of a new queue is 406 with this text; %s is the queue."""
        queue = self.prefix + "refused"
        channel.send("queue.declare", queue=queue, arguments=arguments, **flags)
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - "
                           + text.replace("%s", "queue '%s' in vhost '/'" % queue))

    def test_C74_values_that_no_queue_can_have_406(self):
        channel = self.channel()
        for name, value, why in (
                ("x-expires", 0, "{value_zero,0}"),
                ("x-expires", -1, "{value_negative,-1}"),
                ("x-expires", Typed("l", 315360000001), "{value_too_large,315360000001}"),
                ("x-expires", "5", '"expected integer, got longstr"'),
                ("x-message-ttl", -1, "{value_negative,-1}"),
                ("x-message-ttl", True, '"expected integer, got bool"'),
                ("x-message-ttl", 1.5, '"expected integer, got double"'),
                ("x-max-length", -1, "{value_negative,-1}"),
                ("x-max-length", "5", '"expected integer, got longstr"'),
                ("x-max-length-bytes", -5, "{value_negative,-5}"),
                ("x-max-priority", 256, "{max_value_exceeded,256}"),
                ("x-max-priority", -1, "{value_negative,-1}"),
                ("x-overflow", "never", "invalid_overflow"),
                ("x-overflow", 5, "{unacceptable_type,signedint}"),
                ("x-queue-mode", "foo", '"unsupported queue mode \'foo\'"'),
                ("x-queue-mode", 5, "{unacceptable_type,signedint}"),
                ("x-single-active-consumer", "true", "{unacceptable_type,longstr}"),
                ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
                ("x-dead-letter-routing-key", 5, "{unacceptable_type,signedint}"),
                ("x-queue-type", 5, "{unacceptable_type,signedint}"),
                ("x-queue-type", "mirrored", '"unsupported queue type \'mirrored\'"')):
            if name == "x-queue-type" and value == "mirrored" and not self.v40:
                continue    # 3.10 loses the connection over it
            with self.subTest(name=name, value=value):
                self.refused(channel, {name: value}, "invalid arg '%s' for %%s: %s" % (name, why))

    def test_C74_a_dead_letter_exchange_is_a_name_406(self):
        self.refused(self.channel(), {"x-dead-letter-exchange": 5},
                     "invalid type 'signedint' for arg 'x-dead-letter-exchange' in %s")

    def test_C74_values_that_are_fine(self):
        channel = self.channel()
        for number, arguments in enumerate((
                {"x-expires": 60000}, {"x-message-ttl": 0}, {"x-max-length": 0},
                {"x-max-length-bytes": Typed("l", 2 ** 40)}, {"x-max-priority": 1},
                {"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"},
                {"x-overflow": "reject-publish-dlx"}, {"x-queue-mode": "lazy"},
                {"x-single-active-consumer": True}, {"x-queue-master-locator": "min-masters"},
                {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"},
                {"x-nobody-knows-this": "kept"})):
            with self.subTest(arguments=arguments):
                name = "q%d" % number
                queue = self.queue(name, channel=channel, arguments=arguments)
                channel.call("queue.declare", queue=queue, arguments=arguments)

    def test_C75_arguments_of_other_types_406(self):
        channel = self.channel()
        for kind, arguments in (
                ("quorum", {"x-max-priority": 5}), ("quorum", {"x-queue-mode": "lazy"}),
                ("stream", {"x-message-ttl": 5}), ("stream", {"x-max-length": 5}),
                ("classic", {"x-delivery-limit": 5}),
                ("classic", {"x-max-age": "1D"}),
                ("classic", {"x-max-in-memory-length": 5})):
            with self.subTest(kind=kind, arguments=arguments):
                self.refused(channel, {"x-queue-type": kind, **arguments},
                             "invalid arg '%s' for %%s of queue type rabbit_%s_queue"
                             % (list(arguments)[0], kind), durable=True)

    def test_consumers_of_queues_have_no_arguments_of_streams_406(self):
        if not self.v40:
            self.skipTest("3.10 does not look at them")
        for kind in ("classic", "quorum"):
            queue = self.queue(kind, channel=self.channel(), durable=True,
                               arguments={"x-queue-type": kind})
            for name, value in (("x-stream-offset", "last"), ("x-stream-filter", "f"),
                                ("x-stream-match-unfiltered", True)):
                channel = self.channel()
                channel.send("basic.consume", queue=queue, arguments={"x-priority": 1, name: value})
                self.channel_error(channel, 406, "basic.consume", "PRECONDITION_FAILED - invalid arg "
                                   "'%s' for queue '%s' in vhost '/' of queue type rabbit_%s_queue"
                                   % (name, queue, kind))

    def test_C76_properties_that_a_type_does_not_have_406(self):
        channel = self.channel()
        for kind in ("quorum", "stream"):
            for flags, word in (({"durable": True, "auto_delete": True}, "auto-delete"),
                                ({"exclusive": True}, "exclusive-owner"),
                                ({}, "non-durable")):
                with self.subTest(kind=kind, word=word):
                    self.refused(channel, {"x-queue-type": kind},
                                 "invalid property '%s' for %%s" % word, **flags)

    def test_C66_server_named_queues_are_classic(self):
        channel = self.channel()
        for kind in ("quorum", "stream"):
            channel.send("queue.declare", durable=True, arguments={"x-queue-type": kind})
            self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - Cannot declare "
                               "a server-named queue for type rabbit_%s_queue" % kind)

    def test_C52_arguments_are_compared_in_the_order_of_the_type(self):
        channel = self.channel()
        queue = self.queue(channel=channel, arguments={"x-max-length": 5, "x-message-ttl": 5})
        channel.send("queue.declare", queue=queue,
                     arguments={"x-max-length": 6, "x-message-ttl": 6})
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - inequivalent arg "
                           "'x-message-ttl' for queue '%s' in vhost '/': received '6' but current "
                           "is '5'" % queue)

    def test_C87_a_dead_letter_exchange_needs_rights_at_both_ends_403(self):
        who = self.user(configure=".*", write="^%s" % self.prefix.replace(".", "\\."), read="^r|may$")
        channel = self.connect(**who).channel(1)
        verb = ("read access to ", "write access to ") if self.v40 else ("access to ", "access to ")
        for name, exchange, text in (
                ("no", "x", verb[0] + "queue '%sno' in vhost '/'" % self.prefix),
                ("may", "elsewhere", verb[1] + "exchange 'elsewhere' in vhost '/'"),
                ("may", "", verb[1] + "exchange 'amq.default' in vhost '/'")):
            channel.send("queue.declare", queue=self.prefix + name,
                         arguments={"x-dead-letter-exchange": exchange})
            self.channel_error(channel, 403, "queue.declare", "ACCESS_REFUSED - %s refused for user "
                               "'%s'" % (text, who["user"]))
        self.queue("may", channel=channel,
                   arguments={"x-dead-letter-exchange": self.prefix + "x"})
