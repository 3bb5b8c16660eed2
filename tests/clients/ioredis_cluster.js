// What applications do through ioredis' Cluster. Arguments: port, shards.
const assert = require("node:assert/strict");
const { Cluster } = require("ioredis");

const port = Number(process.argv[2]);
const shards = Number(process.argv[3]);

async function main() {
  const r = new Cluster([{ host: "127.0.0.1", port }], {
    redisOptions: { commandTimeout: 10000 },
    clusterRetryStrategy: (times) => (times > 5 ? null : 100),
  });
  await new Promise((resolve, reject) => r.once("ready", resolve).once("error", reject));
  assert.equal(r.nodes("master").length, shards);
  await Promise.all(r.nodes("master").map((node) => node.flushall()));

  await Promise.all(Array.from({ length: 1000 }, (_, n) => r.set(`k:${n}`, n, "EX", 100)));
  const values = await Promise.all(Array.from({ length: 1000 }, (_, n) => r.get(`k:${n}`)));
  assert.deepEqual(values, Array.from({ length: 1000 }, (_, n) => String(n)));
  const sizes = await Promise.all(r.nodes("master").map((node) => node.dbsize()));
  assert.equal(sizes.reduce((a, b) => a + b), 1000);
  assert.ok(sizes.every((size) => size > 0), "keys are spread over all");

  await r.mset("{tag}a", 1, "{tag}b", 2);
  assert.deepEqual(await r.mget("{tag}a", "{tag}b", "{tag}none"), ["1", "2", null]);
  await assert.rejects(r.mget("a", "b"), /CROSSSLOT/);
  const blob = Buffer.from(Array.from({ length: 100000 }, (_, n) => n % 256));
  await r.set("blob", blob);
  assert.ok(blob.equals(await r.getBuffer("blob")));

  const pipe = r.pipeline();
  for (let n = 0; n < 2000; n++) pipe.incr("{tag}n");
  const replies = await pipe.exec();
  assert.deepEqual(replies.map(([, n]) => n), Array.from({ length: 2000 }, (_, n) => n + 1));

  assert.deepEqual(await r.multi().set("{t}1", 1).incr("{t}1").exec(), [[null, "OK"], [null, 2]]);

  const found = new Set();
  for (const node of r.nodes("master")) {
    for await (const keys of node.scanStream({ match: "k:*", count: 50 })) keys.forEach((k) => found.add(k));
  }
  assert.equal(found.size, 1000);

  // A client that asks the wrong node first is led on.
  const lost = new Cluster([{ host: "127.0.0.1", port }], {
    redisOptions: { commandTimeout: 10000 },
    slotsRefreshTimeout: 2000,
  });
  await new Promise((resolve, reject) => lost.once("ready", resolve).once("error", reject));
  const first = lost.slots[0];
  for (let slot = 0; slot < 16384; slot++) lost.slots[slot] = first;
  for (let n = 0; n < 50; n++) assert.equal(await lost.get(`k:${n}`), String(n));
  await Promise.all([r.quit(), lost.quit()]);
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
