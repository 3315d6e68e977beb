# SPDX-License-Identifier: Apache-2.0
"""peer - one broker under comparison: does a step on it and says what was seen.

A script's names are the same for all brokers. What a broker makes up (names of
queues, consumer tags) is called after the step that asked for it: `gen@7` is
the queue that step 7 declared without a name, `ctag@9` the tag of step 9's
consumer. What was seen is in the script's names.

Quiescence without waiting for time: a round asks every channel (channel.flow)
and every known queue (a passive declare) and reads until all have answered. A
broker is quiet when nobody owes an answer or a confirm and some rounds in a
row brought nothing new.
"""
import collections
import re
import time
import zlib

import amqp_raw
from amqp_raw import EndOfStream, Raw, Timeout, method_frame, publish_frames

CONNECTIONS, CHANNELS = 2, 2
WATCH = 50              # the channel of each connection that asks for counts
QUIET_ROUNDS = 2        # rounds without news
ANSWER_S = 30.0         # a method or confirm that is not answered by then is not answered
# Connection 1 cannot hear that the server cancelled its consumers.
CAPABILITIES = (("authentication_failure_close", "consumer_cancel_notify", "connection.blocked",
                 "basic.nack"), ("authentication_failure_close", "basic.nack"))
MADE_UP = re.compile(r"amq\.(gen|ctag)-[A-Za-z0-9_-]{22}")
REPLIES = {name for name in amqp_raw.BY_NAME if name.endswith("-ok")} | {"basic.get-empty"}


class Typed(amqp_raw.Reader):
    """Reads field tables with the types of their values."""

    def value(self):
        kind = chr(self.data[self.at])
        if kind == "A":
            self.take(1)
            end, out = self.number(">I") + self.at, []
            while self.at < end:
                out.append(self.value())
            return ("A", out)
        return (kind, super().value())


def typed_properties(header):
    """The properties of a content header, tables with the types of their values."""
    flags = int.from_bytes(header[12:14], "big")
    reader, out = Typed(header[14:]), {}
    for at, (field, kind) in enumerate(p.split(":") for p in amqp_raw.PROPERTIES):
        if flags >> 15 - at & 1:
            out[field] = reader.field(kind)
    return out


def digest(body):
    """A body for people: itself when it is short."""
    if len(body) <= 24:
        return amqp_raw.string(body)
    return "%s...%d octets, %08x" % (amqp_raw.string(body[:8]), len(body), zlib.crc32(body))


# A method whose answer has not come. `step` is None for what the script did not ask for.
Owed = collections.namedtuple("Owed", "method step arguments")


class Chan:
    """What is known of one open channel."""

    def __init__(self):
        self.open = False
        self.forget()

    def forget(self):
        self.owed = collections.deque()     # Owed, in the order of asking
        self.confirming, self.sequence, self.unconfirmed = False, 0, {}
        self.outstanding = []               # [delivery tag, stream, digest]
        self.settled_in_tx, self.tx = [], False
        self.consumers, self.last_tag = {}, 0   # tag -> whether it needs no acks
        self.unnamed = collections.deque()      # consumers without tag and consume-ok: Owed


class Link:
    """One connection."""

    def __init__(self, raw, number):
        self.raw, self.number = raw, number
        self.chans = collections.defaultdict(Chan)


