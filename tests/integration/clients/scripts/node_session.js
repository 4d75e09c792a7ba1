// What an application does with the npm client `consul`: prints a JSON object of step -> result.
//
//     node node_session.js CLIENT_DIRECTORY HOST PORT

"use strict";

const [directory, host, port] = process.argv.slice(2);
const Consul = require(directory + "/node_modules/consul");
const client = new Consul({ host, port: Number(port) });
const PATIENCE_MS = 30000;
const results = {};

function plain(value) {
  if (typeof value === "bigint") return Number(value);
  if (Buffer.isBuffer(value)) return { buffer: value.toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value === undefined ? null : value;
}

async function step(title, action) {
  if (title in results) throw new Error("twice: " + title);
  let value;
  try {
    value = await action();
  } catch (error) {
    value = "error " + (error.statusCode || "") + ": " + error.message;
  }
  results[title] = plain(value);
  return value;
}

async function until(title, action, condition) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await action();
    if (condition(value)) break;
    if (Date.now() > deadline) throw new Error(title + ": waited in vain, last answer " + JSON.stringify(plain(value)));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return step(title, action);
}

async function keysAndValues() {
  const kv = client.kv;
  await step("kv missing", () => kv.get("app/none"));
  await step("kv set", () => kv.set("app/a", "one"));
  await step("kv set flags", () => kv.set({ key: "app/f", value: "x", flags: 7 }));
  await step("kv set snow", () => kv.set("app/é ☃", "snow"));
  await step("kv get", () => kv.get("app/a"));
  await step("kv get raw", () => kv.get({ key: "app/a", raw: true }));
  await step("kv get recurse", () => kv.get({ key: "app/", recurse: true }));
  await step("kv keys", () => kv.keys("app/"));
  await step("kv keys to a separator", () => kv.keys({ key: "", separator: "/" }));
  await step("kv cas", () => kv.set({ key: "app/cas", value: "1", cas: "0" }));
  await step("kv cas in vain", () => kv.set({ key: "app/cas", value: "2", cas: "0" }));
  await step("kv del", () => kv.del("app/cas"));
  await step("kv del tree", () => kv.del({ key: "app/", recurse: true }));
  await step("kv rest", () => kv.keys("app/"));
}

async function watching() {
  await client.kv.set("watched", "1");
  const seen = [];
  const watch = client.watch({ method: client.kv.get, options: { key: "watched", wait: "20s" }, backoffFactor: 50 });
  watch.on("change", (data) => seen.push(data && data.Value));
  watch.on("error", (error) => seen.push("error " + error.message));
  const saw = (count) => until("watch saw " + count, async () => seen.slice(0, count), (list) => list.length === count);
  await saw(1);
  await client.kv.set("watched", "2");
  await saw(2);
  await client.kv.del("watched");
  await saw(3);
  watch.end();
}

async function catalogAndHealth() {
  const { catalog, health } = client;
  await step("catalog register", () =>
    catalog.register({
      node: "db1",
      address: "10.1.1.1",
      nodemeta: { rack: "r1" },
      service: { id: "db-1", service: "db", tags: ["main"], port: 5432, meta: { v: "1" } },
      check: { node: "db1", checkid: "db:alive", name: "alive", status: "passing", serviceid: "db-1" },
    }));
  await step("catalog datacenters", () => catalog.datacenters());
  await step("catalog nodes", async () => (await catalog.node.list()).map((node) => node.Node));
  await step("catalog node services", () => catalog.node.services("db1"));
  await step("catalog services", () => catalog.service.list());
  await step("catalog service nodes", () => catalog.service.nodes("db"));
  await step("catalog connect", () => catalog.connect.nodes("db"));
  await step("health node", () => health.node("db1"));
  await step("health checks", () => health.checks("db"));
  await step("health service", () => health.service({ service: "db", passing: true }));
  await step("health service filtered", () => health.service({ service: "db", filter: 'Service.Meta.v == "1"' }));
  await step("health state", () => health.state("passing"));
  await step("catalog deregister", () => catalog.deregister({ node: "db1" }));
  await step("catalog none", () => catalog.service.nodes("db"));
}

