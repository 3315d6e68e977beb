# SPDX-License-Identifier: Apache-2.0
"""traffic - clients of a broker that is about to die, each event told to a ledger.

Roles sit on channels of amqp_flow's peers. Bodies and sizes follow from who sent what, so that they can be checked
without being kept; a message says its sender and number in its message id.
"""
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import amqp_flow
import amqp_raw
from amqp_raw import BODY, HEADER, METHOD, method_frame, publish_frames

OUTPUT_BYTES = 64 * 1024        # a channel does not feed more
SIZE_MAX = 200 * 1024
PATTERN = random.Random(0).randbytes(SIZE_MAX + 65536)
HELD_MAX = 1900                 # a quorum queue gives a consumer without prefetch no more than 2000
SMALL = 1000000                 # publishers from this number on send small messages only
GET_OK, GET_EMPTY = (60, 71), (60, 72)


def size_of(publisher, number):
    """Most are small, some fill a page or several, a few a frame and more."""
    if publisher >= SMALL:
        return number % 31
    draw = random.Random(publisher * 1000003 + number)
    kind = draw.random()
    if kind < 0.05:
        return 0
    if kind < 0.85:
        return draw.randrange(1, 1200)
    if kind < 0.98:
        return draw.randrange(1200, 20000)
    return draw.randrange(20000, SIZE_MAX)


def body_of(publisher, number):
    at = (publisher * 7919 + number * 104729) % 65536
    return PATTERN[at:at + size_of(publisher, number)]


def message_frames(channel, frame_max, publisher, number, persistent, **where):
    properties = {"delivery_mode": 2 if persistent else 1, "message_id": "%d.%d" % (publisher, number)}
    return publish_frames(channel, body_of(publisher, number), properties, frame_max - 8, **where)


class Line(amqp_flow.Peer):
    """A connection; it may end, and what had come before counts."""

    def __init__(self, world, raw):
        super().__init__(raw)
        self.number = world.line_new()
        self.deaf = False           # the other side is gone; what it had said is still to be read

    def wants_write(self):
        return not self.deaf and super().wants_write()

    def write(self):
        super().write()
        if self.ended:
            self.ended, self.deaf = False, True

    def frame(self, kind, channel, payload):
        if kind == HEADER:
            content = self.content[channel]
            content[2], content[4] = struct.unpack_from(">Q", payload, 4)[0], bytes(payload)
        elif kind == BODY:
            content = self.content[channel]
            content[2] -= len(payload)
            content[3].append(bytes(payload))
        else:
            if kind == METHOD:
                self.method(channel, payload)
            return
        if content[2] == 0:
            del self.content[channel]
            tag, redelivered, _, pieces, header = content
            self.roles[channel].delivered(tag, redelivered, header, b"".join(pieces))

    def method(self, channel, payload):
        ids = struct.unpack_from(">HH", payload)
        if ids == amqp_flow.ACK:
            self.roles[channel].acked(*struct.unpack_from(">QB", payload, 4))
        elif ids == amqp_flow.DELIVER:
            tag, redelivered = struct.unpack_from(">QB", payload, 5 + payload[4])
            self.content[channel] = [tag, redelivered, None, [], None]
        elif ids == GET_OK:
            tag, redelivered = struct.unpack_from(">QB", payload, 4)
            self.content[channel] = [tag, redelivered, None, [], None]
        else:
            name, arguments = amqp_raw.decode_method(bytes(payload))
            answer = amqp_raw.Event(channel, name, arguments)
            if channel in self.roles:
                self.roles[channel].answered(answer)
            else:
                self.events.append(answer)
                if name == "connection.close":
                    self.output += method_frame(0, "connection.close-ok")


