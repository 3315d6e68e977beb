# SPDX-License-Identifier: Apache-2.0
"""Transactions: C108 to C112, and the wait for a commit in C40."""
from amqp_raw import content_frames, method_frame
from semantics.base import Case


class Tx(Case):
    def transactional(self, **options):
        channel = self.channel(**options)
        channel.call("tx.select")
        return channel

    def other(self, channel):
        """A second channel, that sees what others see."""
        return channel.connection.channel(channel.number + 1)

    def test_C108_confirm_and_tx_exclude_each_other_406(self):
        channel = self.transactional()
        channel.call("tx.select")  # twice is fine
        channel.send("confirm.select")
        self.channel_error(channel, 406, "confirm.select",
                           "PRECONDITION_FAILED - cannot switch from tx to confirm mode")
        channel.call("confirm.select")
        channel.send("tx.select")
        self.channel_error(channel, 406, "tx.select",
                           "PRECONDITION_FAILED - cannot switch from confirm to tx mode")

    def test_C109_commit_and_rollback_without_select_406(self):
        channel = self.channel()
        for method in ("tx.commit", "tx.rollback"):
            channel.send(method)
            self.channel_error(channel, 406, method,
                               "PRECONDITION_FAILED - channel is not transactional")

    def test_C110_publishes_wait_for_the_commit_and_keep_their_order(self):
        """Also S66."""
        channel = self.transactional()
        other, queue = self.other(channel), self.queue(channel=channel)
        fan = self.exchange("fan", channel=channel, type="fanout")
        channel.call("queue.bind", queue=queue, exchange=fan)
        for number in range(300):
            channel.publish(b"%d" % number, exchange=fan if number % 3 == 0 else "",
                            routing_key=queue)
        self.assertEqual(channel.pending(), [])
        self.assertEqual(self.count(other, queue), 0)
        channel.call("tx.commit")
        self.assertEqual(self.count(other, queue), 300)
        other.call("basic.consume", queue=queue, no_ack=True)
        self.assertEqual([e.body for e in self.deliveries(other, 300)],
                         [b"%d" % number for number in range(300)])
        self.assertEqual(channel.pending(), [])  # no confirms
        channel.call("tx.commit")  # of nothing

    def test_C110_routing_happens_at_publish(self):
        channel = self.transactional()
        other, exchange = self.other(channel), self.exchange(channel=channel)
        bound, late = self.queue("bound", channel=channel), self.queue("late", channel=channel)
        channel.call("queue.bind", queue=bound, exchange=exchange, routing_key="k")
        channel.publish(b"1", exchange=exchange, routing_key="k")
        channel.call("queue.unbind", queue=bound, exchange=exchange, routing_key="k")
        channel.call("queue.bind", queue=late, exchange=exchange, routing_key="k")
        channel.call("tx.commit")
        self.assertEqual((self.count(other, bound), self.count(other, late)), (1, 0))

    def test_C110_a_queue_that_is_gone_at_the_commit(self):
        """4.0 has looked it up at the publish: it refuses, and nothing is returned."""
        channel = self.transactional()
        other, queue = self.other(channel), self.queue("kept", channel=channel)
        gone = self.queue("gone", channel=channel)
        channel.publish(b"1", routing_key=gone, mandatory=True)
        channel.publish(b"2", routing_key=queue)
        other.call("queue.delete", queue=gone)
        channel.send("tx.commit")
        if self.v40:
            self.channel_error(channel, 406, "tx.commit",
                               "PRECONDITION_FAILED - partial tx completion")
        else:
            channel.next("basic.return")
            channel.next("tx.commit-ok")
        self.assertEqual(self.count(other, queue), 1)

    def test_C110_checks_happen_at_publish(self):
        channel = self.transactional()
        other, queue = self.other(channel), self.queue(channel=channel)
        channel.publish(b"kept", routing_key=queue)
        channel.publish(b"x", exchange=self.prefix + "no")
        self.channel_error(channel, 404, "basic.publish",
                           "NOT_FOUND - no exchange '%sno' in vhost '/'" % self.prefix)
        self.assertEqual(self.count(other, queue), 0)  # what waited went with the channel
        channel.send("tx.commit")
        self.channel_error(channel, 406, "tx.commit",
                           "PRECONDITION_FAILED - channel is not transactional")

    def test_C110_a_refused_right_shows_at_publish(self):
        login = self.user(write="")
        channel = self.channel(**login)
        channel.call("tx.select")
        channel.publish(b"x", exchange="amq.direct", routing_key="k")
        self.channel_error(channel, 403, "basic.publish",
                           "ACCESS_REFUSED - write access to exchange 'amq.direct' in vhost '/' "
                           "refused for user '%s'" % login["user"] if self.v40 else
                           "ACCESS_REFUSED - access to exchange 'amq.direct' in vhost '/' refused "
                           "for user '%s'" % login["user"])

    def test_C110_returns_come_with_the_commit_before_its_ok(self):
        channel = self.transactional()
        queue = self.queue(channel=channel)
        for body, key, mandatory in ((b"1", self.prefix + "no", True), (b"2", queue, True),
                                     (b"3", self.prefix + "no", False),
                                     (b"4", self.prefix + "no", True)):
            channel.publish(body, routing_key=key, mandatory=mandatory)
        self.assertEqual(channel.pending(), [])
        channel.send("tx.commit")
        events = [channel.next() for _ in range(3)]
        self.assertEqual([e.name for e in events], ["basic.return", "basic.return",
                                                    "tx.commit-ok"])
        self.assertEqual([(e.body, e.code, e.text) for e in events[:2]],
                         [(b"1", 312, "NO_ROUTE"), (b"4", 312, "NO_ROUTE")])
        self.assertEqual(self.count(channel, queue), 1)

    def test_C110_thousands_of_returns_do_not_hurry_a_slow_reader(self):
        channel = self.transactional()
        for _ in range(3000):
            channel.publish(b"x" * 1000, routing_key=self.prefix + "no", mandatory=True)
        channel.send("tx.commit")
        for _ in range(3000):
            channel.next("basic.return")
        channel.next("tx.commit-ok")

    def test_C111_a_commit_of_thousands_to_queues_everywhere(self):
        """More than all that may be on its way between two shards; persistent, and settled with it."""
        channel = self.transactional()
        other, fan = self.other(channel), self.exchange("fan", channel=channel, type="fanout")
        queues = [self.queue("q%d" % number, channel=channel, durable=True) for number in range(4)]
        for queue in queues:
            channel.call("queue.bind", queue=queue, exchange=fan)
        for number in range(3000):
            channel.publish(b"%d" % number, exchange=fan, properties={"delivery_mode": 2})
        channel.call("tx.commit")
        self.assertEqual([self.count(other, queue) for queue in queues], [3000] * 4)
        channel.call("basic.consume", queue=queues[0])
        last = self.deliveries(channel, 3000)[-1]
        self.assertEqual(last.body, b"2999")
        channel.send("basic.ack", delivery_tag=last.delivery_tag, multiple=True)
        for number in range(1000):
            channel.publish(b"more", routing_key=queues[1], properties={"delivery_mode": 2})
        channel.call("tx.commit")
        channel.connection.drop()
        watcher = self.channel()
        self.settled(watcher, queues[0], 0)
        self.assertEqual(self.count(watcher, queues[1]), 4000)

    def test_C111_commit_settles_what_was_acknowledged(self):
        channel = self.transactional()
        other, queue = self.other(channel), self.queue(channel=channel)
        for number in range(6):
            channel.publish(b"%d" % number, routing_key=queue)
        channel.call("tx.commit")
        channel.call("basic.qos", prefetch_count=6)
        channel.call("basic.consume", queue=queue)
        tags = [e.delivery_tag for e in self.deliveries(channel, 6)]
        channel.send("basic.ack", delivery_tag=tags[1], multiple=True)
        channel.send("basic.nack", delivery_tag=tags[2], requeue=False)
        channel.send("basic.reject", delivery_tag=tags[3], requeue=True)
        self.assertEqual(channel.pending(), [])
        self.assertEqual(self.count(other, queue), 0)
        channel.call("tx.commit")
        event = channel.next("basic.deliver")
        self.assertEqual((event.body, event.redelivered), (b"3", True))
        channel.connection.drop()
        watcher = self.channel()
        self.settled(watcher, queue, 3)
        bodies = [watcher.call("basic.get", queue=queue).body for _ in range(3)]
        self.assertEqual(bodies, [b"3", b"4", b"5"])

    def test_C111_an_acknowledged_delivery_is_unknown_until_a_rollback(self):
        channel = self.transactional()
        queue = self.queue(channel=channel)
        channel.publish(b"x", routing_key=queue)
        channel.call("tx.commit")
        tag = channel.call("basic.get", queue=queue).delivery_tag
        channel.send("basic.ack", delivery_tag=tag)
        channel.call("tx.rollback")
        channel.send("basic.ack", delivery_tag=tag)
        channel.send("basic.ack", delivery_tag=0, multiple=True)  # all of none
        channel.send("basic.reject", delivery_tag=tag, requeue=False)
        self.channel_error(channel, 406, "basic.reject",
                           "PRECONDITION_FAILED - unknown delivery tag %d" % tag)
        self.settled(channel, queue, 1)

    def test_C111_a_refusing_queue_makes_the_commit_406(self):
        channel = self.transactional()
        queue = self.queue()
        self.later_or_skip(channel, "queue.declare", queue=queue,
                           arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        other = self.confirming()
        other.publish(b"0", routing_key=queue)
        other.publish(b"1", routing_key=queue)
        if [other.next().name for _ in range(2)] != ["basic.ack", "basic.nack"]:
            self.skipTest("queues do not refuse yet")
        channel.publish(b"2", routing_key=queue)
        channel.send("tx.commit")
        self.channel_error(channel, 406, "tx.commit",
                           "PRECONDITION_FAILED - partial tx completion")
        self.assertEqual(self.count(channel, queue), 1)

    def test_C111_another_method_during_a_commit_504(self):
        """Also a publish; C40."""
        for method, more in (("basic.qos", b""), ("basic.publish", content_frames(1, b"x"))):
            channel = self.transactional()
            queue = self.queue(method, channel=channel)
            frames = b""
            for _ in range(500):
                frames += method_frame(1, "basic.publish", routing_key=queue)
                frames += content_frames(1, b"x")
            channel.connection.write(frames + method_frame(1, "tx.commit")
                                     + method_frame(1, method) + more)
            self.connection_error(channel.connection, 504, method, "CHANNEL_ERROR - unexpected "
                                  "command while processing 'tx.commit'", channel=1)

    def test_C111_a_close_during_a_commit_is_answered_after_it(self):
        channel = self.transactional()
        queue = self.queue(channel=channel)
        frames = b""
        for _ in range(500):
            frames += method_frame(1, "basic.publish", routing_key=queue)
            frames += content_frames(1, b"x")
        channel.connection.write(frames + method_frame(1, "tx.commit")
                                 + method_frame(1, "channel.close", code=200))
        names = [channel.next().name]
        while names[-1] != "channel.close-ok":
            names.append(channel.next().name)
        self.assertIn(names, (["tx.commit-ok", "channel.close-ok"], ["channel.close-ok"]))
        watcher = self.channel()
        self.settled(watcher, queue, 500)

    def test_C112_rollback_forgets_publishes_and_acknowledgements(self):
        channel = self.transactional()
        other, queue = self.other(channel), self.queue(channel=channel)
        for number in range(4):
            channel.publish(b"%d" % number, routing_key=queue)
        channel.call("tx.commit")
        channel.call("basic.consume", queue=queue)
        tags = [e.delivery_tag for e in self.deliveries(channel, 4)]
        channel.publish(b"never", routing_key=queue)
        channel.send("basic.ack", delivery_tag=tags[2], multiple=True)
        channel.send("basic.nack", delivery_tag=tags[3], requeue=True)
        channel.call("tx.rollback")
        self.assertEqual(channel.pending(), [])  # nothing is requeued
        self.assertEqual(self.count(other, queue), 0)
        channel.send("basic.ack", delivery_tag=tags[0])
        channel.send("basic.nack", delivery_tag=tags[3], multiple=True, requeue=True)
        channel.call("tx.commit")
        self.assertEqual([(e.body, e.redelivered) for e in self.deliveries(channel, 3)],
                         [(b"1", True), (b"2", True), (b"3", True)])
        self.assertEqual(channel.pending(), [])

    def test_C112_recover_in_a_transaction_is_for_what_was_not_acknowledged(self):
        channel = self.transactional()
        queue = self.queue(channel=channel)
        for number in range(3):
            channel.publish(b"%d" % number, routing_key=queue)
        channel.call("tx.commit")
        tags = [channel.call("basic.get", queue=queue).delivery_tag for _ in range(3)]
        channel.send("basic.ack", delivery_tag=tags[1])
        channel.call("basic.recover", requeue=True)
        self.settled(channel, queue, 2)
        channel.call("tx.commit")
        self.assertEqual([channel.call("basic.get", queue=queue).body for _ in range(2)],
                         [b"0", b"2"])

    def test_C112_a_closed_channel_takes_its_transaction_with_it(self):
        channel = self.transactional()
        queue = self.queue(channel=channel)
        channel.publish(b"1", routing_key=queue)
        channel.call("tx.commit")
        channel.send("basic.ack",
                     delivery_tag=channel.call("basic.get", queue=queue).delivery_tag)
        channel.publish(b"2", routing_key=queue)
        channel.call("channel.close", code=200)
        channel.call("channel.open")
        self.settled(channel, queue, 1)
        event = channel.call("basic.get", queue=queue)
        self.assertEqual((event.body, event.redelivered), (b"1", True))
