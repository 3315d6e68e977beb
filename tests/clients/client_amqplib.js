// SPDX-License-Identifier: Apache-2.0
// client_amqplib.js - what a Node program does with amqplib: promises, confirm
// channels, frames split at frame-max, several channels, errors, returns.
//
//   NODE_PATH=CACHE/node_modules node client_amqplib.js HOST PORT
//
// Prints a line for each test and a closing `N passed, N failed`.
'use strict';
const amqp = require('amqplib');
const callbacks = require('amqplib/callback_api');
const assert = require('assert');
const crypto = require('crypto');
const { once } = require('events');

const [host, port] = process.argv.slice(2);
const url = (query = '') => `amqp://guest:guest@${host}:${port}/%2F?heartbeat=0${query}`;
const DEADLINE_MS = 30000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`deadline: ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Consume `count` messages and give them back, acknowledged.
function take(channel, queue, count, options = {}) {
  const got = [];
  return within(new Promise((resolve, reject) => {
    channel.consume(queue, (message) => {
      if (message === null) return reject(new Error('consumer cancelled'));
      got.push(message);
      if (!options.noAck) channel.ack(message);
      if (got.length === count) resolve(got);
    }, options).catch(reject);
  }), `${count} messages from ${queue}`);
}

const tests = {
  async promises_publish_and_consume(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (let n = 0; n < 100; n++) channel.sendToQueue(queue, Buffer.from(String(n)));
    const got = await take(channel, queue, 100);
    assert.deepStrictEqual(got.map((m) => Number(m.content)), [...Array(100).keys()]);
    assert.ok(got.every((m) => !m.fields.redelivered && m.fields.routingKey === queue));
    await channel.close();
  },

  async confirm_channel_waits_for_all(connection) {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    let called = 0;
    for (let n = 0; n < 1000; n++) {
      channel.sendToQueue(queue, Buffer.from('x'), {}, (error) => { if (!error) called += 1; });
    }
    await within(channel.waitForConfirms(), 'confirms');
    assert.strictEqual(called, 1000);
    assert.strictEqual((await channel.checkQueue(queue)).messageCount, 1000);
    assert.strictEqual((await channel.purgeQueue(queue)).messageCount, 1000);
    await channel.close();
  },

  async callback_api_confirms_each_publish() {
    const connection = await new Promise((resolve, reject) => {
      callbacks.connect(url(), (error, made) => (error ? reject(error) : resolve(made)));
    });
    const channel = await new Promise((resolve, reject) => {
      connection.createConfirmChannel((error, made) => (error ? reject(error) : resolve(made)));
    });
    await within(new Promise((resolve, reject) => {
      channel.publish('amq.direct', 'nobody', Buffer.from('x'), {},
        (error) => (error ? reject(error) : resolve()));
    }), 'a confirm');
    await new Promise((resolve) => connection.close(resolve));
  },

  async bodies_are_split_at_frame_max() {
    const connection = await amqp.connect(url('&frameMax=4096'));
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const bodies = [0, 1, 4087, 4088, 4089, 8176, 8177, 300000].map((n) => crypto.randomBytes(n));
    for (const body of bodies) channel.sendToQueue(queue, body);
    const got = await take(channel, queue, bodies.length, { noAck: true });
    got.forEach((message, n) => assert.ok(message.content.equals(bodies[n]), `body ${n}`));
    await connection.close();
  },

  async several_channels_do_not_mix(connection) {
    const channels = await Promise.all([...Array(20)].map(() => connection.createChannel()));
    const queues = await Promise.all(channels.map(async (channel) =>
      (await channel.assertQueue('', { exclusive: true })).queue));
    for (let n = 0; n < 50; n++) {
      queues.forEach((queue, at) => channels[(at + n) % 20].sendToQueue(
        queue, Buffer.alloc(3000, at), { messageId: String(at) }));
    }
    const got = await Promise.all(channels.map((channel, at) => take(channel, queues[at], 50)));
    got.forEach((messages, at) => messages.forEach((message) => {
      assert.strictEqual(message.properties.messageId, String(at));
      assert.ok(message.content.equals(Buffer.alloc(3000, at)));
    }));
    await Promise.all(channels.map((channel) => channel.close()));
  },

  async properties_and_headers_come_back(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const options = {
      contentType: 'text/plain', contentEncoding: 'utf-8', correlationId: 'c', replyTo: queue,
      messageId: 'm', type: 't', appId: 'a', priority: 4, timestamp: 1700000000, persistent: true,
      headers: { text: 'é', number: 42, list: [1, 'two', true], deep: { er: null }, real: 1.5 },
    };
    channel.sendToQueue(queue, Buffer.from('x'), options);
    const [{ properties }] = await take(channel, queue, 1);
    for (const key of ['contentType', 'contentEncoding', 'correlationId', 'replyTo', 'messageId',
      'type', 'appId', 'priority', 'timestamp', 'headers']) {
      assert.deepEqual(properties[key], options[key], key);
    }
    assert.strictEqual(properties.deliveryMode, 2);
    await channel.close();
  },

  async unroutable_mandatory_is_returned(connection) {
    const channel = await connection.createConfirmChannel();
    const returned = once(channel, 'return');
    channel.publish('amq.direct', 'nobody', Buffer.from('back'), { mandatory: true });
    const [message] = await within(returned, 'a return');
    assert.strictEqual(message.fields.replyCode, 312);
    assert.strictEqual(String(message.content), 'back');
    await channel.waitForConfirms();
    await channel.close();
  },

  async channel_errors_close_the_channel_only(connection) {
    const channel = await connection.createChannel();
    const error = once(channel, 'error');
    await assert.rejects(channel.checkQueue('nobody.has.this'), /404 \(NOT-FOUND\)/);
    const [problem] = await within(error, "the channel's error");
    assert.strictEqual(problem.code, 404);
    const other = await connection.createChannel();
    await other.close();
  },

  async prefetch_and_nack(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.prefetch(1);
    for (let n = 0; n < 3; n++) channel.sendToQueue(queue, Buffer.from(String(n)));
    const order = [];
    await within(new Promise((resolve) => {
      channel.consume(queue, (message) => {
        order.push(`${message.content}${message.fields.redelivered ? '!' : ''}`);
        if (message.fields.redelivered || order.length > 1) channel.ack(message);
        else channel.nack(message);
        if (order.length === 4) resolve();
      });
    }), 'four deliveries');
    assert.deepStrictEqual(order, ['0', '0!', '1', '2']);
    await channel.close();
  },

  async exchanges_bind_to_exchanges(connection) {
    const channel = await connection.createConfirmChannel();
    const names = ['upper', 'lower'].map((n) => `amqplib.${process.pid}.${n}`);
    await channel.assertExchange(names[0], 'topic', { durable: false });
    await channel.assertExchange(names[1], 'fanout', { durable: false });
    await channel.bindExchange(names[1], names[0], '*.go');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, names[1], '');
    channel.publish(names[0], 'let.go', Buffer.from('yes'));
    channel.publish(names[0], 'let.stay', Buffer.from('no'));
    await within(channel.waitForConfirms(), 'confirms');
    assert.strictEqual(String((await channel.get(queue, { noAck: true })).content), 'yes');
    assert.strictEqual(await channel.get(queue), false);
    for (const name of names) await channel.deleteExchange(name);
    await channel.close();
  },

  async deleted_queue_cancels_its_consumer(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const cancelled = new Promise((resolve) => {
      channel.consume(queue, (message) => message === null && resolve());
    });
    const other = await connection.createChannel();
    await other.deleteQueue(queue);
    await within(cancelled, 'the cancel');
    await channel.close();
  },

  async wrong_password_is_refused() {
    await assert.rejects(amqp.connect(url().replace('guest:guest', 'guest:wrong')),
      /403 \(ACCESS-REFUSED\)/);
  },
};

async function main() {
  let passed = 0;
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    const connection = await amqp.connect(url());
    connection.on('error', () => {});
    try {
      await within(test(connection), name);
      await connection.close();
      passed += 1;
      console.log(`ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}\n${error.stack}`);
      await connection.close().catch(() => {});
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
