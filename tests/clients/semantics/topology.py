# SPDX-License-Identifier: Apache-2.0
"""Declare, bind, delete and permissions: C49 to C88."""
import re

from amqp_raw import Closed, Typed
from semantics.base import Case
from semantics.connection import EXCLUSIVE


class Queues(Case):
    def inequivalent(self, channel, queue, text, **arguments):
        channel.send("queue.declare", queue=queue, **arguments)
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - inequivalent arg "
                           + text % queue)

    def test_C49_inequivalent_property_406(self):
        """Also S28."""
        channel = self.channel()
        queue = self.queue(channel=channel, durable=True)
        self.inequivalent(channel, queue, "'durable' for queue '%s' in vhost '/': received "
                          "'false' but current is 'true'")
        self.inequivalent(channel, queue, "'auto_delete' for queue '%s' in vhost '/': received "
                          "'true' but current is 'false'", durable=True, auto_delete=True)

    def with_ttl(self, channel, value):
        queue = self.queue()
        self.later_or_skip(channel, "queue.declare", queue=queue,
                           arguments={"x-message-ttl": value})
        return queue

    def test_C50_inequivalent_argument_406(self):
        channel = self.channel()
        queue = self.with_ttl(channel, Typed("l", 1000))
        self.inequivalent(channel, queue, "'x-message-ttl' for queue '%s' in vhost '/': received "
                          "none but current is the value '1000' of type 'long'")
        self.inequivalent(channel, queue, "'x-message-ttl' for queue '%s' in vhost '/': received "
                          "'2000' but current is '1000'", arguments={"x-message-ttl": 2000})
        plain = self.queue("plain", channel=channel)
        self.inequivalent(channel, plain, "'x-message-ttl' for queue '%s' in vhost '/': received "
                          "the value '1000' of type 'signedint' but current is none",
                          arguments={"x-message-ttl": 1000})

    def test_C51_integer_widths_are_one_class(self):
        channel = self.channel()
        queue = self.with_ttl(channel, 1000)
        for kind in "sIil":
            channel.call("queue.declare", queue=queue,
                         arguments={"x-message-ttl": Typed(kind, 1000)})
        for other in (1000.0, "1000"):
            channel.send("queue.declare", queue=queue, arguments={"x-message-ttl": other})
            event = channel.next("channel.close")
            self.assertEqual(event.code, 406)
            channel.send("channel.close-ok")
            channel.call("channel.open")

    def test_C52_exclusive_then_durable_then_auto_delete_are_compared(self):
        owner, stranger = self.channel(), self.channel()
        queue = self.queue(channel=owner, exclusive=True)
        stranger.send("queue.declare", queue=queue, durable=True, auto_delete=True)
        self.channel_error(stranger, 405, "queue.declare", "RESOURCE_LOCKED - " + EXCLUSIVE % queue)
        shared = self.queue("shared", channel=owner, arguments={"x-unknown": "kept"})
        self.inequivalent(owner, shared, "'durable' for queue '%s' in vhost '/': received 'true' "
                          "but current is 'false'", durable=True, auto_delete=True)
        owner.call("queue.declare", queue=shared, arguments={"x-other": 1})

    def test_C53_classic_type_and_absent_type(self):
        channel = self.channel()
        queue = self.queue(channel=channel)
        classic = self.queue("classic", channel=channel, arguments={"x-queue-type": "classic"})
        channel.call("queue.declare", queue=queue, arguments={"x-queue-type": "classic"})
        channel.call("queue.declare", queue=classic)

    def test_C55_exclusive_queue_from_another_connection_405(self):
        """Also S30."""
        owner, stranger = self.channel(), self.channel()
        queue = self.queue(channel=owner, exclusive=True)
        for method, more in (("queue.declare", {"exclusive": True}),
                             ("queue.declare", {"passive": True}),
                             ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
                             ("basic.consume", {}), ("basic.get", {}), ("queue.purge", {}),
                             ("queue.delete", {})):
            stranger.send(method, queue=queue, **more)
            self.channel_error(stranger, 405, method, "RESOURCE_LOCKED - " + EXCLUSIVE % queue)
        owner.call("queue.declare", queue=queue, exclusive=True)

    def test_C56_shared_queue_redeclared_exclusive_405(self):
        channel = self.channel()
        for name, first, then in (("a", False, True), ("b", True, False)):
            queue = self.queue(name, channel=channel, exclusive=first)
            channel.send("queue.declare", queue=queue, exclusive=then)
            if first:       # RabbitMQ compares the owner alone: same connection, no owner wanted
                self.assertEqual(channel.next("channel.close").code, 405)
                channel.send("channel.close-ok")
                channel.call("channel.open")
            else:
                self.channel_error(channel, 405, "queue.declare",
                                   "RESOURCE_LOCKED - " + EXCLUSIVE % queue)

    def test_C57_exclusive_durable_is_gone_with_close_ok(self):
        """Also S31."""
        name = self.queue()
        for _ in range(20):
            channel = self.channel()
            channel.call("queue.declare", queue=name, exclusive=True, durable=True)
            channel.connection.close()
        channel = self.channel()
        channel.send("queue.declare", queue=name, passive=True)
        self.channel_error(channel, 404, "queue.declare",
                           "NOT_FOUND - no queue '%s' in vhost '/'" % name)

    def test_C58_missing_queue_or_exchange_404(self):
        channel, name = self.channel(), self.prefix + "no"
        for method, more in (("queue.declare", {"passive": True}), ("queue.purge", {}),
                             ("basic.consume", {}), ("basic.get", {}),
                             ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"})):
            channel.send(method, queue=name, **more)
            self.channel_error(channel, 404, method,
                               "NOT_FOUND - no queue '%s' in vhost '/'" % name)
        channel.send("exchange.declare", exchange=name, passive=True, type="direct")
        self.channel_error(channel, 404, "exchange.declare",
                           "NOT_FOUND - no exchange '%s' in vhost '/'" % name)

    def test_C59_empty_name_means_the_last_declared(self):
        """Also S52."""
        channel = self.channel()
        for method in ("basic.get", "queue.purge", "basic.consume"):
            channel.send(method)
            self.channel_error(channel, 404, method, "NOT_FOUND - no previously declared queue")
        queue = self.queue(channel=channel)
        channel.call("queue.bind", exchange="amq.direct")
        channel.publish(b"x", exchange="amq.direct", routing_key=queue)
        self.assertEqual(channel.call("basic.get", no_ack=True).body, b"x")

    def test_C61_reserved_prefix_403(self):
        channel = self.channel()
        for kind in ("queue", "exchange"):
            name = "amq." + self.prefix
            arguments = {"type": "direct"} if kind == "exchange" else {}
            channel.send(kind + ".declare", **{kind: name}, **arguments)
            self.channel_error(channel, 403, kind + ".declare", "ACCESS_REFUSED - %s name '%s' "
                               "contains reserved prefix 'amq.*'" % (kind, name))
        channel.call("exchange.declare", exchange="amq.direct", type="direct", durable=True)
        name = channel.call("queue.declare", exclusive=True).queue
        channel.call("queue.declare", queue=name, passive=True)
        channel.send("queue.declare", queue=name, exclusive=True)   # refused even when it is there
        self.channel_error(channel, 403, "queue.declare", "ACCESS_REFUSED - queue name '%s' "
                           "contains reserved prefix 'amq.*'" % name)

    def test_C65_cr_and_lf_are_removed_from_declared_names(self):
        channel = self.channel()
        queue = self.queue()
        dirty = queue[:4] + "\r\n" + queue[4:] + "\n"
        self.assertEqual(channel.call("queue.declare", queue=dirty).queue, queue)
        self.assertEqual(channel.call("queue.declare", queue=dirty, passive=True).queue, queue)
        channel.call("queue.bind", queue=dirty, exchange="amq.direct", routing_key="k")
        channel.send("basic.get", queue=dirty)
        event = channel.next("channel.close")
        self.assertEqual(event.code, 404)
        channel.send("channel.close-ok")
        channel.call("channel.open")
        channel.call("queue.delete", queue=dirty)
        channel.send("queue.declare", queue=queue, passive=True)
        self.assertEqual(channel.next("channel.close").code, 404)

    def test_C66_server_named(self):
        """Also S29."""
        channel = self.channel()
        names = {channel.call("queue.declare", exclusive=True).queue for _ in range(10)}
        self.assertEqual(len(names), 10)
        for name in names:
            self.assertRegex(name, r"^amq\.gen-[A-Za-z0-9_-]{22}$")

    def test_C67_deleting_what_is_not_there_is_ok(self):
        channel = self.channel()
        self.assertEqual(channel.call("queue.delete", queue=self.prefix).message_count, 0)
        channel.call("exchange.delete", exchange=self.prefix)

    def test_C68_delete_if_unused_and_if_empty_406(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        self.fill(channel, queue, [b"x"])
        channel.send("queue.delete", queue=queue, if_empty=True)
        self.channel_error(channel, 406, "queue.delete",
                           "PRECONDITION_FAILED - queue '%s' in vhost '/' not empty" % queue)
        channel.call("queue.purge", queue=queue)
        channel.call("basic.consume", queue=queue, no_ack=True)
        channel.send("queue.delete", queue=queue, if_unused=True)
        self.channel_error(channel, 406, "queue.delete",
                           "PRECONDITION_FAILED - queue '%s' in vhost '/' in use" % queue)
        exchange = self.exchange(channel=channel)
        channel.call("queue.bind", queue=queue, exchange=exchange)
        channel.send("exchange.delete", exchange=exchange, if_unused=True)
        self.channel_error(channel, 406, "exchange.delete",
                           "PRECONDITION_FAILED - exchange '%s' in vhost '/' in use" % exchange)
        channel.call("queue.unbind", queue=queue, exchange=exchange)
        channel.call("exchange.delete", exchange=exchange, if_unused=True)
        channel.call("queue.delete", queue=queue, if_unused=True, if_empty=True)

    def test_C69_purge_removes_ready_only(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        self.fill(channel, queue, [b"1", b"2", b"3", b"4"])
        held = channel.call("basic.get", queue=queue)
        self.assertEqual(channel.call("queue.purge", queue=queue).message_count, 3)
        channel.send("basic.nack", delivery_tag=held.delivery_tag, requeue=True)
        again = channel.call("basic.get", queue=queue)
        self.assertEqual((again.body, again.redelivered), (b"1", True))

    def test_C71_auto_delete_queue_goes_with_its_last_consumer(self):
        """Also S24."""
        channel = self.confirming()
        queue = self.queue(channel=channel, auto_delete=True)
        self.fill(channel, queue, [b"x"])
        channel.call("basic.get", queue=queue, no_ack=True)
        self.count(channel, queue)
        for tag in ("a", "b"):
            channel.call("basic.consume", queue=queue, consumer_tag=tag)
        channel.call("basic.cancel", consumer_tag="a")
        self.count(channel, queue)
        channel.call("basic.cancel", consumer_tag="b")
        channel.send("queue.declare", queue=queue, passive=True)
        self.channel_error(channel, 404, "queue.declare",
                           "NOT_FOUND - no queue '%s' in vhost '/'" % queue)

    def test_C81_declare_ok_counts_ready_and_consumers(self):
        """Also S27, S50."""
        channel = self.confirming()
        queue = self.queue(channel=channel)
        self.fill(channel, queue, [b"1", b"2", b"3"])
        channel.call("basic.get", queue=queue)
        self.assertEqual(self.count(channel, queue), 2)
        other = self.channel()
        other.call("basic.qos", prefetch_count=1)
        other.call("basic.consume", queue=queue)
        other.next("basic.deliver")
        reply = channel.call("queue.declare", queue=queue)
        self.assertEqual((reply.message_count, reply.consumer_count), (1, 1))


class Exchanges(Case):
    def test_C54_exchange_redeclare_406(self):
        channel = self.channel()
        exchange = self.exchange(channel=channel)
        for field, value, received, current in (("type", "fanout", "fanout", "direct"),
                                                ("durable", True, "true", "false"),
                                                ("auto_delete", True, "true", "false"),
                                                ("internal", True, "true", "false")):
            channel.send("exchange.declare", exchange=exchange, **{"type": "direct", field: value})
            self.channel_error(channel, 406, "exchange.declare",
                               "PRECONDITION_FAILED - inequivalent arg '%s' for exchange '%s' in "
                               "vhost '/': received '%s' but current is '%s'"
                               % (field, exchange, received, current))
        channel.call("exchange.declare", exchange=exchange, type="direct",
                     arguments={"x-unknown": 1})

    def test_C62_default_exchange_403(self):
        """Also S4."""
        channel = self.channel()
        queue = self.queue(channel=channel)
        text = "ACCESS_REFUSED - operation not permitted on the default exchange"
        for method, arguments in (
                ("exchange.declare", {"exchange": "", "type": "direct"}),
                ("exchange.delete", {"exchange": ""}),
                ("queue.bind", {"queue": queue, "exchange": "", "routing_key": "k"}),
                ("queue.unbind", {"queue": queue, "exchange": "", "routing_key": "k"}),
                ("exchange.bind", {"source": "", "destination": "amq.direct"}),
                ("exchange.bind", {"source": "amq.direct", "destination": ""})):
            channel.send(method, **arguments)
            self.channel_error(channel, 403, method, text)

    def test_C63_system_exchange_delete_403(self):
        channel = self.channel()
        for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
            channel.send("exchange.delete", exchange=name)
            self.channel_error(channel, 403, "exchange.delete", "ACCESS_REFUSED - deletion of "
                               "system exchange '%s' in vhost '/' not allowed" % name)

    def test_C70_bind_to_what_is_missing_404_and_unbind_ok(self):
        """Also S52."""
        channel, name = self.channel(), self.prefix + "no"
        queue = self.queue(channel=channel)
        for method, arguments, kind in (
                ("queue.bind", {"queue": queue, "exchange": name}, "exchange"),
                ("queue.bind", {"queue": name, "exchange": "amq.direct", "routing_key": "k"},
                 "queue"),
                ("exchange.bind", {"source": name, "destination": "amq.direct"}, "exchange"),
                ("exchange.bind", {"source": "amq.direct", "destination": name}, "exchange")):
            channel.send(method, **arguments)
            self.channel_error(channel, 404, method,
                               "NOT_FOUND - no %s '%s' in vhost '/'" % (kind, name))
        channel.call("queue.unbind", queue=queue, exchange="amq.direct", routing_key="never")
        channel.call("queue.unbind", queue=queue, exchange=name, routing_key="k")
        channel.call("queue.unbind", queue=name, exchange="amq.direct", routing_key="k")
        channel.call("exchange.unbind", source=name, destination="amq.direct")

    def test_C72_auto_delete_exchange_goes_with_its_last_binding(self):
        """Also S24."""
        channel = self.channel()
        queue = self.queue(channel=channel)
        upper = self.exchange("upper", channel=channel, auto_delete=True)
        lower = self.exchange("lower", channel=channel, auto_delete=True)
        channel.call("exchange.bind", source=upper, destination=lower)
        channel.call("queue.bind", queue=queue, exchange=lower, routing_key="1")
        channel.call("queue.bind", queue=queue, exchange=lower, routing_key="2")
        channel.call("queue.unbind", queue=queue, exchange=lower, routing_key="1")
        channel.call("exchange.declare", exchange=lower, passive=True)
        channel.call("queue.unbind", queue=queue, exchange=lower, routing_key="2")
        for name in (lower, upper):
            channel.send("exchange.declare", exchange=name, passive=True)
            self.channel_error(channel, 404, "exchange.declare",
                               "NOT_FOUND - no exchange '%s' in vhost '/'" % name)

    def test_C79_headers_binding_x_match_406(self):
        channel = self.channel()
        queue = self.queue(channel=channel)
        channel.send("queue.bind", queue=queue, exchange="amq.headers",
                     arguments={"x-match": "foo"})
        self.channel_error(channel, 406, "queue.bind", "PRECONDITION_FAILED - Invalid x-match "
                           "field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x")
        channel.send("queue.bind", queue=queue, exchange="amq.headers", arguments={"x-match": 1})
        self.channel_error(channel, 406, "queue.bind", "PRECONDITION_FAILED - Invalid x-match "
                           "field type signedint (value 1); expected longstr")
        for match in ("all", "any", "all-with-x", "any-with-x"):
            channel.call("queue.bind", queue=queue, exchange="amq.headers",
                         arguments={"x-match": match, "h": match})

    def test_C79_comes_before_a_queue_that_is_somebody_elses(self):
        """Also C55."""
        queue = self.queue(channel=self.channel(), exclusive=True)
        channel = self.channel()
        for match, code in (("foo", 406), ("all", 405)):
            channel.send("queue.bind", queue=queue, exchange="amq.headers",
                         arguments={"x-match": match})
            self.assertEqual(channel.next("channel.close").code, code)
            channel.send("channel.close-ok")
            channel.call("channel.open")

    def test_C79_with_x_counts_x_keys(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange="amq.headers",
                     arguments={"x-match": "any-with-x", "x-key": self.prefix})
        for key in ("x-key", "key"):
            channel.publish(key, exchange="amq.headers",
                            properties={"headers": {key: self.prefix}})
        channel.confirmed(2)
        self.assertEqual(self.count(channel, queue), 1)

    def test_C80_passive_declare_ignores_other_fields(self):
        channel = self.confirming()
        queue = self.queue(channel=channel, durable=True)
        exchange = self.exchange(channel=channel)
        self.fill(channel, queue, [b"x"])
        reply = channel.call("queue.declare", queue=queue, passive=True, auto_delete=True,
                             arguments={"x-message-ttl": "nonsense"})
        self.assertEqual((reply.queue, reply.message_count, reply.consumer_count), (queue, 1, 0))
        channel.call("exchange.declare", exchange=exchange, passive=True, type="nonsense",
                     durable=True)
        rights = self.user("^$", "^$", "^$")
        powerless = self.channel(**rights)
        self.assertEqual(self.count(powerless, queue), 1)
        powerless.call("exchange.declare", exchange=exchange, passive=True)


class Permissions(Case):
    def test_C83_patterns_are_unanchored_and_empty_means_nothing(self):
        rights = self.user(configure="mid", write="", read=".*")
        channel = self.channel(**rights)
        queue = self.queue("amidst", channel=channel)
        verb = "write " if self.v40 else ""
        channel.publish(b"x", exchange="amq.direct", routing_key=queue)
        self.channel_error(channel, 403, "basic.publish", "ACCESS_REFUSED - %saccess to exchange "
                           "'amq.direct' in vhost '/' refused for user '%s'"
                           % (verb, rights["user"]))

    def test_C83_patterns_are_pcre(self):
        rights = self.user(configure=r"^%s(?!x)\w+$" % re.escape(self.prefix))
        channel = self.channel(**rights)
        self.queue("good", channel=channel)
        channel.send("queue.declare", queue=self.prefix + "xbad")
        self.assertEqual(channel.next("channel.close").code, 403)

    def test_C84_refused_403(self):
        rights = self.user(configure="^$", write="^$", read="^$")
        owner = self.channel()
        queue = self.queue(channel=owner)
        exchange = self.exchange(channel=owner)
        channel = self.channel(**rights)
        for method, arguments, verb, what in (
                ("queue.declare", {"queue": self.prefix + "new"}, "configure",
                 "queue '%snew'" % self.prefix),
                ("queue.delete", {"queue": queue}, "configure", "queue '%s'" % queue),
                ("exchange.declare", {"exchange": self.prefix + "new", "type": "direct"},
                 "configure", "exchange '%snew'" % self.prefix),
                ("exchange.delete", {"exchange": exchange}, "configure",
                 "exchange '%s'" % exchange),
                ("queue.bind", {"queue": queue, "exchange": exchange}, "write",
                 "queue '%s'" % queue),
                ("basic.consume", {"queue": queue}, "read", "queue '%s'" % queue),
                ("basic.get", {"queue": queue}, "read", "queue '%s'" % queue),
                ("queue.purge", {"queue": queue}, "read", "queue '%s'" % queue)):
            channel.send(method, **arguments)
            self.channel_error(channel, 403, method, "ACCESS_REFUSED - %saccess to %s in vhost '/' "
                               "refused for user '%s'" % (verb + " " if self.v40 else "", what,
                                                          rights["user"]))

    def test_C88_publish_to_internal_exchange_403(self):
        channel = self.channel()
        exchange = self.exchange(channel=channel, internal=True)
        channel.publish(b"x", exchange=exchange)
        self.channel_error(channel, 403, "basic.publish", "ACCESS_REFUSED - cannot publish to "
                           "internal exchange '%s' in vhost '/'" % exchange)

    def test_C84_revoked_right_is_refused_on_a_new_channel(self):
        rights = self.user()
        channel = self.channel(**rights)
        self.queue("a", channel=channel)
        self.broker.ctl("set_permissions", "-p", "/", rights["user"], "^$", ".*", ".*")
        other = channel.connection.channel(2)
        try:
            other.send("queue.declare", queue=self.prefix + "b")
            self.assertEqual(other.next("channel.close").code, 403)
        except Closed as closed:
            self.fail("the connection closed: %r" % closed)
