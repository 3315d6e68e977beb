# SPDX-License-Identifier: Apache-2.0
"""generate - a script of AMQP steps from a seed.

The same seed, length and features give the same script, on every machine. A
script is a list of dicts, and each may be left out: names come from small
pools, and "the third unacknowledged delivery" is looked up when it is run. The
generator keeps a rough idea of what exists, so that most steps do something.

A seed picks some of the features, so that those meet which are hard together.
"""
import random

from peer import CHANNELS, CONNECTIONS

QUEUES = ["q%d" % n for n in range(5)]
EXCHANGES = ["x%d" % n for n in range(4)]
MISSING = "missing"
KEYS = ["k0", "k1", "a.b", "a.b.c", "a", ""]
PATTERNS = ["a.*", "#", "a.#", "*.b.#", "#.c", "a.b", "k0", "*", "", "#.b.#"]
HEADERS = [{"h": 1}, {"h": 2}, {"g": "x"}, {"h": 1, "g": "x"}, {"x-k": True}, {}]
TYPES = ["direct", "fanout", "topic", "headers"]
SHORT_TTL, LONG_TTL = 60, 3600000   # milliseconds; what is between would be a race

FEATURES = ("errors", "exclusive", "autodelete", "alternate", "headers", "confirm", "tx", "qos",
            "priorities", "length", "dlx", "ttl", "expires", "sac", "cc", "churn", "burst",
            "properties", "large", "reply", "frames", "policies", "rights", "quorum",
            "topics", "operator")

DEFINITIONS = (
    '{"max-length":1}', '{"max-length":3,"overflow":"reject-publish"}', '{"max-length-bytes":20}',
    '{"max-length":2,"overflow":"drop-head","dead-letter-exchange":"amq.fanout"}',
    '{"dead-letter-exchange":"amq.fanout"}', '{"message-ttl":%d}' % LONG_TTL,
    '{"alternate-exchange":"amq.fanout"}', '{"expires":%d}' % LONG_TTL,
    '{"dead-letter-exchange":"","dead-letter-routing-key":"q0"}')
OPERATOR_DEFINITIONS = (
    '{"max-length":2}', '{"max-length-bytes":7}', '{"message-ttl":%d}' % LONG_TTL, '{"max-length":0}')


