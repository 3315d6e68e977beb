// SPDX-License-Identifier: Apache-2.0
// client_rabbitmq_client.js - what a Node program does with rabbitmq-client: consumers
// and publishers that come back by themselves, confirms, requests and replies.
//
//   NODE_PATH=CACHE/node_modules node client_rabbitmq_client.js HOST PORT
//
// Prints a line for each test and a closing `N passed, N failed`.
'use strict';
const assert = require('assert');
const { once } = require('events');
const net = require('net');
const { Connection, ConsumerStatus } = require('rabbitmq-client');

const [host, port] = process.argv.slice(2);
const DEADLINE_MS = 30000;
const options = { hostname: host, port: Number(port), retryLow: 50, retryHigh: 200 };
let made = 0;
const unique = (stem) => `rc.${stem}.${process.pid}.${made++}`;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`deadline: ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A consumer that is there, and a promise of its first `count` messages.
async function consume(rabbit, props, count, answer = () => ConsumerStatus.ACK) {
  const got = [];
  let consumer;
  const all = new Promise((resolve) => {
    consumer = rabbit.createConsumer(props, async (message, reply) => {
      got.push(message);
      if (got.length === count) resolve(got);
      return answer(message, reply, got.length);
    });
    consumer.on('error', () => {});
  });
  await within(once(consumer, 'ready'), 'a consumer');
  return { consumer, all: within(all, `${count} messages`), got };
}

const tests = {
  async hello_world(rabbit) {
    const queue = unique('hello');
    const { consumer, all } = await consume(rabbit, { queue, queueOptions: { autoDelete: true } }, 1);
    const publisher = rabbit.createPublisher({ confirm: true });
    await publisher.send(queue, 'Hello World!');
    assert.strictEqual((await all)[0].body, 'Hello World!');
    await publisher.close();
    await consumer.close();
  },

  async work_queue_shares_and_takes_back(rabbit) {
    const queue = unique('work');
    const props = { queue, queueOptions: { durable: true }, qos: { prefetchCount: 1 } };
    const seen = [];
    let done;
    const all = new Promise((resolve) => { done = resolve; });
    const take = (name) => (message) => {
      seen.push([name, message.body.task, message.redelivered]);
      if (new Set(seen.map((s) => s[1])).size === 20 && seen.length >= 21) done();
      return message.body.task === 3 && !message.redelivered ? ConsumerStatus.REQUEUE : ConsumerStatus.ACK;
    };
    const workers = [rabbit.createConsumer(props, take('a')), rabbit.createConsumer(props, take('b'))];
    await within(Promise.all(workers.map((worker) => once(worker, 'ready'))), 'workers');
    const publisher = rabbit.createPublisher({ confirm: true, maxAttempts: 2 });
    for (let task = 0; task < 20; task++) await publisher.send({ routingKey: queue, durable: true }, { task });
    await within(all, 'all tasks');
    assert.strictEqual(seen.filter((s) => s[1] === 3).length, 2);
    assert.ok(seen.some((s) => s[0] === 'a') && seen.some((s) => s[0] === 'b'));
    await Promise.all(workers.map((worker) => worker.close()));
    await publisher.close();
    await rabbit.queueDelete(queue);
  },

  async topics(rabbit) {
    const exchange = unique('topic');
    const { consumer, all } = await consume(rabbit, {
      queueOptions: { exclusive: true },
      exchanges: [{ exchange, type: 'topic', autoDelete: true }],
      queueBindings: [{ exchange, routingKey: 'users.*' }],
    }, 2);
    const publisher = rabbit.createPublisher({ confirm: true });
    for (const routingKey of ['users.made', 'orders.made', 'users.gone']) {
      await publisher.send({ exchange, routingKey }, routingKey);
    }
    assert.deepStrictEqual((await all).map((message) => message.body), ['users.made', 'users.gone']);
    await consumer.close();
    await publisher.close();
  },

  async requests_and_replies(rabbit) {
    const queue = unique('rpc');
    const { consumer } = await consume(rabbit, { queue, queueOptions: { autoDelete: true } }, 1e9,
      async (message, reply) => { await reply({ twice: message.body.number * 2 }); });
    const client = rabbit.createRPCClient({ confirm: true });
    const answers = await within(Promise.all([...Array(100).keys()].map((number) =>
      client.send(queue, { number }))), 'replies');
    assert.deepStrictEqual(answers.map((answer) => answer.body.twice), [...Array(100).keys()].map((n) => 2 * n));
    await client.close();
    await consumer.close();
  },

  async confirms_and_refusals(rabbit) {
    const channel = await rabbit.acquire();
    await channel.confirmSelect();
    const { queue } = await channel.queueDeclare({
      exclusive: true, arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' },
    });
    const results = await within(Promise.allSettled([...Array(5)].map((_, n) =>
      channel.basicPublish({ routingKey: queue }, `${n}`))), 'confirms');
    assert.deepStrictEqual(results.map((result) => result.status),
      ['fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected']);
    await channel.close();
  },

  async a_mandatory_message_is_returned(rabbit) {
    const publisher = rabbit.createPublisher({ confirm: true });
    const returned = once(publisher, 'basic.return');
    await publisher.send({ routingKey: unique('nobody'), mandatory: true }, 'back');
    const [message] = await within(returned, 'a return');
    assert.strictEqual(message.replyCode, 312);
    assert.strictEqual(message.body, 'back');
    await publisher.close();
  },

  async properties_and_bodies_come_back(rabbit) {
    const { queue } = await rabbit.queueDeclare({ exclusive: true });
    const envelope = {
      routingKey: queue, contentEncoding: 'none', correlationId: 'c', replyTo: 'r', messageId: 'm', type: 't',
      appId: 'a', priority: 3, timestamp: 1700000000, durable: true, expiration: '60000',
      headers: { text: 'é', number: 42, list: [1, 'two', true], deep: { er: null }, real: 1.5 },
    };
    const publisher = rabbit.createPublisher({ confirm: true });
    for (const body of [{ an: ['object'] }, 'text', Buffer.alloc(0), Buffer.alloc(400000, 7)]) {
      await publisher.send(envelope, body);
      const message = await rabbit.basicGet({ queue, noAck: true });
      assert.deepStrictEqual(message.body, body);
      for (const key of ['correlationId', 'replyTo', 'messageId', 'type', 'appId', 'priority', 'timestamp',
        'expiration', 'headers', 'durable']) {
        assert.deepStrictEqual(message[key], envelope[key], key);
      }
    }
    await publisher.close();
  },

  async dropped_and_expired_messages_are_dead_letters(rabbit) {
    const dead = unique('dead');
    await rabbit.queueDeclare({ queue: dead, exclusive: true });
    const letters = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead };
    const expiring = (await rabbit.queueDeclare({
      exclusive: true, arguments: { ...letters, 'x-message-ttl': 10 },
    })).queue;
    const { consumer, all } = await consume(rabbit,
      { queueOptions: { exclusive: true, arguments: letters } }, 1, () => ConsumerStatus.DROP);
    const publisher = rabbit.createPublisher({ confirm: true });
    await publisher.send(consumer.queue, 'dropped');
    await all;
    await publisher.send(expiring, 'expired');
    const graves = await consume(rabbit, { queue: dead, queueOptions: { exclusive: true } }, 2);
    const got = (await graves.all).map((m) => [m.body, m.headers['x-death'][0].reason]);
    assert.deepStrictEqual(got.sort(), [['dropped', 'rejected'], ['expired', 'expired']]);
    await graves.consumer.close();
    await consumer.close();
    await publisher.close();
  },

  async channel_errors_close_the_channel_only(rabbit) {
    await assert.rejects(rabbit.queueDeclare({ queue: 'nobody.has.this', passive: true }), { code: 'NOT_FOUND' });
    const { queue } = await rabbit.queueDeclare({ queue: unique('mine'), exclusive: true });
    await assert.rejects(rabbit.queueDeclare({ queue, exclusive: true, arguments: { 'x-expires': 5000 } }),
      { code: 'PRECONDITION_FAILED' });
    await rabbit.queuePurge(queue);
  },

  async transactions(rabbit) {
    const channel = await rabbit.acquire();
    const { queue } = await channel.queueDeclare({ exclusive: true });
    await channel.txSelect();
    await channel.basicPublish(queue, 'kept');
    await channel.txCommit();
    await channel.basicPublish(queue, 'not');
    await channel.txRollback();
    await channel.txCommit();
    assert.strictEqual((await channel.basicGet({ queue, noAck: true })).body, 'kept');
    assert.strictEqual(await channel.basicGet({ queue, noAck: true }), undefined);
    await channel.close();
  },

  async consumers_and_publishers_survive_a_cut_line() {
    const lines = new Set();
    const proxy = net.createServer((near) => {
      const far = net.connect(Number(port), host);
      const line = [near, far];
      lines.add(line);
      near.pipe(far);
      far.pipe(near);
      line.forEach((end) => end.on('error', () => {}));
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const rabbit = new Connection({ ...options, hostname: '127.0.0.1', port: proxy.address().port });
    rabbit.on('error', () => {});
    const queue = unique('cut');
    const { consumer, got } = await consume(rabbit, { queue, queueOptions: { durable: true } }, 1e9);
    const publisher = rabbit.createPublisher({ confirm: true, maxAttempts: 20 });
    publisher.on('retry', () => {});
    for (let round = 0; round < 3; round++) {
      // Not node's once(): the errors on the way are what this is about.
      const back = new Promise((resolve) => { rabbit.once('connection', resolve); });
      const ready = new Promise((resolve) => { consumer.once('ready', resolve); });
      lines.forEach((line) => line.forEach((end) => end.destroy()));
      lines.clear();
      await within(Promise.all([back, ready]), 'coming back');
      await within(publisher.send({ routingKey: queue, durable: true }, `round ${round}`), 'a confirm');
    }
    while (new Set(got.map((m) => m.body)).size < 3) {
      await within(new Promise((resolve) => { setImmediate(resolve); }), 'all rounds');
    }
    await consumer.close();
    await publisher.close();
    await rabbit.queueDelete(queue);
    await rabbit.close();
    proxy.close();
  },

  async a_wrong_password_is_refused() {
    const rabbit = new Connection({ ...options, password: 'wrong' });
    const [error] = await within(once(rabbit, 'error'), 'an error');
    assert.strictEqual(error.code, 'ACCESS_REFUSED');
    rabbit.unsafeDestroy();
  },
};

async function main() {
  let passed = 0;
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    const rabbit = new Connection(options);
    rabbit.on('error', () => {});
    try {
      await within(rabbit.onConnect(), 'a connection');
      await within(test(rabbit), name);
      await within(rabbit.close(), 'closing');
      passed += 1;
      console.log(`ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}\n${error.stack}`);
      rabbit.unsafeDestroy();
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main().catch((error) => {
  console.error(error);
  console.log('0 passed, 1 failed');
  process.exit(1);
});