class Role:
    """What one channel does; `world` has the ledger, a source of chance and numbers of publishers."""

    def __init__(self, world):
        self.world, self.ledger, self.chance = world, world.ledger, world.chance
        self.number = 0             # of the next message
        self.publisher = None
        self.tags = {}              # delivery tag -> (publisher, number), of what is held
        self.unconfirmed = {}       # publish tag -> (number, done)
        self.tag = 0
        self.quiet = False          # no more is to be begun

    queue = None

    def __str__(self):
        return "%s of %s: holds %d, %d publishes not confirmed%s" % (
            type(self).__name__, self.queue, len(self.tags), len(self.unconfirmed),
            ", answers are owed" if self.busy() else "")

    def begin(self):
        pass

    def feed(self):
        pass

    def say(self, method, **arguments):
        self.peer.output += method_frame(self.channel, method, **arguments)

    def answered(self, answer):
        if answer.name.endswith(".close"):
            self.ledger.problem("%s: the broker closed: %r" % (type(self).__name__, answer))
            self.quiet = True

    # publishing

    def publish(self, queues, persistent, tx=None, done=None, **where):
        if self.publisher is None:
            self.publisher = self.world.publisher_new()
        self.ledger.published(self.publisher, self.number, queues, persistent, tx)
        self.peer.output += message_frames(self.channel, self.peer.raw.frame_max, self.publisher, self.number,
                                           persistent, **where)
        if tx is None:
            self.tag += 1
            self.unconfirmed[self.tag] = (self.number, done)
        self.number += 1

    def acked(self, tag, multiple):
        tags = [one for one in self.unconfirmed if one <= tag] if multiple else [tag]
        for one in tags:
            if one not in self.unconfirmed:
                self.ledger.problem("publish tag %d was confirmed twice, or never used" % one)
                continue
            number, done = self.unconfirmed.pop(one)
            self.ledger.confirmed(self.publisher, number)
            if done:
                done()

    # consuming

    def received(self, queue, tag, redelivered, header, body):
        """(publisher, number) of a delivery that makes sense, or None."""
        size, properties = amqp_raw.decode_header(header)
        publisher, number = map(int, properties["message_id"].split("."))
        if body != body_of(publisher, number):
            self.ledger.problem("the body of message %d.%d, %d bytes, is damaged" % (publisher, number, size))
        known = self.ledger.delivered("%d.%d" % (self.peer.number, self.channel), queue, publisher, number,
                                      bool(redelivered))
        self.tags[tag] = (publisher, number)
        return (publisher, number) if known else None

    def held(self):
        """What goes back to its queue when the channel ends."""
        return [(self.queue, *one) for one in self.tags.values()]

    def busy(self):
        """Answers are owed."""
        return bool(self.unconfirmed)


class Publisher(Role):
    def __init__(self, world, queues, window, exchange="", transient=0.2):
        super().__init__(world)
        self.queues, self.window, self.exchange, self.transient = queues, window, exchange, transient

    def begin(self):
        self.say("confirm.select", nowait=True)

    def feed(self):
        while not self.quiet and len(self.unconfirmed) < self.window and len(self.peer.output) < OUTPUT_BYTES:
            self.publish(self.queues, self.chance.random() >= self.transient, exchange=self.exchange,
                         routing_key="" if self.exchange else self.queues[0])


class Filler(Publisher):
    """Makes a queue long with small messages."""

    def __init__(self, world, queue, count):
        super().__init__(world, [queue], 2000, transient=0.1)
        self.count = count
        self.publisher = SMALL + world.publisher_new()

    def feed(self):
        if self.number >= self.count:
            self.quiet = True
        super().feed()

    def done(self):
        return self.number >= self.count and not self.unconfirmed


class Consumer(Role):
    """Holds up to `prefetch`; acks, requeues, or goes on holding; fences what it acked now and then."""

    def __init__(self, world, queue, prefetch, patience):
        super().__init__(world)
        self.queue, self.prefetch = queue, prefetch
        self.patience = patience        # messages that it gets between two decisions
        self.since = 0
        self.unfenced = []

    def begin(self):
        self.say("confirm.select", nowait=True)
        self.say("basic.qos", prefetch_count=self.prefetch)
        self.say("basic.consume", queue=self.queue, nowait=True)

    def delivered(self, tag, redelivered, header, body):
        self.received(self.queue, tag, redelivered, header, body)
        self.since += 1
        if not self.quiet and (self.since >= self.patience or len(self.tags) >= self.prefetch):
            self.since = 0
            self.decide()

    def ack(self, tags, **how):
        for tag in tags:
            one = self.tags.pop(tag)
            self.ledger.acking(self.queue, *one)
            self.unfenced.append(one)
        self.say("basic.ack", **how)

    def decide(self):
        tags = sorted(self.tags)
        draw = self.chance.random()
        tag = self.chance.choice(tags)
        if draw < 0.4:
            self.ack([one for one in tags if one <= tag], delivery_tag=tag, multiple=True)
        elif draw < 0.8 or len(tags) >= self.prefetch:
            self.ack([tag], delivery_tag=tag)
        elif draw < 0.9:
            for one in tags[:3]:
                self.requeue(one, self.chance.choice(("basic.nack", "basic.reject")))
        if self.unfenced and self.chance.random() < 0.2:
            self.fence()

    def requeue(self, tag, method):
        self.ledger.requeuing(self.queue, *self.tags.pop(tag))
        self.say(method, delivery_tag=tag, requeue=True)

    def fence(self):
        acked, self.unfenced = self.unfenced, []
        self.publish([self.queue], True, routing_key=self.queue,
                     done=lambda: self.ledger.acks_stored(self.queue, acked))


class Getter(Role):
    """Asks for messages one by one; acks most, gives some back."""

    def __init__(self, world, queue):
        super().__init__(world)
        self.queue, self.asked = queue, False

    def busy(self):
        return self.asked

    def feed(self):
        if not self.quiet and not self.asked:
            self.asked = True
            self.say("basic.get", queue=self.queue)

    def answered(self, answer):
        if answer.name == "basic.get-empty":
            self.asked = False
        else:
            super().answered(answer)

    def delivered(self, tag, redelivered, header, body):
        self.asked = False
        self.received(self.queue, tag, redelivered, header, body)
        draw = self.chance.random()
        if draw < 0.7:
            self.ledger.acking(self.queue, *self.tags.pop(tag))
            self.say("basic.ack", delivery_tag=tag)
        elif draw < 0.9:
            self.ledger.requeuing(self.queue, *self.tags.pop(tag))
            self.say("basic.nack", delivery_tag=tag, requeue=True)


