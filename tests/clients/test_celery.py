#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Celery with real workers, and kombu below it, as Debian packages them.

Workers are processes of their own (celery_tasks.py). Nothing waits for time to
pass: tasks leave marks and wait for marks, results and events are awaited.
"""
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import kombu
import kombu.mixins
import kombu.pools
import suite
from celery.exceptions import TaskRevokedError

DEADLINE_S = 30.0


class Worker:
    """`celery worker`; ready when made."""

    def __init__(self, name, work, url, queues="celery,ranks", options=()):
        line = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--loglevel", "INFO",
                "--concurrency", "1", "--hostname", name + "@lepus", "--queues", queues,
                "--heartbeat-interval", "1", *options]
        environment = {**os.environ, "LEPUS_AMQP_URL": url, "LEPUS_WORK": work, "C_FORCE_ROOT": "1",
                       "PYTHONPATH": HERE, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
        self.name, self.lines = name + "@lepus", []
        self.ready, self.changed = threading.Event(), threading.Condition()
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=environment, cwd=work, start_new_session=True)
        threading.Thread(target=self.listen, daemon=True).start()
        if not self.ready.wait(DEADLINE_S):
            self.kill()
            raise RuntimeError("the worker is not ready:\n" + "".join(self.lines))

    def listen(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
            if " ready." in line:
                self.ready.set()

    def wait_said(self, text, times=1):
        """Until it has logged `text` so often."""
        def said():
            return sum(text in line for line in self.lines) >= times
        with self.changed:
            if not self.changed.wait_for(said, DEADLINE_S):
                raise AssertionError("the worker never said %r:\n%s" % (text, "".join(self.lines)))

    def kill(self):
        """kill -9 of the worker and its children, as the kernel would when memory is out."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                pass
        self.kill()


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="lepus-celery-")
        cls.url = "amqp://guest:guest@%s:%d//" % (cls.broker.host, cls.broker.port)
        os.environ.update(LEPUS_AMQP_URL=cls.url, LEPUS_WORK=cls.work)
        sys.path.insert(0, HERE)
        sys.dont_write_bytecode = True
        cls.use_new_app()
        cls.worker = None

    @classmethod
    def use_new_app(cls):
        """One that knows nothing of an older one's connections."""
        sys.modules.pop("celery_tasks", None)
        cls.tasks = importlib.import_module("celery_tasks")
        cls.app = cls.tasks.app

    @classmethod
    def tearDownClass(cls):
        if cls.worker:
            cls.worker.stop()
        cls.app.close()
        shutil.rmtree(cls.work, ignore_errors=True)

    def get(self, result):
        return result.get(timeout=DEADLINE_S)

    def blocker(self):
        """A task that occupies the worker, which has begun; and its name."""
        name = "blocker." + uuid.uuid4().hex[:8]
        result = self.tasks.blocked.delay(name)
        self.tasks.wait_for_mark(name + ".runs")
        return result, name


