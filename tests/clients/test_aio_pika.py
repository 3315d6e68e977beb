#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What asyncio programs do with aio-pika: one connection, many tasks, and coming back by itself."""
import asyncio
import os
import sys
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import aio_pika
import aio_pika.patterns
import aiormq.exceptions
import broker as broker_module
import suite

DEADLINE_S = 60.0


def unique(stem):
    return "aio.%s.%s" % (stem, uuid.uuid4().hex[:8])


class Case(unittest.IsolatedAsyncioTestCase):
    target = None

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)     # which unittest turns on, and is slow

    def url(self):
        target = self.target or self.broker
        return "amqp://guest:guest@%s:%d/" % (target.host, target.port)

    async def connect(self, **options):
        connection = await aio_pika.connect(self.url(), **options)
        self.addAsyncCleanup(connection.close)
        return connection

    async def channel(self, **options):
        return await (await self.connect()).channel(**options)

    async def within(self, awaitable):
        return await asyncio.wait_for(awaitable, DEADLINE_S)

    async def get(self, queue):
        """A message that is there or comes soon."""
        while True:
            message = await queue.get(no_ack=True, fail=False)
            if message:
                return message

    async def take(self, queue, count, **options):
        """`count` bodies; acknowledged."""
        got = []

        async def loop():
            async with queue.iterator(**options) as messages:
                async for message in messages:
                    got.append(message.body)
                    await message.ack()
                    if len(got) == count:
                        return
        await self.within(loop())
        return got


class Tutorials(Case):
    async def test_hello_world(self):
        channel = await self.channel()
        queue = await channel.declare_queue(unique("hello"), auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(b"Hello World!"), queue.name)
        self.assertEqual(await self.take(queue, 1), [b"Hello World!"])

    async def test_work_queue_with_fair_dispatch(self):
        name, done, busy = unique("work"), [], asyncio.Event()
        first, second = await self.channel(), await self.channel()
        queues = []
        for channel in (first, second):
            await channel.set_qos(prefetch_count=1)
            queues.append(await channel.declare_queue(name, durable=True))

        async def slow(message):
            await busy.wait()
            await message.ack()
            done.append(("slow", message.body))

        async def quick(message):
            await message.ack()
            done.append(("quick", message.body))
            if len(done) == 9:
                busy.set()
        await queues[0].consume(slow)
        for number in range(10):
            await first.default_exchange.publish(
                aio_pika.Message(b"%d" % number, delivery_mode=aio_pika.DeliveryMode.PERSISTENT), name)
            if number == 0:
                await queues[1].consume(quick)
        while len(done) < 10:
            await asyncio.sleep(0)
        self.assertEqual(done, [("quick", b"%d" % n) for n in range(1, 10)] + [("slow", b"0")])
        await queues[0].delete(if_unused=False)

    async def test_publish_subscribe_routing_and_topics(self):
        channel = await self.channel()
        for kind, key, matching, other in (
                (aio_pika.ExchangeType.FANOUT, "", "anything", None),
                (aio_pika.ExchangeType.DIRECT, "error", "error", "info"),
                (aio_pika.ExchangeType.TOPIC, "kern.#", "kern.a.b", "cron.a")):
            exchange = await channel.declare_exchange(unique("logs"), kind, auto_delete=True)
            queues = [await channel.declare_queue(exclusive=True) for _ in range(2)]
            for queue in queues:
                await queue.bind(exchange, key)
            if other:
                await exchange.publish(aio_pika.Message(b"no"), other, mandatory=False)
            await exchange.publish(aio_pika.Message(b"yes"), matching)
            for queue in queues:
                self.assertEqual(await self.take(queue, 1), [b"yes"])

    async def test_rpc_pattern(self):
        """Calls and results on queues that the pattern makes; exceptions come back, too."""
        server = await aio_pika.patterns.RPC.create(await self.channel())
        client = await aio_pika.patterns.RPC.create(await self.channel())

        async def multiply(*, x, y):
            return x * y

        async def refuse():
            raise ValueError("no")
        stem = unique("rpc")
        await server.register(stem + ".multiply", multiply, auto_delete=True)
        await server.register(stem + ".refuse", refuse, auto_delete=True)
        self.assertEqual(await self.within(client.call(stem + ".multiply", {"x": 6, "y": 7})), 42)
        results = await self.within(asyncio.gather(*[
            client.call(stem + ".multiply", {"x": n, "y": n}) for n in range(100)]))
        self.assertEqual(results, [n * n for n in range(100)])
        with self.assertRaises(ValueError):
            await self.within(client.call(stem + ".refuse", {}))
        await client.close()
        await server.close()

    async def test_master_pattern(self):
        """Tasks for workers, one of which refuses the first time."""
        channel, name, seen = await self.channel(), unique("master"), []
        done = asyncio.Event()

        async def worker(*, task_id):
            seen.append(task_id)
            if task_id == 3 and seen.count(3) == 1:
                raise aio_pika.patterns.NackMessage(requeue=True)
            if len(seen) == 11:
                done.set()
        master = aio_pika.patterns.Master(channel)
        await master.create_worker(name, worker, auto_delete=True)
        for task_id in range(10):
            await master.create_task(name, {"task_id": task_id})
        await self.within(done.wait())
        self.assertEqual(sorted(seen), [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9])


