# SPDX-License-Identifier: Apache-2.0
"""What a channel settles, and what it publishes behind that in the same breath."""
from amqp_raw import method_frame, publish_frames
from semantics.base import Case

ROUNDS = 12


class Settling(Case):
    def queues(self, **arguments):
        """One by this connection and some by others: the channel's own shard has some of them."""
        channel = self.channel()
        return channel, [self.queue("q%d" % n, channel=channel if n == 0 else self.channel(),
                                    **arguments) for n in range(4)]

    def acknowledge_and_publish(self, channel, tags, queue, properties=None):
        """In one write, so that the broker reads both at once."""
        number = channel.number
        data = b"".join(method_frame(number, "basic.ack", delivery_tag=tag) for tag in tags)
        channel.connection.write(data + publish_frames(number, b"next", properties, routing_key=queue))

    def test_who_acknowledges_can_take_what_is_published_behind_that_C48(self):
        """A message that expires at once is delivered only to somebody who can take it."""
        channel, queues = self.queues()
        channel.call("basic.qos", prefetch_count=1)
        for queue in queues:
            channel.call("basic.consume", queue=queue)
            channel.publish(b"first", routing_key=queue)
            for _ in range(ROUNDS):
                tag = channel.next("basic.deliver").delivery_tag
                self.acknowledge_and_publish(channel, [tag], queue, {"expiration": "0"})
            channel.send("basic.ack", delivery_tag=channel.next("basic.deliver").delivery_tag)

    def test_so_does_who_acknowledges_many_C48(self):
        """More than one record between shards has room for."""
        channel, queues = self.queues(arguments={"x-max-length": 0})
        channel.call("basic.qos", prefetch_count=20)
        for queue in queues:
            channel.call("basic.consume", queue=queue)
            for _ in range(ROUNDS):
                tags = []
                for _ in range(20):
                    channel.publish(b"one", routing_key=queue)
                    tags.append(channel.next("basic.deliver").delivery_tag)
                self.acknowledge_and_publish(channel, tags, queue)
                tag = channel.next("basic.deliver").delivery_tag
                channel.send("basic.ack", delivery_tag=tag)

    def test_the_more_important_consumer_is_the_first_again_C48(self):
        for arguments in ({"x-queue-type": "classic"}, {"x-queue-type": "quorum"}):
            channel, queues = self.queues(arguments=arguments, durable=True)
            channel.call("basic.qos", prefetch_count=1)
            for queue in queues:
                channel.call("basic.consume", queue=queue, consumer_tag=queue + "low")
                channel.call("basic.consume", queue=queue, consumer_tag=queue + "high",
                             arguments={"x-priority": 10})
                channel.publish(b"first", routing_key=queue)
                for _ in range(ROUNDS):
                    event = channel.next("basic.deliver")
                    self.assertEqual(event.consumer_tag, queue + "high")
                    self.acknowledge_and_publish(channel, [event.delivery_tag], queue)
                channel.send("basic.ack", delivery_tag=channel.next("basic.deliver").delivery_tag)
            self.tidy()
            self.made, self.connections = [], []
