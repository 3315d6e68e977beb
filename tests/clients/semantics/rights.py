# SPDX-License-Identifier: Apache-2.0
"""What a user may do beyond names, and what happens when it changes: C20, C30, C85, C89 to C91,
C118."""
from semantics.base import Case


class Topics(Case):
    def topics(self, exchange, write, read, **rights):
        login = self.user(**rights)
        self.broker.ctl("set_topic_permissions", "-p", "/", login["user"], exchange, write, read)
        return login

    def refused(self, channel, key, exchange, login, access="write"):
        self.channel_error(channel, 403, "basic.publish" if access == "write" else "queue.bind",
                           "ACCESS_REFUSED - %saccess to topic '%s' in exchange '%s' in vhost '/' "
                           "refused for user '%s'" % (access + " " if self.v40 else "", key,
                                                      exchange, login["user"]))

    def test_C85_publishing_to_topics(self):
        login = self.topics("amq.topic", "^(a|%s)" % self.prefix, "")
        channel = self.channel(**login)
        channel.call("confirm.select")
        for key in ("a.b", "a", "a.b"):
            channel.publish(b"x", exchange="amq.topic", routing_key=key)
        channel.confirmed(3)
        channel.publish(b"x", exchange="amq.topic", routing_key="b.a")
        self.refused(channel, "b.a", "amq.topic", login)
        # Exchanges of other types, and other topic exchanges, do not care.
        exchange = self.exchange(channel=self.channel(), type="topic")
        channel.publish(b"x", exchange="amq.direct", routing_key="b.a")
        channel.publish(b"x", exchange=exchange, routing_key="b.a")
        self.assertEqual(channel.pending(), [])

    def test_C85_the_names_of_user_and_vhost_stand_for_themselves(self):
        login = self.topics("amq.topic", r"^{vhost}\.{username}\.", "")
        channel = self.channel(**login)
        channel.publish(b"x", exchange="amq.topic", routing_key="/.%s.x" % login["user"])
        self.assertEqual(channel.pending(), [])
        channel.publish(b"x", exchange="amq.topic", routing_key="/.guest.x")
        self.refused(channel, "/.guest.x", "amq.topic", login)

    def test_C85_every_key_of_a_message_counts(self):
        if not self.v40:
            self.skipTest("3.10 looks at the routing key only")
        login = self.topics("amq.topic", "^a", "")
        channel = self.channel(**login)
        channel.call("confirm.select")
        for keys in (["a.1", "a.2", "a.3"], ["a.%d" % n for n in range(400)]):
            channel.publish(b"x", exchange="amq.topic", routing_key="a",
                            properties={"headers": {"CC": keys, "BCC": ["a.x"]}})
            channel.confirmed()
        for headers in ({"CC": ["a.1", "b.1"]}, {"BCC": ["b.1"]}):
            channel.publish(b"x", exchange="amq.topic", routing_key="a",
                            properties={"headers": headers})
            self.refused(channel, "b.1", "amq.topic", login)

    def test_C85_binding_reads_topics(self):
        login = self.topics("amq.topic", "", "^a")
        channel = self.channel(**login)
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange="amq.topic", routing_key="a.#")
        channel.send("queue.bind", queue=queue, exchange="amq.topic", routing_key="#")
        self.refused(channel, "#", "amq.topic", login, access="read")

    def test_C91_topics_come_after_expiration_and_before_user_id(self):
        login = self.topics("amq.topic", "^a", "")
        channel = self.channel(**login)
        channel.publish(b"x", exchange="amq.topic", routing_key="b",
                        properties={"expiration": "x", "user_id": "somebody"})
        if self.v40:
            self.channel_error(channel, 406, "basic.publish",
                               "PRECONDITION_FAILED - invalid expiration 'x': no_integer")
        else:
            self.refused(channel, "b", "amq.topic", login)
        channel.publish(b"x", exchange="amq.topic", routing_key="b",
                        properties={"user_id": "somebody"})
        self.refused(channel, "b", "amq.topic", login)
        channel.publish(b"x", exchange="amq.topic", routing_key="a",
                        properties={"user_id": "somebody"})
        self.channel_error(channel, 406, "basic.publish",
                           "PRECONDITION_FAILED - user_id property set to 'somebody' but "
                           "authenticated user was '%s'" % login["user"])

    def test_C89_a_right_on_a_topic_that_is_taken_away_is_gone(self):
        """RabbitMQ remembers it for the channel."""
        login = self.topics("amq.topic", "^a", "")
        channel = self.channel(**login)
        channel.publish(b"x", exchange="amq.topic", routing_key="a")
        self.assertEqual(channel.pending(), [])
        self.broker.ctl("set_topic_permissions", "-p", "/", login["user"], "amq.topic", "^b", "")
        if not self.lepus:
            channel = self.channel(**login)
        channel.publish(b"x", exchange="amq.topic", routing_key="a")
        self.refused(channel, "a", "amq.topic", login)
        self.broker.ctl("clear_topic_permissions", "-p", "/", login["user"])
        channel.publish(b"x", exchange="amq.topic", routing_key="a")
        self.assertEqual(channel.pending(), [])

    def test_C89_a_right_on_topics_given_later_holds_for_open_channels(self):
        login = self.user()
        channel = self.channel(**login)
        channel.publish(b"x", exchange="amq.topic", routing_key="b")
        self.assertEqual(channel.pending(), [])
        self.broker.ctl("set_topic_permissions", "-p", "/", login["user"], "amq.topic", "^a", "")
        if not self.lepus:
            channel = self.channel(**login)
        channel.publish(b"x", exchange="amq.topic", routing_key="b")
        self.refused(channel, "b", "amq.topic", login)


