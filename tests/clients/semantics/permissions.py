# SPDX-License-Identifier: Apache-2.0
"""Who may do what: C84, C85, C87, C89, C90."""
from semantics.base import Case


class Rights(Case):
    def verb(self, word):
        """4.0 says which right was missing."""
        return word + " access to" if self.v40 else "access to"

    def refused(self, channel, method, right, what, user):
        self.channel_error(channel, 403, method, "ACCESS_REFUSED - %s %s in vhost '/' refused for "
                           "user '%s'" % (self.verb(right), what, user))

    def test_C87_a_dead_letter_exchange_needs_read_and_write(self):
        """Read on the queue, and write on the exchange that its dead go to."""
        dlx = self.exchange("dlx", channel=self.channel())
        queue = self.queue()
        arguments = {"x-dead-letter-exchange": dlx}
        for write, read, right, what in (
                ("^$", ".*", "write", "exchange '%s'" % dlx),
                (".*", "^$", "read", "queue '%s'" % queue)):
            user = self.user(write=write, read=read)
            channel = self.channel(**user)
            channel.send("queue.declare", queue=queue, arguments=arguments)
            self.refused(channel, "queue.declare", right, what, user["user"])
        channel = self.channel(**self.user())
        channel.call("queue.declare", queue=queue, arguments=arguments)

    def test_C87_an_alternate_exchange_needs_read_and_write(self):
        other = self.exchange("other", channel=self.channel())
        exchange = self.exchange()
        arguments = {"alternate-exchange": other}
        for write, read, right, what in (
                ("^$", ".*", "write", "exchange '%s'" % other),
                (".*", "^$", "read", "exchange '%s'" % exchange)):
            user = self.user(write=write, read=read)
            channel = self.channel(**user)
            channel.send("exchange.declare", exchange=exchange, type="direct",
                         arguments=arguments)
            self.refused(channel, "exchange.declare", right, what, user["user"])
        channel = self.channel(**self.user())
        channel.call("exchange.declare", exchange=exchange, type="direct", arguments=arguments)

    def test_C84_binding_exchanges_needs_write_and_read(self):
        owner = self.channel()
        source, target = self.exchange("s", channel=owner), self.exchange("t", channel=owner)
        for method in ("exchange.bind", "exchange.unbind"):
            for write, read, right, what in (("^$", ".*", "write", target),
                                             (".*", "^$", "read", source)):
                user = self.user(write=write, read=read)
                channel = self.channel(**user)
                channel.send(method, source=source, destination=target, routing_key="k")
                self.refused(channel, method, right, "exchange '%s'" % what, user["user"])

    def test_C89_a_right_that_is_taken_away(self):
        """RabbitMQ's channel goes on with the names that it knows; Lepus's does not."""
        user = self.user()
        channel = self.channel(**user)
        queue = self.queue(channel=channel)
        channel.call("basic.get", queue=queue)
        self.ctl("set_permissions", "-p", "/", user["user"], ".*", ".*", "^$")
        if self.lepus:
            channel.send("basic.get", queue=queue)
            self.refused(channel, "basic.get", "read", "queue '%s'" % queue, user["user"])
        fresh = self.channel(**user)
        fresh.send("basic.get", queue=queue)
        self.refused(fresh, "basic.get", "read", "queue '%s'" % queue, user["user"])

    def test_C89_a_right_to_publish_that_is_taken_away(self):
        user = self.user()
        channel = self.channel(**user)
        queue = self.queue(channel=channel)
        for _ in range(3):
            channel.publish(b"x", routing_key=queue)
        self.settled(channel, queue, 3)
        self.ctl("set_permissions", "-p", "/", user["user"], ".*", "^$", ".*")
        if not self.lepus:
            channel = self.channel(**user)
        channel.publish(b"x", routing_key=queue)
        self.refused(channel, "basic.publish", "write", "exchange 'amq.default'", user["user"])

    def test_C90_user_id_must_be_the_users(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        for name in ("somebody", ""):
            channel = self.channel()
            channel.publish(b"x", routing_key=queue, properties={"user_id": name})
            self.channel_error(channel, 406, "basic.publish",
                               "PRECONDITION_FAILED - user_id property set to '%s' but "
                               "authenticated user was 'guest'" % name)
        channel.publish(b"x", routing_key=queue, properties={"user_id": "guest"})
        self.settled(channel, queue, 1)
        self.assertEqual(channel.call("basic.get", queue=queue).properties, {"user_id": "guest"})


class Topics(Case):
    """Rights on keys of topic exchanges."""

    def topical(self, write, read, exchange):
        user = self.user()
        self.ctl("set_topic_permissions", "-p", "/", user["user"], exchange, write, read)
        return user

    def refused(self, channel, method, right, key, exchange, user):
        self.channel_error(channel, 403, method, "ACCESS_REFUSED - %saccess to topic '%s' in "
                           "exchange '%s' in vhost '/' refused for user '%s'"
                           % (right + " " if self.v40 else "", key, exchange, user))

    def test_C85_names_in_patterns(self):
        exchange = self.exchange(channel=self.channel(), type="topic")
        user = self.topical("^{username}-{vhost}$", ".*", exchange)
        channel = self.channel(**user)
        channel.call("confirm.select")
        channel.publish(b"x", exchange=exchange, routing_key=user["user"] + "-/")
        channel.confirmed()
        channel.publish(b"x", exchange=exchange, routing_key="guest-/")
        self.refused(channel, "basic.publish", "write", "guest-/", exchange, user["user"])

    def test_C85_other_exchange_types_have_no_topics(self):
        exchange = self.exchange(channel=self.channel(), type="direct")
        user = self.topical("^$", "^$", exchange)
        channel = self.channel(**user)
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange=exchange, routing_key="k")
        channel.publish(b"x", exchange=exchange, routing_key="k")
        self.settled(channel, queue, 1)