class Peer:
    def __init__(self, broker):
        self.broker = broker
        self.links = {}
        self.names = {}         # the broker's own word -> the script's
        self.real = {}          # the script's -> the broker's
        self.watched = {}       # queue (the broker's name) -> connection that may ask for it
        self.counts = {}
        self.seen = {}          # what the current step brought
        self.news = 0
        self.drained = 0        # messages that drain() got
        self.quorum = set()     # queues whose consumers are not counted (known.LEFT_OUT)

    # life

    def begin(self, users=({}, {})):
        """Connect; `users` are the credentials of the connections."""
        self.users = users
        for number in range(CONNECTIONS):
            self.connect(number)

    def connect(self, number):
        raw = Raw(self.broker.host, self.broker.port)
        raw.handshake(capabilities=CAPABILITIES[number], **self.users[number])
        link = self.links[number] = Link(raw, number)
        for channel in [*range(1, CHANNELS + 1), WATCH]:
            raw.send(channel, "channel.open")
            event = raw.next(channel)
            assert event.name == "channel.open-ok", event
            link.chans[channel].open = True

    def end(self):
        for link in self.links.values():
            link.raw.close()
        self.links = {}

    # names

    def to_real(self, value):
        """Names in a method's fields and a message's properties."""
        return self.real.get(value, value) if isinstance(value, str) else value

    def to_script(self, value):
        if isinstance(value, str):
            for real, script in self.names.items():
                if real in value:
                    value = value.replace(real, script)
            return MADE_UP.sub("@", value)
        if isinstance(value, dict):
            return {k: self.to_script(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.to_script(v) for v in value)
        return value

    def learn(self, real, script):
        self.names[real], self.real[script] = script, real

    # what was seen

    def note(self, where, stream, what):
        self.news += 1
        self.seen.setdefault(where, {}).setdefault(stream, []).append(self.to_script(what))

    def violation(self, where, text):
        self.note(where, "wrong", text)

    # doing

    def send_method(self, step, link, chan_number):
        """Send one method of a step; its answer is owed if it has one."""
        chan = link.chans[chan_number]
        method, arguments = step["method"], {
            k: self.to_real(v) for k, v in step.get("args", {}).items()}
        if method == "basic.publish":
            body = step["body"]
            properties = {k: self.to_real(v) for k, v in step.get("props", {}).items()}
            link.raw.write(publish_frames(chan_number, body, properties, link.raw.frame_max - 8,
                                          **arguments))
            if chan.confirming:
                chan.sequence += 1
                chan.unconfirmed[chan.sequence] = amqp_raw.octets(body)
            return
        link.raw.write(method_frame(chan_number, method, **arguments))
        self.expect(step, link, chan, method, arguments)

    def expect(self, step, link, chan, method, arguments):
        if method == "confirm.select":
            chan.confirming = True
        elif method == "basic.recover-async":
            chan.outstanding = []
        if arguments.get("arguments", {}).get("x-queue-type") == "quorum":
            self.quorum.add(arguments["queue"])
        owed = Owed(method, step["n"], arguments)
        if not arguments.get("nowait"):
            if method + "-ok" in REPLIES:
                chan.owed.append(owed)
        elif method == "queue.declare":
            self.watched.setdefault(arguments.get("queue"), link.number)
        elif method == "basic.consume" and arguments.get("consumer_tag"):
            chan.consumers[arguments["consumer_tag"]] = arguments.get("no_ack", False)
        elif method == "basic.consume":
            chan.unnamed.append(owed)
        elif method == "basic.cancel":
            chan.consumers.pop(arguments["consumer_tag"], None)

    def settle(self, step, link, chan_number, picks, multiple):
        """Ack, nack or reject `picks`, entries of the channel's outstanding list."""
        chan = link.chans[chan_number]
        tag = max(p[0] for p in picks)
        method = "basic." + step["how"]
        arguments = {"delivery_tag": tag}
        if step["how"] != "reject":
            arguments["multiple"] = multiple
        if step["how"] != "ack":
            arguments["requeue"] = step.get("requeue", False)
        link.raw.send(chan_number, method, **arguments)
        gone = [e for e in chan.outstanding if e in picks]
        chan.outstanding = [e for e in chan.outstanding if e not in picks]
        if chan.tx:
            chan.settled_in_tx += gone

    def reopen(self, number, channel):
        """Close a channel and open it again."""
        link = self.links[number]
        for method in ("channel.close", "channel.open"):
            self.send_method({"n": 0, "method": method}, link, channel)
            self.read_all(link)

    def drop(self, number):
        """The connection goes without a word, and a new one comes."""
        self.links[number].raw.drop()
        self.connect(number)

    def close(self, number):
        """The connection goes as it should, and a new one comes."""
        link = self.links[number]
        link.raw.send(0, "connection.close", code=200)
        self.until_closed(link)
        if self.links[number] is link:
            self.drop(number)

    def until_closed(self, link):
        """Read until this connection is over, or nothing comes any more."""
        until = time.monotonic() + ANSWER_S
        while self.take_in(link):
            try:
                link.raw.pump(until)
            except Timeout:
                self.violation("%d" % link.number, "still open")
                return
            except EndOfStream:
                self.connection_closed(link, None)
                return

    def ask(self, number, method, **arguments):
        """One method on channel 1 of a connection and its answer, noted."""
        link = self.links[number]
        self.send_method({"n": 0, "method": method, "args": arguments}, link, 1)
        self.read_all(link)

    def drain(self, number, queue, most):
        """Get what is in a queue."""
        where = "%d.1" % number
        for _ in range(most):
            self.ask(number, "basic.get", queue=queue, no_ack=True)
            if len(self.seen.get(where, {}).get("to get", [])) != self.drained + 1:
                return
            self.drained += 1

    # taking in

    def event(self, link, event):
        where = "%d.%d" % (link.number, event.channel)
        chan = link.chans[event.channel]
        kind = event.name
        if event.channel == WATCH:
            self.watch_event(link, chan, event)
        elif kind in ("basic.deliver", "basic.get-ok"):
            self.delivered(where, chan, event)
        elif kind == "basic.return":
            self.returned(where, chan, event)
        elif kind in ("basic.ack", "basic.nack"):
            self.confirmed(where, chan, event)
        elif kind == "basic.cancel":
            chan.consumers.pop(event.consumer_tag, None)
            self.note(where, "cancel", event.consumer_tag)
        elif kind == "channel.close":
            self.channel_closed(link, where, chan, event)
        elif kind in REPLIES:
            self.replied(link, where, chan, event)
        else:
            self.note(where, "other", [kind, event.arguments])

    def delivered(self, where, chan, event):
        arguments = event.arguments
        get = event.name == "basic.get-ok"
        stream = "get" if get else event.consumer_tag
        if get:
            no_ack = self.answered(where, chan, event).arguments.get("no_ack", False)
        else:
            if stream not in chan.consumers and chan.unnamed:
                owed = chan.unnamed.popleft()
                self.learn(stream, "ctag@%d" % owed.step)
                chan.consumers[stream] = owed.arguments.get("no_ack", False)
            if stream not in chan.consumers:
                self.violation(where, "delivery to %s, which does not consume" % stream)
            no_ack = chan.consumers.get(stream, False)
        if event.delivery_tag != chan.last_tag + 1:
            self.violation(where, "delivery tag %d after %d" % (event.delivery_tag, chan.last_tag))
        chan.last_tag = event.delivery_tag
        self.reply_address(event.properties.get("reply_to", ""))
        text = digest(event.body)
        what = {"body": text, "redelivered": arguments["redelivered"],
                "exchange": arguments["exchange"], "routing_key": arguments["routing_key"],
                "properties": typed_properties(event.header)}
        if get:
            what["message_count"] = arguments["message_count"]
        self.note(where, "to " + self.to_script(stream), what)
        if not no_ack:
            chan.outstanding.append([event.delivery_tag, self.to_script(stream), text])

    def reply_address(self, address):
        """Where the requester of a direct reply can be reached; `answer` steps use the last one."""
        if address.startswith("amq.rabbitmq.reply-to."):
            if address not in self.names:
                self.names[address] = "reply-to@%d" % sum(
                    name.startswith("reply-to@") for name in self.names.values())
            self.real["reply-to"] = address

    def returned(self, where, chan, event):
        if chan.confirming and event.body and event.body not in chan.unconfirmed.values():
            self.violation(where, "%r is returned after its confirm" % digest(event.body))
        self.note(where, "return", {
            "code": event.code, "text": event.text, "exchange": event.exchange,
            "routing_key": event.routing_key, "body": digest(event.body),
            "properties": typed_properties(event.header)})

    def confirmed(self, where, chan, event):
        tags = [t for t in chan.unconfirmed if t <= event.delivery_tag] if event.multiple \
            else [event.delivery_tag]
        for tag in tags:
            if chan.unconfirmed.pop(tag, None) is None:
                self.violation(where, "confirm of %d, which nobody waits for" % tag)
        for tag in tags:
            self.note(where, event.name, tag)

    def channel_closed(self, link, where, chan, event):
        self.note(where, "closed", [event.code, event.text, event.class_id, event.method_id])
        chan.forget()
        link.raw.write(method_frame(event.channel, "channel.close-ok")
                       + method_frame(event.channel, "channel.open"))
        chan.owed.append(Owed("channel.open", None, {}))

    def answered(self, where, chan, event):
        """What this is the answer to."""
        owed = chan.owed.popleft() if chan.owed else Owed("nothing", None, {})
        if event.name not in (owed.method + "-ok", owed.method + "-empty"):
            self.violation(where, "%s is the answer to %s" % (event.name, owed.method))
        return owed

    def replied(self, link, where, chan, event):
        owed = self.answered(where, chan, event)
        if owed.step is None:
            return
        name = event.name
        if name == "queue.declare-ok" and event.queue in self.quorum:
            event.arguments["consumer_count"] = None
        if name == "queue.declare-ok":
            if event.queue.startswith("amq.gen-") and event.queue not in self.names:
                self.learn(event.queue, "gen@%d" % owed.step)
                self.watched[event.queue] = link.number
            elif event.queue not in self.watched:
                self.watched[event.queue] = link.number
        elif name == "basic.consume-ok":
            tag = event.consumer_tag
            if tag.startswith("amq.ctag-"):
                self.learn(tag, "ctag@%d" % owed.step)
            chan.consumers[tag] = owed.arguments.get("no_ack", False)
        elif name == "basic.cancel-ok":
            chan.consumers.pop(event.consumer_tag, None)
        elif name == "basic.recover-ok":
            chan.outstanding = []
        elif name == "tx.select-ok":
            chan.tx = True
        elif name == "tx.commit-ok":
            chan.settled_in_tx = []
        elif name == "tx.rollback-ok":
            chan.outstanding = sorted(chan.outstanding + chan.settled_in_tx)
            chan.settled_in_tx = []
        elif name == "channel.close-ok":
            chan.forget()
            chan.open = False
        elif name == "channel.open-ok":
            chan.open = True
        self.note(where, "replies", [name, event.arguments])

    def watch_event(self, link, chan, event):
        owed = chan.owed.popleft()
        if event.name == "queue.declare-ok":
            self.count(event.queue, [event.message_count, None if event.queue in self.quorum
                                     else event.consumer_count])
            return
        if event.name != "channel.close":
            return
        # The declares that follow were not heard: this round knows less, the next ones more.
        queue = owed.arguments["queue"]
        self.watched.pop(queue, None)
        self.news += 1
        self.count(queue, event.code)
        chan.forget()
        link.raw.write(method_frame(WATCH, "channel.close-ok") + method_frame(WATCH, "channel.open"))
        chan.owed.append(Owed("channel.open", None, {}))

    def count(self, queue, what):
        name = self.to_script(queue)
        if self.counts.get(name) != what:
            self.counts[name] = what
            self.news += 1

    def connection_closed(self, link, event):
        where = "%d" % link.number
        if event:
            self.note(where, "closed", [event.code, event.text, event.class_id, event.method_id])
            link.raw.send(0, "connection.close-ok")
            if link.raw.read_to_end(ANSWER_S):
                self.violation(where, "octets after connection.close-ok")
        else:
            self.note(where, "closed", "without a word")
        link.raw.drop()
        self.connect(link.number)

    # rounds

    def take_in(self, link):
        """Handle what has come on this connection; False when it is over."""
        raw = link.raw
        for channel in list(raw.events):
            queue = raw.events[channel]
            while queue:
                event = queue.popleft()
                if channel:
                    self.event(link, event)
                elif event.name == "connection.close":
                    self.connection_closed(link, event)
                    return False
                elif event.name == "connection.close-ok":
                    return False
                else:
                    self.note("%d" % link.number, "other", [event.name, event.arguments])
        return True

    def owing(self, link):
        return any(chan.owed for chan in link.chans.values())

    def read_all(self, link, seconds=ANSWER_S):
        """Read until this connection owes no answer."""
        until = time.monotonic() + seconds
        while self.take_in(link) and self.owing(link):
            try:
                link.raw.pump(until)
            except Timeout:
                owed = {n: [o.method for o in c.owed] for n, c in link.chans.items() if c.owed}
                self.violation("%d" % link.number, "no answer to %r" % owed)
                for chan in link.chans.values():
                    chan.owed.clear()
            except EndOfStream:
                self.connection_closed(link, None)
                return

    def round(self):
        """Ask everybody; True when that brought news."""
        before = self.news
        # What is owed comes first: RabbitMQ's queues answer for themselves (consume-ok), later than
        # a channel answers what it was asked after that. Then the channels, before the queues: a
        # declare without answer is done before its queue is asked for.
        self.read_everything()
        for link in self.links.values():
            asked = [number for number, chan in link.chans.items() if chan.open and number != WATCH]
            for number in asked:
                link.chans[number].owed.append(Owed("channel.flow", None, {}))
            self.write(link, b"".join(method_frame(n, "channel.flow", active=True) for n in asked))
        self.read_everything()
        for link in self.links.values():
            asked = [queue for queue, owner in self.watched.items() if owner == link.number]
            for queue in asked:
                link.chans[WATCH].owed.append(Owed("queue.declare", None, {"queue": queue}))
            self.write(link, b"".join(method_frame(WATCH, "queue.declare", queue=q, passive=True)
                                      for q in asked))
        self.read_everything()
        return self.news != before

    def read_everything(self):
        for link in list(self.links.values()):
            self.read_all(link)

    def write(self, link, data):
        try:
            link.raw.write(data)
        except OSError:
            pass        # what the broker said before is read next

    def waiting(self):
        return any(c.unconfirmed for l in self.links.values() for c in l.chans.values())

    def quiet(self, rounds=QUIET_ROUNDS):
        """Rounds until `rounds` in a row brought no news and no confirm is missing."""
        until, still = time.monotonic() + ANSWER_S, 0
        while still < rounds:
            still = 0 if self.round() else still + 1
            if self.waiting():
                still = 0
                if time.monotonic() > until:
                    self.violation("-", "no confirm of %r" % [
                        list(c.unconfirmed) for l in self.links.values()
                        for c in l.chans.values() if c.unconfirmed])
                    return

    def take_seen(self):
        seen, self.seen = self.seen, {}
        return seen
