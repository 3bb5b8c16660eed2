// Node's fetch as a client: keep-alive, streams both ways, abort.
//
// Usage: fetch.js URL; prints "ok".
'use strict';
const assert = require('assert');
const { createHash } = require('crypto');

const url = process.argv[2];
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function bytes(path, options) {
  const answer = await fetch(url + path, options);
  assert.strictEqual(answer.status, 200, path);
  return Buffer.from(await answer.arrayBuffer());
}

async function keepAlive() {
  const first = new Map();
  for (let round = 0; round < 3; round++) {
    await Promise.all([...Array(60).keys()].map(async (n) => {
      const path = `/${n % 2 ? 'bytes' : 'chunked'}/${n * 997}`;
      const got = await bytes(path);
      assert.strictEqual(got.length, n * 997);
      if (round === 0) first.set(path, hash(got));
      else assert.strictEqual(hash(got), first.get(path));
    }));
  }
}

async function streams() {
  let total = 0;
  const answer = await fetch(`${url}/bytes/20000000`);
  for await (const part of answer.body) total += part.length;
  assert.strictEqual(total, 20000000);
  const parts = [...Array(100).keys()].map((n) => Buffer.alloc(1 + n * 331, n));
  const body = new ReadableStream({
    async pull(to) {
      const part = parts.shift();
      if (part) to.enqueue(part);
      else to.close();
    },
  });
  const expected = hash(Buffer.concat(parts));
  assert.strictEqual(hash(await bytes('/echo', { method: 'POST', body, duplex: 'half' })), expected);
}

async function aborted() {
  for (const path of ['/stall/100000', '/trickle/100000', '/hold']) {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    await assert.rejects(bytes(path, { signal: abort.signal }), { name: 'AbortError' });
  }
  assert.strictEqual((await bytes('/bytes/7')).length, 7, 'the client goes on');
}

async function others() {
  const head = await fetch(`${url}/bytes/1234`, { method: 'HEAD' });
  assert.strictEqual(head.headers.get('content-length'), '1234');
  assert.strictEqual((await fetch(`${url}/status/404`)).status, 404);
  assert.strictEqual((await bytes('/close/70000')).length, 70000);
  const form = new FormData();
  form.set('file', new Blob(['x'.repeat(100000)]), 'name');
  assert((await bytes('/echo', { method: 'POST', body: form })).includes('x'.repeat(100000)));
}

(async () => {
  for (const part of [keepAlive, streams, aborted, others]) await part();
  console.log('ok');
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