class Script:
    """One script being made."""

    def __init__(self, seed, steps, features=FEATURES):
        self.random = random.Random("%d/%d" % (seed, steps))
        # Drawn whatever is allowed: leaving a feature out does not reshuffle the others.
        draws = [(f, self.random.random()) for f in FEATURES]
        self.features = {f for f, draw in draws if draw < 0.4 and f in features}
        self.exchanges, self.queues, self.gens = {}, {}, []
        self.consumers = []
        self.shared, self.careless = set(), set()   # channels: global qos, consumers without acks
        self.bodies, self.number = 0, 0
        self.steps = []
        self.prelude()
        while len(self.steps) < steps:
            self.step()

    # drawing

    def has(self, feature):
        return feature in self.features

    def chance(self, probability, feature=None):
        """True so often; never without the feature. Always draws."""
        return self.random.random() < probability and (feature is None or self.has(feature))

    def pick(self, choices):
        return choices[self.random.randrange(len(choices))]

    def where(self):
        return [self.random.randrange(CONNECTIONS), 1 + self.random.randrange(CHANNELS)]

    def a_queue(self):
        names = list(self.queues) + self.gens
        if not names or self.chance(0.05):
            return self.pick(QUEUES)
        return self.pick(names)

    def an_exchange(self):
        return self.pick(list(self.exchanges) + ["amq.direct", "amq.fanout", "amq.topic", "amq.headers"]
                         + [MISSING] * self.chance(0.1, "errors"))

    def kind_of(self, exchange):
        return self.exchanges.get(exchange, {}).get("type", exchange.rpartition(".")[2])

    # making

    def add(self, kind, at=None, **more):
        self.number += 1
        step = {"n": self.number, "do": kind, "at": at or self.where(), **more}
        self.steps.append(step)
        return step

    def call(self, method, at=None, **args):
        return self.add("method", at, method=method, args={
            k: v for k, v in args.items() if v not in (None, False)})

    def prelude(self):
        for _ in range(2):
            self.declare_exchange()
        for _ in range(2):
            self.declare_queue()
        for _ in range(3):
            self.bind()
        for connection in range(CONNECTIONS):
            for channel in range(1, CHANNELS + 1):
                if self.chance(0.5, "confirm"):
                    self.call("confirm.select", [connection, channel])
                elif self.chance(0.5, "tx"):
                    self.call("tx.select", [connection, channel])

    def step(self):
        choices = [(self.publish, 30), (self.declare_queue, 6), (self.declare_exchange, 3),
                   (self.bind, 8), (self.unbind, 3), (self.consume, 8), (self.cancel, 3),
                   (self.get, 8), (self.settle, 14), (self.recover, 2), (self.purge, 1),
                   (self.delete_queue, 2), (self.delete_exchange, 1), (self.passive, 2),
                   (self.bits, 1), (self.reopen, 1)]
        for feature, action, weight in (
                ("qos", self.qos, 4), ("tx", self.tx, 8), ("confirm", self.confirm, 1),
                ("churn", self.drop, 2), ("burst", self.burst, 8), ("errors", self.error, 6),
                ("frames", self.frames, 2), ("reply", self.reply, 5),
                ("policies", self.policy, 4), ("rights", self.rights, 3), ("quorum", self.settle, 6),
                ("quorum", self.get, 4)):
            if self.has(feature):
                choices.append((action, weight))
        actions, weights = zip(*choices)
        self.random.choices(actions, weights)[0]()

    # queues and exchanges

    def times(self):
        """Times to live; short ones not with priorities (known.LEFT_OUT)."""
        return [LONG_TTL] if self.has("priorities") else [0, SHORT_TTL, LONG_TTL]

    def queue_arguments(self):
        out = {}
        if self.chance(0.6, "length"):
            if self.chance(0.7):
                out["x-max-length"] = self.pick([0, 1, 2, 3])
            if self.chance(0.3):
                out["x-max-length-bytes"] = self.pick([0, 7, 20, 100])
            if self.chance(0.6):
                out["x-overflow"] = self.pick(["drop-head", "reject-publish", "reject-publish-dlx"])
        if self.chance(0.7, "dlx"):
            out["x-dead-letter-exchange"] = self.pick(
                ["", "amq.fanout", "amq.direct", MISSING, *self.exchanges])
            if self.chance(0.5):
                out["x-dead-letter-routing-key"] = self.pick([*QUEUES, *KEYS])
        if self.chance(0.5, "ttl"):
            out["x-message-ttl"] = self.pick(self.times())
        if self.chance(0.5, "priorities"):
            out["x-max-priority"] = self.pick([1, 3, 10])
        if self.chance(0.4, "sac"):
            out["x-single-active-consumer"] = True
        if self.chance(0.3, "expires"):
            out["x-expires"] = LONG_TTL
        if self.chance(0.2, "errors"):
            out.update(self.pick([
                {"x-max-length": "many"}, {"x-max-length": -1}, {"x-message-ttl": -1},
                {"x-overflow": "explode"}, {"x-dead-letter-routing-key": "k0"},
                {"x-max-priority": 256}, {"x-expires": 0}, {"x-queue-mode": "fast"},
                {"x-queue-type": "classic"}, {"x-unknown": [1, "a", {"b": True}]},
                {"x-dead-letter-exchange": 7}, {"x-single-active-consumer": "yes"},
                {"x-message-ttl": 315360000001}, {"x-queue-mode": "lazy"},
                {"x-max-priority": -1}, {"x-message-ttl": 1.5}]))
        return out

    def declare_queue(self):
        name = self.pick(QUEUES)
        known = self.queues.get(name)
        if known and not self.chance(0.3, "errors"):
            arguments = dict(known)     # the same again
        else:
            arguments = {"durable": self.chance(0.4), "exclusive": self.chance(0.3, "exclusive"),
                         "auto_delete": self.chance(0.3, "autodelete"),
                         "arguments": self.queue_arguments()}
            if self.chance(0.4, "quorum"):
                arguments = self.quorum(arguments)
            self.queues[name] = arguments
        if self.chance(0.1) and "x-queue-type" not in arguments["arguments"]:
            step = self.call("queue.declare", **{
                **arguments, "exclusive": self.chance(0.5, "exclusive")})
            self.gens.append("gen@%d" % step["n"])
            return
        self.call("queue.declare", queue=name, nowait=self.chance(0.1), **arguments)

    def quorum(self, arguments):
        """The same as a quorum queue: most of it, and what it can have besides."""
        table = {**arguments["arguments"], "x-queue-type": "quorum"}
        if not self.has("errors"):
            table.pop("x-max-priority", None)
            if table.get("x-overflow") == "reject-publish-dlx":
                table.pop("x-overflow")
            arguments = {"durable": True}
        if self.chance(0.5):
            table["x-delivery-limit"] = self.pick([0, 1, 2, 2, -1])
        if self.chance(0.2):
            table["x-dead-letter-strategy"] = "at-most-once"
        if self.chance(0.1):
            table["x-quorum-initial-group-size"] = 1
        return {**arguments, "durable": not self.chance(0.1, "errors"), "arguments": table}

    def declare_exchange(self):
        name = self.pick(EXCHANGES)
        arguments = self.exchanges.get(name)
        if not arguments or self.chance(0.3, "errors"):
            kinds = TYPES if self.has("headers") else TYPES[:3]
            arguments = {"type": self.pick(kinds), "durable": self.chance(0.4),
                         "auto_delete": self.chance(0.3, "autodelete"),
                         "internal": self.chance(0.1)}
            if self.chance(0.5, "alternate"):
                arguments["arguments"] = {"alternate-exchange": self.pick(
                    ["amq.fanout", MISSING, *EXCHANGES])}
            self.exchanges[name] = arguments
        self.call("exchange.declare", exchange=name, nowait=self.chance(0.1), **arguments)

    def binding(self):
        exchange = self.an_exchange()
        kind = self.kind_of(exchange)
        arguments = {}
        if kind == "headers":
            arguments = dict(self.pick(HEADERS))
            if self.chance(0.8):
                arguments["x-match"] = self.pick(["all", "any", "all-with-x", "any-with-x"])
        key = self.pick(PATTERNS if kind == "topic" else KEYS)
        return exchange, key, arguments

    def bind(self):
        exchange, key, arguments = self.binding()
        if self.chance(0.2):
            self.call("exchange.bind", source=exchange, destination=self.an_exchange(),
                      routing_key=key, arguments=arguments)
            return
        self.call("queue.bind", exchange=exchange, queue=self.a_queue(), routing_key=key,
                  arguments=arguments, nowait=self.chance(0.1))

    def unbind(self):
        binds = [s for s in self.steps if s.get("method") in ("queue.bind", "exchange.bind")]
        if binds and self.chance(0.8):
            args = dict(self.pick(binds)["args"])
            method = "queue.unbind" if "queue" in args else "exchange.unbind"
            args.pop("nowait", None)
            self.call(method, **args)
            return
        exchange, key, arguments = self.binding()
        self.call("queue.unbind", exchange=exchange, queue=self.a_queue(), routing_key=key,
                  arguments=arguments)

    def purge(self):
        self.call("queue.purge", queue=self.a_queue())

    def delete_queue(self):
        name = self.a_queue()
        step = self.call("queue.delete", queue=name, if_unused=self.chance(0.2),
                         if_empty=self.chance(0.2), nowait=self.chance(0.1))
        if "if_unused" not in step["args"] and "if_empty" not in step["args"]:
            self.queues.pop(name, None)

    def delete_exchange(self):
        name = self.an_exchange()
        if name.startswith("amq.") and not self.has("errors"):
            return
        self.call("exchange.delete", exchange=name, if_unused=self.chance(0.4))

    def passive(self):
        if self.chance(0.5):
            self.call("queue.declare", queue=self.a_queue(), passive=True)
        else:
            self.call("exchange.declare", exchange=self.an_exchange(), type="direct", passive=True)

    # messages

    def properties(self):
        out = {}
        headers = dict(self.pick(HEADERS)) if self.has("headers") else {}
        if self.chance(0.4, "cc"):
            headers[self.pick(["CC", "BCC"])] = self.pick(
                [[self.pick(KEYS)], [self.pick(QUEUES), self.pick(KEYS)], []])
        if headers:
            out["headers"] = headers
        if self.chance(0.3):
            out["delivery_mode"] = self.pick([1, 2])
        if self.chance(0.7, "priorities"):
            out["priority"] = self.pick([0, 1, 2, 3, 9, 255])
        if self.chance(0.3, "ttl"):
            out["expiration"] = str(self.pick(self.times()))
        if self.chance(0.5, "properties"):
            out.update(self.pick([
                {"content_type": "text/plain", "content_encoding": "utf-8"},
                {"correlation_id": "c", "reply_to": "r", "message_id": "m"},
                {"timestamp": 1, "type": "t", "user_id": "guest", "app_id": "a"},
                {"cluster_id": "u"}, {"content_type": ""}]))
        return out

    def body(self):
        self.bodies += 1
        if self.chance(0.03):
            return ""
        body = "m%d" % self.bodies
        if self.chance(0.1, "large"):
            body += "." * self.pick([4000, 131064, 131065, 300000])
        elif self.chance(0.1):
            body += "." * 12
        return body

    def publish(self, at=None):
        exchange, key, _ = self.binding()
        if self.chance(0.4):
            exchange, key = "", self.a_queue()
        args = {"exchange": exchange, "routing_key": key, "mandatory": self.chance(0.2)}
        step = self.add("method", at, method="basic.publish",
                        args={k: v for k, v in args.items() if v}, body=self.body())
        properties = self.properties()
        if properties:
            step["props"] = properties

    def consume(self):
        tag = self.pick(["c0", "c1", "c2", ""])
        arguments = {}
        if self.chance(0.4, "priorities"):
            arguments["x-priority"] = self.pick([-1, 0, 1, 5])
        at = self.where()
        if tag and (at, tag) in self.consumers and not self.chance(0.2, "errors"):
            return
        self.consumers.append((at, tag))
        no_ack = self.chance(0.3) and tuple(at) not in self.shared
        if no_ack:
            self.careless.add(tuple(at))
        self.call("basic.consume", at, queue=self.a_queue(), consumer_tag=tag,
                  no_ack=no_ack, exclusive=self.chance(0.1, "exclusive"),
                  nowait=bool(tag) and self.chance(0.1), arguments=arguments)

    def cancel(self):
        at, tag = self.where(), self.pick(["c0", "c1", "c2"])
        if self.consumers and self.chance(0.8):
            at, tag = self.consumers.pop(self.random.randrange(len(self.consumers)))
        if tag:
            self.call("basic.cancel", at, consumer_tag=tag, nowait=self.chance(0.1))

    def get(self):
        self.call("basic.get", queue=self.a_queue(), no_ack=self.chance(0.4))

    def settle(self):
        how = self.pick(["ack", "ack", "nack", "nack", "reject"])
        self.add("settle", how=how, pick=self.random.randrange(8),
                 multiple=how != "reject" and self.chance(0.25), requeue=self.chance(0.5))

    def recover(self):
        self.call(self.pick(["basic.recover", "basic.recover-async"]),
                  requeue=not self.chance(0.1, "errors"))

    def qos(self):
        at = self.where()
        shared = self.chance(0.4) and tuple(at) not in self.careless    # known.LEFT_OUT
        if shared:
            self.shared.add(tuple(at))
        self.call("basic.qos", at, prefetch_count=self.pick([0, 1, 2, 3]), global_=shared)

    def tx(self):
        self.call("tx." + self.pick(["commit", "commit", "rollback", "select"]))

    def confirm(self):
        self.call("confirm.select", nowait=self.chance(0.2))

    def bits(self):
        """What is answered and does nothing."""
        if self.chance(0.5):
            self.call("access.request", realm="/data")
        else:
            self.call("channel.flow", active=True)

    # connections

    def reopen(self):
        at = self.where()
        self.consumers = [c for c in self.consumers if c[0] != at]
        self.add("reopen", at)

    def drop(self):
        at = self.where()
        self.consumers = [c for c in self.consumers if c[0][0] != at[0]]
        self.add(self.pick(["drop", "close"]), at)

    def burst(self):
        """Several on one channel without waiting: they are done in their order."""
        at, kept = self.where(), self.steps
        self.steps = []
        for _ in range(2 + self.random.randrange(4)):
            self.random.choices([lambda: self.publish(at), lambda: self.quiet_bind(at)], [5, 1])[0]()
        inner, self.steps = self.steps, kept
        self.add("burst", at, methods=inner)

    def quiet_bind(self, at):
        exchange, key, arguments = self.binding()
        self.call(self.pick(["queue.bind", "queue.unbind"]), at, exchange=exchange,
                  queue=self.a_queue(), routing_key=key, arguments=arguments)

    # what is refused

    def error(self):
        at = self.where()
        choice = self.random.randrange(14)
        if choice == 0:
            self.call("basic.ack", at, delivery_tag=1000)
        elif choice == 1:
            self.call("basic.nack", at, delivery_tag=1000, multiple=True, requeue=True)
        elif choice == 2:
            self.call("queue.declare", at, queue="amq.mine")
        elif choice == 3:
            self.call("exchange.declare", at, exchange=self.pick(["amq.mine", "", "x0"]),
                      type="direct", durable=True)
        elif choice == 4:
            self.call("queue.bind", at, queue=self.a_queue(), exchange=self.pick(["", MISSING]),
                      routing_key="k0")
        elif choice == 5:
            self.call("basic.qos", at, prefetch_size=1)
        elif choice == 6:
            self.call("exchange.delete", at, exchange=self.pick(["", "amq.direct", MISSING]))
        elif choice == 7:
            self.call("basic.get", at, queue=MISSING)
        elif choice == 8:
            self.call("basic.consume", at, queue=MISSING, nowait=self.chance(0.3))
        elif choice == 9:
            self.call("queue.purge", at, queue=self.pick([MISSING, ""]))
        elif choice == 10:
            self.add("method", at, method="basic.publish", body=self.body(), args={
                "exchange": self.an_exchange(), "routing_key": "k0", "immediate": True})
        elif choice == 11:
            self.add("method", at, method="basic.publish", body=self.body(),
                     args={"routing_key": self.a_queue()}, props=self.pick(
                         [{"user_id": "somebody"}, {"expiration": "soon"}, {"expiration": "-1"},
                          {"headers": {"CC": "k0"}}, {"expiration": "1.5"}]))
        elif choice == 12:
            self.call("queue.bind", at, queue=self.a_queue(), exchange="amq.headers",
                      routing_key="", arguments={"x-match": self.pick(["some", 1])})
        else:
            self.call("channel.flow", at)

    def frames(self):
        """Octets that are no proper method: each ends the connection."""
        name = self.pick(["end", "type", "header", "body", "unopened", "twice", "long", "class"])
        self.add("frames", what=name)

    # special things

    def reply(self):
        at = self.where()
        choice = self.random.randrange(4)
        if choice == 0:
            self.call("basic.consume", at, queue="amq.rabbitmq.reply-to", consumer_tag="reply",
                      no_ack=not self.chance(0.1, "errors"))
        elif choice == 1:
            self.add("method", at, method="basic.publish", body=self.body(),
                     args={"routing_key": self.a_queue()}, props={
                         "reply_to": "amq.rabbitmq.reply-to"})
        elif choice == 2:
            self.add("answer", at, body=self.body())
        else:
            self.call("basic.cancel", at, consumer_tag="reply")

    def policy(self):
        kind = "operator_policy" if self.chance(0.4, "operator") else "policy"
        name = self.pick(["p0", "p1"])
        if self.chance(0.3):
            self.add("ctl", words=["clear_" + kind, name])
            return
        choices = OPERATOR_DEFINITIONS if kind == "operator_policy" else self.definitions()
        words = ["set_" + kind, name, self.pick(["^q[012]$", "^x", "."]), self.pick(choices),
                 "--priority", self.pick({"p0": ["0", "2"], "p1": ["1", "3"]}[name])]
        if self.chance(0.4):
            words += ["--apply-to", self.pick(["all", "queues", "exchanges"] + [
                "classic_queues", "quorum_queues"] * self.has("quorum"))]
        self.add("ctl", words=words)

    def definitions(self):
        out = list(DEFINITIONS)
        if self.has("quorum"):
            out += ['{"delivery-limit":1}', '{"delivery-limit":2,"dead-letter-exchange":"amq.fanout"}',
                    '{"dead-letter-strategy":"at-most-once","dead-letter-exchange":"amq.fanout"}']
        if self.has("errors"):
            out += ['{"max-length":-1}', '{"nothing":1}', '{}', '{"overflow":"explode"}', "[",
                    '{"message-ttl":"1"}']
        return out

    def rights(self):
        # Connection 1 is that user. It comes anew: RabbitMQ's channels remember what they may.
        if self.chance(0.4, "topics"):
            rights = [self.pick([".*", "^a", "^(k0|a)$", "^$"]) for _ in range(2)]
            exchange = self.pick(["amq.topic", *EXCHANGES])
            self.add("ctl", words=["set_topic_permissions", "-p", "/", "other", exchange, *rights]
                     if self.chance(0.8) else ["clear_topic_permissions", "-p", "/", "other"])
        elif self.chance(0.2):
            self.add("ctl", words=["set_user_tags", "other", self.pick(["impersonator", "policymaker"])])
        else:
            rights = [self.pick([".*", "^q[01]$", "^(q|x).*", "^$", "^amq\\.default$|^x0$"])
                      for _ in range(3)]
            self.add("ctl", words=["set_permissions", "-p", "/", "other", *rights])
        self.add("close", [1, 1])


def script(seed, steps, features=FEATURES):
    """(the features that this seed drew, its steps)"""
    made = Script(seed, steps, features)
    return sorted(made.features), made.steps[:steps]
