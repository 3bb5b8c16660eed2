// WebSockets by the library `ws`: text, long binary messages, pings, codes of closing.
//
// Usage: websocket.js HOST:PORT; prints "ok".
'use strict';
const assert = require('assert');
const { randomBytes } = require('crypto');
const { once } = require('events');
const WebSocket = require('ws');

const url = `ws://${process.argv[2]}/ws`;

async function open() {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, 'open');
  return socket;
}

async function echo(socket, data) {
  socket.send(data);
  const [got, isBinary] = await once(socket, 'message');
  assert.strictEqual(isBinary, typeof data !== 'string');
  assert(Buffer.from(data).equals(got), `${data.length} bytes come back`);
}

async function messages() {
  const socket = await open();
  await echo(socket, 'hello');
  await echo(socket, '');
  await echo(socket, 'ü'.repeat(50000));
  await echo(socket, randomBytes(1 << 20));
  for (let n = 0; n < 300; n++) await echo(socket, randomBytes(n * 13));
  // Without waiting for each: in order.
  const sent = [...Array(500).keys()].map((n) => `message ${n}`);
  const got = [];
  const all = new Promise((done) => {
    socket.on('message', (data) => {
      got.push(String(data));
      if (got.length === sent.length) done();
    });
  });
  sent.forEach((text) => socket.send(text));
  await all;
  assert.deepStrictEqual(got, sent);
  socket.close(4000, 'done');
  const [code] = await once(socket, 'close');
  assert.strictEqual(code, 4000);
}

async function pings() {
  const socket = await open();
  socket.ping('are you there');
  const [data] = await once(socket, 'pong');
  assert.strictEqual(String(data), 'are you there');
  socket.send('close me');
  const [code, reason] = await once(socket, 'close');
  assert.deepStrictEqual([code, String(reason)], [4242, 'as asked']);
}

async function many() {
  const sockets = await Promise.all([...Array(50)].map(open));
  await Promise.all(sockets.map((socket, n) => echo(socket, randomBytes(n * 1000))));
  await Promise.all(sockets.map(async (socket) => {
    socket.terminate();
    await once(socket, 'close');
  }));
}

(async () => {
  for (const part of [messages, pings, many]) await part();
  console.log('ok');
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
