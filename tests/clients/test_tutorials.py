#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The programs that messaging tutorials teach, each role a process of its own with pika.

Every role is a function that runs in a child process and reports over a pipe.
Nothing waits for time to pass: a consumer says when its queue and bindings are
there, producers publish after that, and every wait has a deadline.
"""
import multiprocessing
import os
import sys
import threading
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pika
import suite

DEADLINE_S = 30.0
context = multiprocessing.get_context("fork")


def connect(address):
    host, port = address
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, heartbeat=30))


class Role:
    """A child process running `function(address, pipe, *arguments)`."""

    def __init__(self, test, function, *arguments):
        self.pipe, theirs = context.Pipe()
        address = (test.broker.host, test.broker.port)
        self.process = context.Process(target=function, args=(address, theirs, *arguments))
        self.process.start()
        theirs.close()
        test.addCleanup(self.end)

    def hear(self, expected=None):
        if not self.pipe.poll(DEADLINE_S):
            raise AssertionError("the child said nothing within the deadline")
        said = self.pipe.recv()
        if expected is not None and said != expected:
            raise AssertionError("the child said %r, not %r" % (said, expected))
        return said

    def tell(self, word):
        self.pipe.send(word)

    def end(self):
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(DEADLINE_S)


def publish_all(address, pipe, exchange, messages, properties=None):
    """Producer: publish (routing_key, body) pairs, confirmed, and say so."""
    connection = connect(address)
    channel = connection.channel()
    channel.confirm_delivery()
    for routing_key, body in messages:
        channel.basic_publish(exchange, routing_key, body, properties)
    connection.close()
    pipe.send("published")


def collect(address, pipe, exchange, kind, bindings, arguments=()):
    """Consumer: a queue of its own on `exchange`; reports all it gets up to b"end"."""
    connection = connect(address)
    channel = connection.channel()
    channel.exchange_declare(exchange, kind, auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-"), queue
    for key in bindings:
        channel.queue_bind(queue, exchange, key)
    for table in arguments:
        channel.queue_bind(queue, exchange, "", arguments=table)
    channel.queue_bind(queue, "amq.fanout")
    got = []

    def on_message(channel_, method, _properties, body):
        if body == b"end":
            channel_.stop_consuming()
        else:
            got.append((method.routing_key, body))

    channel.basic_consume(queue, on_message, auto_ack=True)
    pipe.send("ready")
    channel.start_consuming()
    connection.close()
    pipe.send(got)


def hello_consumer(address, pipe, queue):
    connection = connect(address)
    channel = connection.channel()
    channel.queue_declare(queue)

    def on_message(channel_, _method, _properties, body):
        pipe.send(body)
        channel_.stop_consuming()

    channel.basic_consume(queue, on_message, auto_ack=True)
    pipe.send("ready")
    channel.start_consuming()
    channel.queue_delete(queue)
    connection.close()


def worker(address, pipe, queue, prefetch):
    """Reports each task, acks it when told to; ends at "end"."""
    connection = connect(address)
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.basic_qos(prefetch_count=prefetch)

    def on_message(channel_, method, _properties, body):
        pipe.send((body, method.redelivered))
        word = pipe.recv()
        if word == "die":
            os._exit(0)
        if word == "ack":
            channel_.basic_ack(method.delivery_tag)
        else:
            channel_.stop_consuming()

    channel.basic_consume(queue, on_message)
    pipe.send("ready")
    channel.start_consuming()
    connection.close()


def rpc_server(address, pipe, queue):
    connection = connect(address)
    channel = connection.channel()
    channel.queue_declare(queue)
    channel.basic_qos(prefetch_count=1)

    def on_request(channel_, method, properties, body):
        if body == b"stop":
            channel_.basic_ack(method.delivery_tag)
            channel_.stop_consuming()
            return
        first, second = 0, 1
        for _ in range(int(body)):
            first, second = second, first + second
        channel_.basic_publish("", properties.reply_to, str(first).encode(),
                               pika.BasicProperties(correlation_id=properties.correlation_id))
        channel_.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_request)
    pipe.send("ready")
    channel.start_consuming()
    channel.queue_delete(queue)
    connection.close()
    pipe.send("stopped")


def rpc_client(address, pipe, queue, numbers):
    connection = connect(address)
    channel = connection.channel()
    replies = channel.queue_declare("", exclusive=True).method.queue
    waiting = {}

    def on_reply(_channel, _method, properties, body):
        waiting[properties.correlation_id] = int(body)

    channel.basic_consume(replies, on_reply, auto_ack=True)
    out = []
    for number in numbers:
        correlation_id = str(uuid.uuid4())
        waiting[correlation_id] = None
        channel.basic_publish("", queue, str(number).encode(),
                              pika.BasicProperties(reply_to=replies, correlation_id=correlation_id))
        while waiting[correlation_id] is None:
            connection.process_data_events(time_limit=DEADLINE_S)
        out.append(waiting.pop(correlation_id))
    connection.close()
    pipe.send(out)


class Tutorials(unittest.TestCase):
    def setUp(self):
        self.prefix = "tutorial.%s." % uuid.uuid4().hex[:8]

    def connect(self):
        connection = connect((self.broker.host, self.broker.port))
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def finish(self, collectors, exchange, messages, properties=None):
        """Publish, then end every collector through amq.fanout; what each got."""
        for role in collectors:
            role.hear("ready")
        Role(self, publish_all, exchange, messages, properties).hear("published")
        Role(self, publish_all, "amq.fanout", [("", b"end")]).hear("published")
        return [role.hear() for role in collectors]

    def test_hello_one_message_reaches_one_consumer(self):
        consumer = Role(self, hello_consumer, self.prefix + "hello")
        consumer.hear("ready")
        Role(self, publish_all, "", [(self.prefix + "hello", b"Hello World!")]).hear("published")
        consumer.hear(b"Hello World!")

    def test_work_queue_gives_the_fast_worker_the_rest(self):
        """prefetch_count=1: the slow worker holds one task, the fast one does all others."""
        queue = self.prefix + "tasks"
        slow, fast = Role(self, worker, queue, 1), Role(self, worker, queue, 1)
        slow.hear("ready")
        fast.hear("ready")
        tasks = [b"task %d" % n for n in range(10)]
        Role(self, publish_all, "", [(queue, t) for t in tasks],
             pika.BasicProperties(delivery_mode=2)).hear("published")
        held, _ = slow.hear()
        done = []
        for _ in range(9):
            done.append(fast.hear()[0])
            fast.tell("ack")
        self.assertEqual(sorted(done + [held]), sorted(tasks))
        self.assertEqual(done, [t for t in tasks if t != held])
        self.assertFalse(fast.pipe.poll(0))
        slow.tell("ack")
        slow.end()
        fast.end()
        self.connect().channel().queue_delete(queue)

    def test_work_queue_task_of_a_dead_worker_goes_to_another(self):
        queue = self.prefix + "tasks"
        first = Role(self, worker, queue, 1)
        first.hear("ready")
        Role(self, publish_all, "", [(queue, b"precious")]).hear("published")
        first.hear((b"precious", False))
        second = Role(self, worker, queue, 1)
        second.hear("ready")
        first.tell("die")
        second.hear((b"precious", True))
        second.tell("ack")
        second.end()
        self.connect().channel().queue_delete(queue)

    def test_fanout_gives_each_listener_every_line(self):
        exchange = self.prefix + "logs"
        listeners = [Role(self, collect, exchange, "fanout", [""]) for _ in range(3)]
        lines = [("", b"line %d" % n) for n in range(20)]
        for got in self.finish(listeners, exchange, lines):
            self.assertEqual(got, lines)

    def test_direct_routes_by_severity_with_several_bindings_a_queue(self):
        exchange = self.prefix + "direct"
        roles = [Role(self, collect, exchange, "direct", keys)
                 for keys in (["error"], ["info", "warning", "error"], ["black"])]
        sent = [("info", b"1"), ("error", b"2"), ("warning", b"3"), ("debug", b"4"),
                ("error", b"5")]
        some, most, none = self.finish(roles, exchange, sent)
        self.assertEqual(some, [("error", b"2"), ("error", b"5")])
        self.assertEqual(most, [s for s in sent if s[0] != "debug"])
        self.assertEqual(none, [])

    def test_topics_match_words_and_wildcards(self):
        exchange = self.prefix + "topic"
        patterns = ["*.*.important", "#.notImportant", "kern.*", "cron.#", "#", "*.critical",
                    "info.debug.notImportant", "error.warning.important"]
        expected = {
            "kern": ["#"],
            "cron": ["cron.#", "#"],
            "cron.daily": ["cron.#", "#"],
            "cron.daily.backup": ["cron.#", "#"],
            "kern.critical": ["kern.*", "#", "*.critical"],
            "kern.a.b": ["#"],
            "notImportant": ["#.notImportant", "#"],
            "info.debug.notImportant": ["#.notImportant", "#", "info.debug.notImportant"],
            "error.warning.important": ["*.*.important", "#", "error.warning.important"],
            "a.important": ["#"],
            "a.b.c.important": ["#"],
            "kern.critical.important": ["*.*.important", "#"],
            "": ["#"],
            "kern.": ["kern.*", "#"],
        }
        roles = [Role(self, collect, exchange, "topic", [p]) for p in patterns]
        got = self.finish(roles, exchange, [(k, k.encode()) for k in expected])
        for pattern, messages in zip(patterns, got):
            wanted = [k for k, matching in expected.items() if pattern in matching]
            self.assertEqual([key for key, _ in messages], wanted, "pattern " + pattern)

    def test_topic_queue_with_overlapping_patterns_gets_one_copy(self):
        exchange = self.prefix + "topic"
        role = Role(self, collect, exchange, "topic", ["*.orange.*", "#", "lazy.#", "*.*.*"])
        got = self.finish([role], exchange, [("lazy.orange.fox", b"1"), ("lazy", b"2")])[0]
        self.assertEqual(got, [("lazy.orange.fox", b"1"), ("lazy", b"2")])

    def test_headers_any_and_all(self):
        exchange = self.prefix + "headers"
        tables = {
            "all": {"x-match": "all", "format": "pdf", "pages": 3},
            "any": {"x-match": "any", "format": "pdf", "pages": 3},
            "presence": {"x-match": "all", "format": None},
            "skips": {"x-match": "all", "format": "pdf", "x-skipped": "nobody has it"},
            "default": {"format": "pdf", "pages": 3},
        }
        roles = [Role(self, collect, exchange, "headers", [], [t]) for t in tables.values()]
        for role in roles:
            role.hear("ready")
        messages = {
            "both": {"format": "pdf", "pages": 3, "other": True},
            "format only": {"format": "pdf"},
            "other format": {"format": "zip"},
            "other type": {"format": "pdf", "pages": "3"},
            "neither": {"colour": "red"},
        }
        for body, headers in messages.items():
            Role(self, publish_all, exchange, [("", body.encode())],
                 pika.BasicProperties(headers=headers)).hear("published")
        Role(self, publish_all, "amq.fanout", [("", b"end")]).hear("published")
        got = {name: [body.decode() for _, body in role.hear()]
               for name, role in zip(tables, roles)}
        with_pdf = ["both", "format only", "other type"]
        self.assertEqual(got, {
            "all": ["both"],
            "any": with_pdf,
            "presence": ["both", "format only", "other format", "other type"],
            "skips": with_pdf,
            "default": ["both"],
        })

    def test_rpc_with_reply_to_and_correlation_id(self):
        queue = self.prefix + "rpc"
        server = Role(self, rpc_server, queue)
        server.hear("ready")
        clients = [Role(self, rpc_client, queue, numbers) for numbers in ([30, 1, 10], [7, 20, 0])]
        self.assertEqual(clients[0].hear(), [832040, 1, 55])
        self.assertEqual(clients[1].hear(), [13, 6765, 0])
        Role(self, publish_all, "", [(queue, b"stop")]).hear("published")
        server.hear("stopped")

    def test_confirms_one_by_one(self):
        channel = self.connect().channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.confirm_delivery()
        for number in range(100):
            channel.basic_publish("", queue, b"%d" % number)
            count = channel.queue_declare(queue, passive=True).method.message_count
            self.assertEqual(count, number + 1)

    def test_confirms_mandatory_unroutable_is_returned(self):
        channel = self.connect().channel()
        channel.confirm_delivery()
        with self.assertRaises(pika.exceptions.UnroutableError) as caught:
            channel.basic_publish("", self.prefix + "nobody", b"lost", mandatory=True)
        returned = caught.exception.messages[0]
        self.assertEqual((returned.method.reply_code, returned.method.reply_text, returned.body),
                         (312, "NO_ROUTE", b"lost"))

    def test_confirms_in_batches(self):
        self.flow(batch=50)

    def test_confirms_asynchronously(self):
        self.flow(batch=0)

    def flow(self, batch):
        """1000 publishes on a callback connection; every tag confirmed exactly once."""
        outcome = {}
        thread = threading.Thread(target=async_publisher, daemon=True, args=(
            (self.broker.host, self.broker.port), 1000, batch, outcome))
        thread.start()
        thread.join(DEADLINE_S)
        self.assertFalse(thread.is_alive(), "still publishing: %r" % outcome)
        self.assertEqual(outcome.get("confirmed"), set(range(1, 1001)))
        self.assertEqual(outcome["twice"], [])


def async_publisher(address, count, batch, outcome):
    """Publish `count`; with a batch, the next one starts when all before it are confirmed."""
    confirmed, twice, sent = set(), [], [0]

    def publish_some(channel, queue):
        upto = min(count, sent[0] + (batch or count))
        while sent[0] < upto:
            sent[0] += 1
            channel.basic_publish("", queue, b"%d" % sent[0])

    def on_confirm(channel, queue, frame):
        method, low = frame.method, 0
        assert method.NAME == "Basic.Ack", method
        if method.multiple:
            low = min(set(range(1, method.delivery_tag + 1)) - confirmed,
                      default=method.delivery_tag)
        tags = set(range(low or method.delivery_tag, method.delivery_tag + 1))
        twice.extend(set() if method.multiple else tags & confirmed)
        confirmed.update(tags)
        if len(confirmed) == count:
            channel.connection.close()
        elif len(confirmed) == sent[0]:
            publish_some(channel, queue)

    def on_queue(channel, frame):
        queue = frame.method.queue
        channel.confirm_delivery(lambda f: on_confirm(channel, queue, f),
                                 callback=lambda _f: publish_some(channel, queue))

    def on_channel(channel):
        channel.queue_declare("", exclusive=True, callback=lambda f: on_queue(channel, f))

    connection = pika.SelectConnection(
        pika.ConnectionParameters(*address),
        on_open_callback=lambda c: c.channel(on_open_callback=on_channel),
        on_close_callback=lambda c, _why: c.ioloop.stop())
    connection.ioloop.start()
    outcome.update(confirmed=confirmed, twice=twice)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
