# SPDX-License-Identifier: Apache-2.0
"""Rights on topics: C85."""
from semantics.base import Case


class TopicRights(Case):
    def topic_user(self, write, read, exchange="amq.topic"):
        """A user with all rights, and these on the routing keys of an exchange."""
        who = self.user()
        result = self.broker.ctl("set_topic_permissions", who["user"], exchange, write, read,
                                 check=False)
        if self.lepus and result.returncode == 64:
            self.skipTest("no set_topic_permissions yet")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return who

    def refused(self, channel, method, verb, key, exchange, who):
        verb = verb + " " if self.v40 else ""
        self.channel_error(channel, 403, method, "ACCESS_REFUSED - %saccess to topic '%s' in "
                           "exchange '%s' in vhost '/' refused for user '%s'"
                           % (verb, key, exchange, who["user"]))

    def test_C85_publishing_needs_the_right_to_write_the_key_403(self):
        who = self.topic_user("^{username}\\.", ".*")
        channel = self.connect(**who).channel(1)
        channel.call("confirm.select")
        channel.publish(exchange="amq.topic", routing_key=who["user"] + ".a")
        channel.confirmed(1)
        channel.publish(exchange="amq.topic", routing_key="other.a")
        self.refused(channel, "basic.publish", "write", "other.a", "amq.topic", who)
        channel.publish(exchange="amq.direct", routing_key="other.a")   # other exchanges: anything
        channel.call("queue.declare", exclusive=True)

    def test_C85_binding_needs_the_right_to_read_the_key_403(self):
        who = self.topic_user(".*", "^a\\.{vhost}$|^b")
        channel = self.connect(**who).channel(1)
        queue = channel.call("queue.declare", exclusive=True).queue
        for key in ("b.c", "a./"):
            channel.call("queue.bind", queue=queue, exchange="amq.topic", routing_key=key)
        for method in ("queue.bind", "queue.unbind"):
            channel.send(method, queue=queue, exchange="amq.topic", routing_key="c.d")
            self.refused(channel, method, "read", "c.d", "amq.topic", who)
        exchange = self.exchange(channel=channel, type="fanout")
        channel.send("exchange.bind", source="amq.topic", destination=exchange, routing_key="c.d")
        self.refused(channel, "exchange.bind", "read", "c.d", "amq.topic", who)
        channel.call("queue.bind", queue=queue, exchange="amq.direct", routing_key="c.d")

    def test_C85_rights_that_are_taken_away_do_not_hold_back_any_more(self):
        who = self.topic_user("^a$", ".*")
        channel = self.connect(**who).channel(1)
        channel.publish(exchange="amq.topic", routing_key="b")
        self.refused(channel, "basic.publish", "write", "b", "amq.topic", who)
        self.broker.ctl("clear_topic_permissions", who["user"])
        channel.call("confirm.select")
        channel.publish(exchange="amq.topic", routing_key="b")
        channel.confirmed(1)

    def test_C85_every_key_of_CC_and_BCC_is_asked_for(self):
        if not self.v40:
            self.skipTest("3.10 looks at the routing key only")
        who = self.topic_user("^(a|b|c)$", ".*")
        channel = self.connect(**who).channel(1)
        channel.call("confirm.select")
        allowed = {"headers": {"CC": ["b"] * 20 + ["c", "a"], "BCC": ["c"]}}
        channel.publish(exchange="amq.topic", routing_key="a", properties=allowed)
        channel.confirmed(1)
        channel.publish(exchange="amq.topic", routing_key="a",
                        properties={"headers": {"CC": ["b"], "BCC": ["other"]}})
        self.refused(channel, "basic.publish", "write", "other", "amq.topic", who)

    def test_C90_an_impersonator_may_name_another_user(self):
        who = self.user()
        channel = self.connect(**who).channel(1)
        channel.publish(exchange="amq.direct", properties={"user_id": "guest"})
        self.channel_error(channel, 406, "basic.publish", "PRECONDITION_FAILED - user_id property "
                           "set to 'guest' but authenticated user was '%s'" % who["user"])
        self.broker.ctl("set_user_tags", who["user"], "impersonator")
        channel = self.connect(**who).channel(1)
        channel.call("confirm.select")
        channel.publish(exchange="amq.direct", properties={"user_id": "guest"})
        channel.confirmed(1)