class Users(Case):
    def test_C90_an_impersonator_may_name_others(self):
        login = self.user()
        channel = self.channel(**login)
        channel.publish(b"x", routing_key="k", properties={"user_id": login["user"]})
        channel.publish(b"x", routing_key="k", properties={"user_id": "guest"})
        self.channel_error(channel, 406, "basic.publish",
                           "PRECONDITION_FAILED - user_id property set to 'guest' but "
                           "authenticated user was '%s'" % login["user"])
        channel.publish(b"x", routing_key="k", properties={"user_id": ""})
        self.channel_error(channel, 406, "basic.publish",
                           "PRECONDITION_FAILED - user_id property set to '' but "
                           "authenticated user was '%s'" % login["user"])
        self.broker.ctl("set_user_tags", login["user"], "impersonator", "other")
        channel = self.confirming(**login)
        queue = self.queue(channel=channel)
        channel.publish(b"x", routing_key=queue, properties={"user_id": "guest"})
        channel.confirmed()
        event = channel.call("basic.get", queue=queue, no_ack=True)
        self.assertEqual(event.__dict__["properties"], {"user_id": "guest"})

    def test_C89_a_tag_that_is_taken_away_is_gone(self):
        login = self.user()
        self.broker.ctl("set_user_tags", login["user"], "impersonator")
        channel = self.channel(**login)
        channel.publish(b"x", routing_key="k", properties={"user_id": "guest"})
        self.assertEqual(channel.pending(), [])
        self.broker.ctl("set_user_tags", login["user"])
        if not self.lepus:
            channel = self.channel(**login)
        channel.publish(b"x", routing_key="k", properties={"user_id": "guest"})
        event = channel.next("channel.close")
        self.assertEqual(event.code, 406)

    def test_C89_rights_of_others_change_nothing(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        for _ in range(3):
            login = self.user()
            channel.publish(b"x", routing_key=queue)
            channel.confirmed()
            self.broker.ctl("clear_permissions", "-p", "/", login["user"])
            channel.call("basic.get", queue=queue, no_ack=True)
            self.assertEqual(self.count(channel, queue), 0)

    def test_C20_channels_that_are_closed_make_room_again(self):
        if not self.lepus:
            self.skipTest("RabbitMQ counts a channel for a moment after its close-ok")
        login = self.user()
        self.broker.ctl("set_user_limits", login["user"], '{"max-channels": 3}')
        connection = self.connect(**login)
        for _ in range(20):
            channels = [connection.channel(number) for number in (1, 2, 3)]
            for channel in channels:
                channel.call("channel.close", code=200)


class Secrets(Case):
    def test_C30_a_new_secret_is_taken_and_channels_go_on(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        channel.connection.send(0, "connection.update-secret", secret="whatever", reason="why not")
        self.assertEqual(channel.connection.next(0).name, "connection.update-secret-ok")
        channel.publish(b"x", routing_key=queue)
        channel.confirmed()

    def test_C118_a_new_secret_cancels_consumers_that_may_not_read_any_more(self):
        """RabbitMQ does it when the rights that come with the secret have changed."""
        if not self.lepus:
            self.skipTest("the internal back end's rights do not come with secrets")
        login = self.user()
        channel = self.channel(**login)
        kept, lost = self.queue("kept", channel=channel), self.queue("lost", channel=channel)
        for number in range(5):
            channel.call("basic.consume", queue=(kept, lost)[number % 2], consumer_tag=str(number))
        second = channel.connection.channel(2)
        second.call("basic.consume", queue=lost, consumer_tag="second")
        channel.publish(b"first", routing_key=lost)
        first = channel.next("basic.deliver")
        self.broker.ctl("set_permissions", "-p", "/", login["user"], ".*", ".*", "kept")
        channel.connection.send(0, "connection.update-secret", secret="secret", reason="")
        self.assertEqual(channel.connection.next(0).name, "connection.update-secret-ok")
        tags = []
        for listener, count in ((channel, 2), (second, 1)):
            for _ in range(count):
                event = listener.next("basic.cancel")
                self.assertTrue(event.nowait)
                tags.append(event.consumer_tag)
        self.assertEqual(sorted(tags), ["1", "3", "second"])
        channel.publish(b"second", routing_key=lost)
        channel.send("basic.ack", delivery_tag=first.delivery_tag)
        channel.publish(b"third", routing_key=kept)
        self.assertEqual(channel.next("basic.deliver").body, b"third")
        watcher = self.channel()
        self.settled(watcher, lost, 1)
        channel.call("basic.cancel", consumer_tag="1")  # nothing is left to cancel
        channel.send("basic.consume", queue=lost, consumer_tag="1")
        event = channel.next("channel.close")
        self.assertEqual(event.code, 403)

    def test_C118_without_the_capability_they_end_in_silence(self):
        if not self.lepus:
            self.skipTest("the internal back end's rights do not come with secrets")
        login = self.user()
        channel = self.channel(capabilities=(), **login)
        queue = self.queue(channel=channel)
        channel.call("basic.consume", queue=queue)
        self.broker.ctl("set_permissions", "-p", "/", login["user"], ".*", ".*", "")
        channel.connection.send(0, "connection.update-secret", secret="secret", reason="")
        self.assertEqual(channel.connection.next(0).name, "connection.update-secret-ok")
        watcher = self.channel()
        while watcher.call("queue.declare", queue=queue, passive=True).consumer_count:
            pass
        self.assertEqual(channel.pending(), [])
