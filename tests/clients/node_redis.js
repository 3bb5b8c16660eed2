// What applications do through node-redis. Arguments: port, driver, RESP version.
const assert = require("node:assert/strict");
const { createClient, WatchError } = require("redis");

const port = Number(process.argv[2]);
const driver = process.argv[3];
const RESP = Number(process.argv[4]);

function connect() {
  const client = createClient({ RESP, socket: { port, host: "127.0.0.1", connectTimeout: 10000 } });
  client.on("error", () => {}); // it connects again by itself
  return client.connect();
}

async function main() {
  const r = await connect();
  await r.flushAll();
  assert.match(String(await r.info()), new RegExp(`corelane_driver:${driver}\r`));

  assert.equal(await r.set("k", "v", { expiration: { type: "EX", value: 100 } }), "OK");
  assert.equal(await r.get("k"), "v");
  assert.equal(await r.get("none"), null);
  assert.deepEqual(await r.mGet(["k", "none"]), ["v", null]);
  assert.equal(await r.incrBy("n", 5), 5);
  assert.equal(Number(await r.incrByFloat("n", 0.5)), 5.5);
  await assert.rejects(r.incr("k"), /value is not an integer/);
  assert.deepEqual({ ...(await r.configGet("databases")) }, { databases: "16" });

  const many = await Promise.all(Array.from({ length: 2000 }, (_, n) => r.set(`b:${n}`, `${n}`)));
  assert.ok(many.every((reply) => reply === "OK"));

  assert.deepEqual(await r.multi().set("m", "1").incr("m").get("m").exec(), ["OK", 2, "2"]);
  const other = await connect();
  await r.watch("m");
  await other.set("m", "10");
  await assert.rejects(r.multi().set("m", "0").exec(), WatchError);
  assert.equal(await r.get("m"), "10");

  await r.mSet(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`scan:${n}`, `${n}`])));
  const found = new Set();
  for await (const keys of r.scanIterator({ MATCH: "scan:*", COUNT: 50 })) {
    for (const key of [keys].flat()) found.add(key);
  }
  assert.equal(found.size, 500);

  assert.ok((await r.sendCommand(["CLIENT", "LIST"])).includes("id="));
  const ready = new Promise((resolve) => other.once("ready", resolve));
  await r.sendCommand(["CLIENT", "KILL", "ID", String(await other.sendCommand(["CLIENT", "ID"]))]);
  await ready;
  assert.equal(await other.get("m"), "10", "it connects again by itself");
  await Promise.all([r.close(), other.close()]);
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
