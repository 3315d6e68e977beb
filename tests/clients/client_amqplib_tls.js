// SPDX-License-Identifier: Apache-2.0
// One message there and back over TLS: node client_amqplib_tls.js CA-FILE HOST PORT
'use strict';

const assert = require('assert');
const fs = require('fs');
const amqp = require('amqplib');

async function main() {
  const [ca, host, port] = process.argv.slice(2);
  const connection = await amqp.connect(`amqps://guest:guest@${host}:${port}`,
    { ca: [fs.readFileSync(ca)], servername: 'localhost' });
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const body = Buffer.alloc(500000, 'x');
  channel.sendToQueue(queue, body);
  await channel.waitForConfirms();
  const message = await channel.get(queue, { noAck: true });
  assert.ok(message.content.equals(body));
  await connection.close();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