class Transactor(Role):
    """Gets some, publishes some and acks what it got, commits or rolls back; again."""

    def __init__(self, world, queue):
        super().__init__(world)
        self.queue, self.tx = queue, None
        self.waiting = 1              # answers, of whatever it did last

    def begin(self):
        self.say("tx.select")

    def busy(self):
        return self.waiting > 0

    def feed(self):
        if self.quiet or self.waiting:
            return
        self.waiting = self.chance.randrange(1, 5)
        for _ in range(self.waiting):
            self.say("basic.get", queue=self.queue)

    def delivered(self, tag, redelivered, header, body):
        self.received(self.queue, tag, redelivered, header, body)
        self.step()

    def answered(self, answer):
        if answer.name == "basic.get-empty":
            self.step()
        elif answer.name == "tx.select-ok":
            self.waiting = 0
        elif answer.name == "tx.commit-ok":
            self.ledger.tx_committed(self.tx)
            self.tx, self.waiting = None, 0
        elif answer.name == "tx.rollback-ok":
            self.tx, self.waiting = None, 0
        else:
            super().answered(answer)

    def step(self):
        self.waiting -= 1
        if self.waiting == 0 and not self.quiet:
            self.transact()

    def transact(self):
        self.waiting = 1
        self.tx = self.world.tx_new()
        self.ledger.tx_begun(self.tx, self.queue)
        large = self.chance.random() < 0.05     # more than the broker says in one go
        for _ in range(700 if large else self.chance.randrange(1, 6)):
            self.publish([self.queue], True, self.tx, routing_key=self.queue)
        for tag in self.tags:
            self.say("basic.ack", delivery_tag=tag)
        if self.chance.random() < 0.15:
            self.ledger.tx_rolling_back(self.tx)
            self.say("tx.rollback")
            return      # what it got is still held, and goes with the next
        self.ledger.tx_committing(self.tx, list(self.tags.values()))
        self.tags.clear()
        self.say("tx.commit")


class Declarer(Role):
    """Durable queues bound to durable exchanges, one after the other; what was answered must stay."""

    def __init__(self, world, made, gone):
        super().__init__(world)
        self.made, self.gone, self.waiting = made, gone, []

    def busy(self):
        return bool(self.waiting)

    def feed(self):
        if self.quiet or self.waiting:
            return
        name = "made.%d" % self.world.name_new()
        if self.made and self.chance.random() < 0.3:
            name = self.chance.choice(sorted(self.made))
            self.made.discard(name)
            self.waiting = [None, (self.gone, name)]
            self.say("exchange.delete", exchange=name + ".x")
            self.say("queue.delete", queue=name)
            return
        self.waiting = [None, None, (self.made, name)]
        self.say("queue.declare", queue=name, durable=True)
        self.say("exchange.declare", exchange=name + ".x", type="direct", durable=True)
        self.say("queue.bind", queue=name, exchange=name + ".x", routing_key="key")

    def answered(self, answer):
        super().answered(answer)
        if self.waiting and answer.name.endswith("-ok"):
            done = self.waiting.pop(0)
            if done:
                done[0].add(done[1])


class Drainer(Role):
    """Takes all there is in a queue, up to a message of its own."""

    def __init__(self, world, queue):
        super().__init__(world)
        self.queue, self.done, self.fenced = queue, False, False

    def __str__(self):
        return super().__str__() + (", has got everything" if self.done else ", waits for more")

    def begin(self):
        self.ledger.drain_begins(self.queue)
        self.say("confirm.select", nowait=True)
        self.publish([self.queue], True, routing_key=self.queue, done=self.consume)

    def consume(self):
        self.say("basic.qos", prefetch_count=0)
        self.say("basic.consume", queue=self.queue, nowait=True)

    def delivered(self, tag, redelivered, header, body):
        one = self.received(self.queue, tag, redelivered, header, body)
        if one == (self.publisher, 0):
            self.done = True
            self.ledger.drain_ends(self.queue)
        elif len(self.tags) >= HELD_MAX:
            self.ack()

    def ack(self):
        acked, last = list(self.tags.values()), max(self.tags)
        for one in acked:
            self.ledger.acking(self.queue, *one)
        self.tags.clear()
        self.say("basic.ack", delivery_tag=last, multiple=True)
        return acked

    def ack_all(self):
        acked = self.ack()
        self.publish([self.queue], True, routing_key=self.queue, done=lambda: self.stored(acked))

    def stored(self, acked):
        self.ledger.acks_stored(self.queue, acked)
        self.fenced = True
