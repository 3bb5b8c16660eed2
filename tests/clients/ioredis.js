// What applications do through ioredis. Arguments: port, driver.
const assert = require("node:assert/strict");
const { Redis } = require("ioredis");

const port = Number(process.argv[2]);
const driver = process.argv[3];

async function main() {
  const r = new Redis({ port, commandTimeout: 10000, connectionName: "ioredis" });
  await r.flushall();
  assert.match(await r.info(), new RegExp(`corelane_driver:${driver}\r`));
  assert.equal(await r.client("GETNAME"), "ioredis");

  assert.equal(await r.set("k", "v", "EX", 100), "OK");
  assert.equal(await r.get("k"), "v");
  assert.equal(await r.set("k", "w", "NX"), null);
  assert.deepEqual(await r.mget("k", "none"), ["v", null]);
  const blob = Buffer.from(Array.from({ length: 100000 }, (_, n) => n % 256));
  await r.set("blob", blob);
  assert.ok(blob.equals(await r.getBuffer("blob")));
  await assert.rejects(r.incr("k"), /value is not an integer/);

  const pipe = r.pipeline();
  for (let n = 0; n < 2000; n++) pipe.incr("n");
  const replies = await pipe.exec();
  assert.deepEqual(replies.map(([, n]) => n), Array.from({ length: 2000 }, (_, n) => n + 1));
  const mixed = await r.pipeline().set("a", "x").incr("a").get("a").exec();
  assert.equal(mixed[0][1], "OK");
  assert.match(mixed[1][0].message, /not an integer/);
  assert.equal(mixed[2][1], "x");

  assert.deepEqual(await r.multi().set("m", 1).incr("m").exec(), [[null, "OK"], [null, 2]]);
  const other = r.duplicate();
  await r.watch("m");
  await other.set("m", 10);
  assert.equal(await r.multi().set("m", 0).exec(), null);
  assert.equal(await r.get("m"), "10");

  await r.mset(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`scan:${n}`, n])));
  const found = new Set();
  for await (const keys of r.scanStream({ match: "scan:*", count: 50 })) keys.forEach((k) => found.add(k));
  assert.equal(found.size, 500);

  const burst = await Promise.all(Array.from({ length: 1000 }, (_, n) => r.set(`b:${n}`, n)));
  assert.ok(burst.every((reply) => reply === "OK"));

  const ready = new Promise((resolve) => other.once("ready", resolve));
  await r.client("KILL", "ID", await other.client("ID"));
  await ready;
  assert.equal(await other.get("m"), "10", "it connects again by itself");
  await Promise.all([r.quit(), other.quit()]);
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