class Semantics(Case):
    async def test_confirms_of_a_thousand_at_once(self):
        channel = await self.channel()
        queue = await channel.declare_queue(exclusive=True)
        await self.within(asyncio.gather(*[
            channel.default_exchange.publish(aio_pika.Message(b"%d" % n), queue.name) for n in range(1000)]))
        again = await channel.declare_queue(queue.name, passive=True)
        self.assertEqual(again.declaration_result.message_count, 1000)

    async def test_returned_message_is_an_exception(self):
        channel = await self.channel(on_return_raises=True)
        with self.assertRaises(aio_pika.exceptions.DeliveryError) as caught:
            await self.within(channel.default_exchange.publish(aio_pika.Message(b"x"), "nobody"))
        self.assertEqual(caught.exception.message.delivery.reply_code, 312)
        self.assertEqual(caught.exception.message.delivery.reply_text, "NO_ROUTE")

    async def test_refused_publish_is_an_exception(self):
        """reject-publish: the queue is full, and the confirm is a nack."""
        channel = await self.channel()
        queue = await channel.declare_queue(exclusive=True, arguments={"x-max-length": 1,
                                                                       "x-overflow": "reject-publish"})
        publish = channel.default_exchange.publish
        await self.within(publish(aio_pika.Message(b"in"), queue.name))
        with self.assertRaises(aio_pika.exceptions.DeliveryError):
            await self.within(publish(aio_pika.Message(b"out"), queue.name))

    async def test_all_properties_and_headers_come_back(self):
        channel = await self.channel()
        queue = await channel.declare_queue(exclusive=True)
        sent = aio_pika.Message(
            b"body", headers={"text": "t", "number": 7, "list": [1, "two", None], "table": {"a": True},
                              "binary": b"\xff"},
            content_type="application/json", content_encoding="utf-8", priority=3, correlation_id="c",
            reply_to="r", expiration=60, message_id="m", timestamp=1700000000, type="t", app_id="a",
            user_id="guest")
        await channel.default_exchange.publish(sent, queue.name)
        got = await self.within(queue.get(no_ack=True))
        for field in ("content_type", "content_encoding", "priority", "correlation_id", "reply_to",
                      "expiration", "message_id", "timestamp", "type", "app_id", "user_id"):
            self.assertEqual(getattr(got, field), getattr(sent, field), field)
        self.assertEqual(got.headers["list"], [1, "two", None])
        self.assertEqual(got.headers["table"], {"a": True})
        self.assertEqual((got.headers["text"], got.headers["number"]), ("t", 7))

    async def test_context_of_a_message_acks_requeues_and_rejects(self):
        channel = await self.channel()
        dead = await channel.declare_queue(exclusive=True)
        queue = await channel.declare_queue(exclusive=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name})
        for body in (b"good", b"again", b"bad"):
            await channel.default_exchange.publish(aio_pika.Message(body), queue.name)
        async with (await self.within(queue.get())).process():
            pass
        with self.assertRaises(ValueError):
            async with (await self.within(queue.get())).process(requeue=True):
                raise ValueError("again")
        again = await self.within(queue.get())
        self.assertEqual((again.body, again.redelivered), (b"again", True))
        await again.ack()
        with self.assertRaises(ValueError):
            async with (await self.within(queue.get())).process():
                raise ValueError("bad")
        letter = await self.within(self.get(dead))
        self.assertEqual(letter.body, b"bad")
        self.assertEqual(letter.headers["x-death"][0]["reason"], "rejected")
        self.assertEqual(letter.headers["x-death"][0]["queue"], queue.name)

    async def test_expired_messages_are_dead_letters(self):
        channel = await self.channel()
        dead = await channel.declare_queue(exclusive=True)
        queue = await channel.declare_queue(exclusive=True, arguments={
            "x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name})
        for number in range(5):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number), queue.name)
        self.assertEqual(await self.take(dead, 5), [b"%d" % number for number in range(5)])

    async def test_priorities(self):
        channel = await self.channel()
        queue = await channel.declare_queue(exclusive=True, arguments={"x-max-priority": 5})
        for priority in (1, 5, 3, 0, 4):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % priority, priority=priority),
                                                   queue.name)
        self.assertEqual(await self.take(queue, 5), [b"5", b"4", b"3", b"1", b"0"])

    async def test_transaction(self):
        channel = await self.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(aio_pika.Message(b"kept"), queue.name)
        with self.assertRaises(ValueError):
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"not"), queue.name)
                raise ValueError("rolled back")
        self.assertEqual((await self.within(queue.get(no_ack=True))).body, b"kept")
        self.assertIsNone(await queue.get(no_ack=True, fail=False))

    async def test_channel_closes_with_the_servers_reason(self):
        connection = await self.connect()
        channel = await connection.channel()
        with self.assertRaises(aiormq.exceptions.ChannelNotFoundEntity) as caught:
            await channel.declare_queue("nobody.declared.this", passive=True)
        self.assertIn("no queue 'nobody.declared.this' in vhost '/'", str(caught.exception))
        queue = await (await connection.channel()).declare_queue(unique("mine"), exclusive=True)
        with self.assertRaises(aiormq.exceptions.ChannelPreconditionFailed):
            await (await connection.channel()).declare_queue(queue.name, exclusive=True, arguments={
                "x-message-ttl": 1})

    async def test_wrong_password(self):
        target = self.target or self.broker
        with self.assertRaises(aiormq.exceptions.ProbableAuthenticationError):
            await self.within(aio_pika.connect("amqp://guest:wrong@%s:%d/" % (target.host, target.port)))

    async def test_update_secret(self):
        connection = await self.connect()
        await self.within(connection.transport.connection.update_secret("guest", reason="new"))

    async def test_exchange_to_exchange(self):
        channel = await self.channel()
        source = await channel.declare_exchange(unique("source"), aio_pika.ExchangeType.TOPIC,
                                                auto_delete=True)
        target = await channel.declare_exchange(unique("target"), aio_pika.ExchangeType.FANOUT,
                                                auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(target)
        await target.bind(source, "a.*")
        await source.publish(aio_pika.Message(b"both"), "a.b")
        self.assertEqual(await self.take(queue, 1), [b"both"])
        await target.unbind(source, "a.*")

    async def test_fifty_channels_of_one_connection(self):
        connection = await self.connect()

        async def one(number):
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            for count in range(10):
                await channel.default_exchange.publish(aio_pika.Message(b"%d.%d" % (number, count)),
                                                       queue.name)
            got = await self.take(queue, 10)
            await channel.close()
            return got
        all_got = await self.within(asyncio.gather(*[one(number) for number in range(50)]))
        self.assertEqual(all_got, [[b"%d.%d" % (number, count) for count in range(10)]
                                   for number in range(50)])


class Proxy:
    """Passes bytes on between a port of its own and the broker's, until the line is cut."""

    async def open(self, target):
        self.target, self.writers = target, []
        self.server = await asyncio.start_server(self.accepted, "127.0.0.1", 0)
        self.host, self.port = self.server.sockets[0].getsockname()
        return self

    async def accepted(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(self.target.host, self.target.port)
        self.writers += [writer, far_writer]
        await asyncio.gather(self.pass_on(reader, far_writer), self.pass_on(far_reader, writer))

    async def pass_on(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()
        self.writers = []

    def close(self):
        self.cut()
        self.server.close()


class Robust(Case):
    """connect_robust(): what was declared and consumed is there again after a lost connection."""

    def own(self):
        if self.broker.external:
            self.skipTest("needs a broker of its own")
        self.target = broker_module.Broker()
        self.addCleanup(self.target.stop)

    async def robust(self):
        connection = await aio_pika.connect_robust(self.url())
        connection.reconnect_interval = 0.05
        self.addAsyncCleanup(connection.close)
        return connection

    async def publish_until_it_arrives(self, exchange, key, arrived):
        """The reconnecting ends somewhere between the tries."""
        number = 0
        while not arrived.is_set():
            try:
                await asyncio.wait_for(exchange.publish(aio_pika.Message(b"after %d" % number), key), 1)
            except (Exception, asyncio.CancelledError):     # what a lost connection raises differs
                await asyncio.sleep(0.02)
            number += 1

    async def consumed_again(self, cut):
        connection = await self.robust()
        channel = await connection.channel()
        exchange = await channel.declare_exchange(unique("robust"), auto_delete=True)
        queue = await channel.declare_queue(unique("robust"), auto_delete=True)
        await queue.bind(exchange, "key")
        before, after = asyncio.Event(), asyncio.Event()

        async def on_message(message):
            await message.ack()
            (after if message.body.startswith(b"after") else before).set()
        await queue.consume(on_message)
        await exchange.publish(aio_pika.Message(b"before"), "key")
        await self.within(before.wait())
        await cut(connection)
        await self.within(self.publish_until_it_arrives(exchange, "key", after))

    async def test_the_socket_is_cut(self):
        proxy = self.target = await Proxy().open(self.broker)
        self.addCleanup(proxy.close)

        async def cut(_connection):
            proxy.cut()
        await self.consumed_again(cut)

    async def test_the_broker_restarts(self):
        self.own()

        async def cut(_connection):
            await asyncio.to_thread(self.target.terminate)  # it says good-bye: somebody has to listen
            self.target.start()
        await self.consumed_again(cut)

    async def test_the_data_plane_is_killed(self):
        self.own()

        async def cut(_connection):
            self.target.kill_all()
            self.target.start()
        await self.consumed_again(cut)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