async function servicesOfTheAgent() {
  const { agent, health } = client;
  const web = {
    name: "web",
    id: "web-1",
    port: 80,
    tags: ["a"],
    meta: { k: "v" },
    check: { name: "alive", ttl: "60s", status: "passing", notes: "n" },
  };
  await step("agent register", () => agent.service.register(web));
  await step("agent services", () => agent.service.list());
  await until("agent in the catalog", () => health.service("web"), (found) => found.length === 1);
  await step("agent check register", () => agent.check.register({ id: "load", name: "load", ttl: "60s" }));
  await step("agent check pass", () => agent.check.pass({ id: "load", note: "fine" }));
  await step("agent check warn", () => agent.check.warn("load"));
  await step("agent check fail", () => agent.check.fail("load"));
  await step("agent check fail nobody", () => agent.check.fail("nobody"));
  await step("agent checks", () => agent.check.list());
  await step("agent service maintenance", () => agent.service.maintenance({ id: "web-1", enable: true, reason: "r" }));
  await step("agent maintenance", () => agent.maintenance({ enable: true }));
  await step("agent checks under maintenance", async () => Object.keys(await agent.check.list()));
  await step("agent maintenance over", () => agent.maintenance(false));
  await step("agent check deregister", () => agent.check.deregister("load"));
  await step("agent service deregister", () => agent.service.deregister("web-1"));
  await step("agent services none", () => agent.service.list());
  await step("agent members", async () => (await agent.members()).map((member) => [member.Name, member.Status]));
  await step("agent reload", () => agent.reload());
}

async function sessionsAndLocks() {
  const { session, kv } = client;
  const first = (await session.create({ name: "first", lockdelay: "0s", ttl: "60s" })).ID;
  const second = (await session.create({ name: "second", lockdelay: "0s", behavior: "delete" })).ID;
  await step("session get", () => session.get(first));
  await step("session list", async () => (await session.list()).map((each) => each.Name).sort());
  await step("session node", async () => (await session.node("node1")).length);
  await step("session renew", () => session.renew(first));
  await step("lock", () => kv.set({ key: "lock", value: "1", acquire: first }));
  await step("lock held", () => kv.set({ key: "lock", value: "2", acquire: second }));
  await step("lock shown", () => kv.get("lock"));
  await step("lock released", () => kv.set({ key: "lock", value: "3", release: first }));
  await step("lock taken", () => kv.set({ key: "lock", value: "4", acquire: second }));
  await step("session destroy", () => session.destroy(second));
  await step("lock gone", () => kv.get("lock"));
  await step("session gone", () => session.get(second));
}

async function transactionsEventsAndQueries() {
  const value = Buffer.from("v").toString("base64");
  await step("transaction", () =>
    client.transaction.create([{ KV: { Verb: "set", Key: "txn", Value: value } }, { KV: { Verb: "get", Key: "txn" } }]));
  await step("transaction in vain", () => client.transaction.create([{ KV: { Verb: "check-not-exists", Key: "txn" } }]));
  await step("event fire", async () => {
    const event = await client.event.fire({ name: "deploy", payload: "now" });
    return [event.Name, event.Payload];
  });
  await until("event list", async () => (await client.event.list("deploy")).map((event) => event.Payload),
    (found) => found.length === 1);
  const query = { name: "find", service: { service: "consul", onlypassing: true }, dns: { ttl: "10s" } };
  const made = (await client.query.create(query)).ID;
  await step("query get", () => client.query.get(made));
  await step("query list", () => client.query.list());
  await step("query execute", async () => Object.keys(await client.query.execute("find")).sort());
  await step("query explain", () => client.query.explain("find"));
  await step("query update", () => client.query.update({ query: made, name: "other", service: { service: "web" } }));
  await step("query execute other", () => client.query.execute("other"));
  await step("query destroy", () => client.query.destroy(made));
  await step("query none", () => client.query.execute("other"));
  await step("status leader", () => client.status.leader());
  await step("status peers", () => client.status.peers());
}

async function main() {
  const parts = [
    keysAndValues,
    watching,
    catalogAndHealth,
    servicesOfTheAgent,
    sessionsAndLocks,
    transactionsEventsAndQueries,
  ];
  for (const part of parts) await part();
  console.log(JSON.stringify(results));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