class Tasks(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.worker = Worker("tasks", cls.work, cls.url)

    def test_a_task_and_its_result(self):
        self.assertEqual(self.get(self.tasks.add.delay(2, 3)), 5)

    def test_two_hundred_tasks_and_their_results(self):
        results = [self.tasks.add.delay(n, n) for n in range(200)]
        self.assertEqual([self.get(result) for result in results], [2 * n for n in range(200)])

    def test_a_chain_and_a_group(self):
        import celery
        self.assertEqual(self.get(celery.chain(self.tasks.add.s(1, 2), self.tasks.add.s(3),
                                               self.tasks.add.s(4))()), 10)
        group = celery.group(self.tasks.add.s(n, 1) for n in range(20))()
        self.assertEqual(group.get(timeout=DEADLINE_S), [n + 1 for n in range(20)])

    def test_a_megabyte_of_arguments(self):
        self.assertEqual(self.get(self.tasks.size.delay("x" * 1000000)), 1000000)

    def test_an_exception_is_a_result(self):
        result = self.tasks.fail.delay("no luck")
        with self.assertRaisesRegex(ValueError, "no luck"):
            self.get(result)
        self.assertEqual(result.state, "FAILURE")

    def test_retries(self):
        self.assertEqual(self.get(self.tasks.try_again.delay(3)), 3)

    def test_countdown_and_eta(self):
        asked = time.time()
        self.assertGreaterEqual(self.get(self.tasks.clock.apply_async(countdown=0.7)), asked + 0.6)

    def test_an_expired_task_is_not_run(self):
        """`expires` is the message's expiration, too: it ends in the queue."""
        blocker, name = self.blocker()
        late = self.tasks.add.apply_async((1, 1), expires=0.01)
        behind = self.tasks.clock.delay()
        expired = time.time() + 0.02
        while time.time() < expired:
            pass
        self.tasks.mark(name + ".go")
        self.get(blocker)
        self.get(behind)
        self.worker.wait_said(behind.id)
        self.assertNotIn(late.id + "] succeeded", "".join(self.worker.lines))

    def test_priorities(self):
        blocker, name = self.blocker()
        wanted = [3, 9, 0, 5, 7, 1]
        results = [self.tasks.note.apply_async(("%d" % rank,), queue="ranks", priority=rank)
                   for rank in wanted]
        self.wait_ready("ranks", len(wanted))
        self.tasks.mark(name + ".go")
        self.get(blocker)
        for result in results:
            self.get(result)
        with open(os.path.join(self.work, "order")) as file:
            order = [int(line) for line in file]
        # The worker may have fetched one before the others came.
        self.assertEqual(order[1:], sorted(order[1:], reverse=True), order)

    def wait_ready(self, queue, least):
        """Until the queue holds all but what the worker fetches ahead."""
        until = time.monotonic() + DEADLINE_S
        with self.app.connection_for_read() as connection:
            with connection.channel() as channel:
                while channel.queue_declare(queue, passive=True).message_count < least - 1:
                    self.assertLess(time.monotonic(), until)

    def test_revoke_of_a_waiting_task(self):
        blocker, name = self.blocker()
        victim = self.tasks.note.delay("never")
        answers = self.app.control.revoke(victim.id, reply=True, timeout=DEADLINE_S, limit=1)
        self.assertEqual(len(answers), 1, answers)
        self.tasks.mark(name + ".go")
        self.get(blocker)
        with self.assertRaises(TaskRevokedError):
            self.get(victim)

    def test_broadcasts_are_answered(self):
        """pidbox: a fanout exchange, a queue for each worker, and a reply queue for who asks."""
        inspect = self.app.control.inspect([self.worker.name], timeout=DEADLINE_S, limit=1)
        self.assertEqual(inspect.ping(), {self.worker.name: {"ok": "pong"}})
        self.assertIn("celery_tasks.add", inspect.registered()[self.worker.name])
        names = [queue["name"] for queue in inspect.active_queues()[self.worker.name]]
        self.assertEqual(sorted(names), ["celery", "ranks"])
        self.assertEqual(inspect.stats()[self.worker.name]["broker"]["port"], self.broker.port)

    def test_a_consumer_is_added_and_cancelled_by_remote(self):
        name = "added." + uuid.uuid4().hex[:8]
        options = {"destination": [self.worker.name], "reply": True, "timeout": DEADLINE_S, "limit": 1}
        self.app.control.add_consumer(name, **options)
        self.assertEqual(self.get(self.tasks.add.apply_async((1, 2), queue=name)), 3)
        answer = self.app.control.cancel_consumer(name, **options)
        self.assertIn("no longer consuming from " + name, str(answer))
        until = time.monotonic() + DEADLINE_S
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            while channel.queue_declare(name, passive=True).consumer_count:   # it answers first
                self.assertLess(time.monotonic(), until)
            channel.queue_delete(name)

    def test_events(self):
        """celeryev: a topic exchange; queues that expire, with messages that expire."""
        name, seen = uuid.uuid4().hex, []
        wanted = {"task-sent", "task-received", "task-started", "task-succeeded", "worker-heartbeat"}

        def on_event(event):
            if event.get("uuid", name) == name:
                seen.append(event)
                receiver.should_stop = wanted <= {event["type"] for event in seen}

        with self.app.connection_for_read() as connection:
            receiver = self.app.events.Receiver(connection, handlers={"*": on_event})
            with receiver.consumer_context() as (draining, _channel, _consumers):
                self.tasks.add.apply_async((20, 22), task_id=name)
                until = time.monotonic() + DEADLINE_S
                while not receiver.should_stop and time.monotonic() < until:
                    try:
                        draining.drain_events(timeout=1)
                    except socket.timeout:
                        pass
        self.assertLessEqual(wanted, {event["type"] for event in seen})
        self.assertEqual([event["result"] for event in seen if event["type"] == "task-succeeded"], ["42"])


class Death(Case):
    def start(self, name):
        worker = Worker(name, self.work, self.url, "celery", ["--without-mingle", "--without-gossip"])
        self.addCleanup(worker.stop)
        return worker

    def test_a_task_of_a_killed_worker_is_done_by_another(self):
        first = self.start("first")
        result = self.tasks.deliveries.delay("mortal")
        self.tasks.wait_for_mark("mortal.first")
        second = self.start("second")
        first.kill()
        self.assertIs(self.get(result), True)

    def test_a_killed_child_gives_its_task_back(self):
        """task_reject_on_worker_lost: the worker lives and rejects with requeue."""
        worker = self.start("parent")
        result = self.tasks.deliveries.delay("child")
        self.tasks.wait_for_mark("child.first")
        with open(os.path.join(self.work, "child.first")) as file:
            os.kill(int(file.read()), signal.SIGKILL)
        self.assertIs(self.get(result), True)

    def test_a_worker_comes_back_after_the_broker_did(self):
        if self.broker.external:
            self.skipTest("needs a broker of its own")
        worker = self.start("patient")
        self.assertEqual(self.get(self.tasks.add.delay(1, 1)), 2)
        self.broker.terminate()
        self.broker.start()
        worker.wait_said("Connected to amqp://", 2)
        self.use_new_app()
        self.assertEqual(self.get(self.tasks.add.delay(2, 2)), 4)


class Kombu(Case):
    def connect(self):
        connection = kombu.Connection(self.url, heartbeat=10)
        self.addCleanup(connection.release)
        return connection

    def test_simple_queue(self):
        queue = self.connect().SimpleQueue("simple." + uuid.uuid4().hex[:8])
        for number in range(10):
            queue.put({"number": number}, compression="zlib")
        self.assertEqual(queue.qsize(), 10)
        got = []
        while len(got) < 10:
            message = queue.get(timeout=DEADLINE_S)
            got.append(message.payload["number"])
            message.ack()
        self.assertEqual(got, list(range(10)))
        with self.assertRaises(queue.Empty):
            queue.get(block=False)
        queue.close()
        queue.queue.delete()

    def test_consumer_mixin_with_each_kind_of_answer(self):
        """Acks, requeues and rejects, with the dead letters in a queue of their own."""
        stem = uuid.uuid4().hex[:8]
        dead = kombu.Queue("dead." + stem, auto_delete=True)
        work = kombu.Queue("work." + stem, auto_delete=True, queue_arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name})
        got = []

        class Taker(kombu.mixins.ConsumerMixin):
            def __init__(self, connection):
                self.connection = connection

            def get_consumers(self, Consumer, channel):
                return [Consumer([work], callbacks=[self.on_work], prefetch_count=1),
                        Consumer([dead], callbacks=[self.on_dead])]

            def on_work(self, body, message):
                got.append((body, bool(message.delivery_info["redelivered"])))
                if body == "requeue" and not message.delivery_info["redelivered"]:
                    message.requeue()
                elif body == "reject":
                    message.reject()
                else:
                    message.ack()

            def on_dead(self, body, message):
                got.append(("dead " + body, message.headers["x-death"][0]["reason"]))
                message.ack()
                self.should_stop = True

        connection = self.connect()
        producer = connection.Producer()
        for body in ("ack", "requeue", "reject"):
            producer.publish(body, routing_key=work.name, declare=[dead, work], retry=True)
        Taker(connection.clone()).run(timeout=DEADLINE_S)
        self.assertEqual(got, [("ack", False), ("requeue", False), ("requeue", True), ("reject", False),
                               ("dead reject", "rejected")])

    def test_a_producer_with_confirms_and_a_pool(self):
        connection = kombu.Connection(self.url, transport_options={"confirm_publish": True})
        name = "confirmed." + uuid.uuid4().hex[:8]
        queue = kombu.Queue(name, auto_delete=True)
        with kombu.pools.producers[connection].acquire(block=True) as producer:
            for number in range(100):
                producer.publish(number, routing_key=name, declare=[queue])
            self.assertEqual(queue(producer.channel).queue_declare(passive=True).message_count, 100)
            queue(producer.channel).delete()
        connection.release()

    def test_exchange_and_binding_arguments(self):
        stem = uuid.uuid4().hex[:8]
        connection = self.connect()
        source = kombu.Exchange("kombu." + stem, "headers", auto_delete=True, durable=False)
        queue = kombu.Queue("kombu." + stem, source, binding_arguments={"x-match": "all", "k": 1},
                            exclusive=True, expires=20, message_ttl=20, max_length=3)
        bound = queue(connection.default_channel)
        bound.declare()
        producer = connection.Producer(exchange=source)
        for number in range(5):
            producer.publish({"n": number}, headers={"k": 1}, expiration=15)
            producer.publish("no", headers={"k": 2})
        got = []
        until = time.monotonic() + DEADLINE_S
        while len(got) < 3 and time.monotonic() < until:
            message = bound.get(no_ack=True)
            if message:
                got.append(message.payload["n"])
        self.assertEqual(got, [2, 3, 4])
        self.assertIsNone(bound.get(no_ack=True))

    def test_a_delay_is_a_way_through_queues(self):
        """What newer Celery does with a countdown: a topic exchange and a queue for each bit of it. A set bit's
        word of the routing key leads into the queue, whose time to live is the bit's; a clear one's past it."""
        levels, tick_ms, stem = 4, 40, uuid.uuid4().hex[:8]
        channel = self.connect().default_channel
        exchanges = [kombu.Exchange("bit%d.%s" % (bit, stem), "topic", durable=True)(channel)
                     for bit in range(levels)]
        due = kombu.Exchange("due." + stem, "topic", durable=True)(channel)
        after = [due, *exchanges]
        for one in (due, *exchanges):
            one.declare()
            self.addCleanup(one.delete)
        for bit in range(levels):
            skipped = "*." * (levels - 1 - bit)
            queue = kombu.Queue("bit%d.%s" % (bit, stem), exchanges[bit], routing_key=skipped + "1.#",
                                queue_arguments={"x-message-ttl": tick_ms << bit, "x-overflow": "reject-publish",
                                                 "x-dead-letter-exchange": after[bit].name})(channel)
            queue.declare()
            self.addCleanup(queue.delete)
            after[bit].bind_to(exchanges[bit], routing_key=skipped + "0.#")
        work = kombu.Queue("work." + stem, due, routing_key="#.work",
                           queue_arguments={"x-queue-type": "quorum"})(channel)
        work.declare()
        self.addCleanup(work.delete)
        got = {}

        def take(body, message):
            got[body["ticks"]] = (time.time() - body["sent"], message)
            message.ack()

        producer = kombu.Producer(channel, exchange=exchanges[-1])
        for ticks in range(1 << levels):
            producer.publish({"ticks": ticks, "sent": time.time()},
                             routing_key=".".join(format(ticks, "0%db" % levels)) + ".work")
        with kombu.Consumer(channel, [work], callbacks=[take]):
            while len(got) < 1 << levels:
                channel.connection.client.drain_events(timeout=DEADLINE_S)
        for ticks, (took, message) in got.items():
            self.assertGreaterEqual(took * 1000, ticks * tick_ms - 1)
            self.assertEqual([death["queue"] for death in message.headers.get("x-death", [])],
                             ["bit%d.%s" % (bit, stem) for bit in range(levels) if ticks >> bit & 1])


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
