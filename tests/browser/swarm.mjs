// Three nodes: a publisher's shop, a node that passes its works on, and another shop that shows them. A visitor finds the
// works in the second shop, buys at the publisher's, and the publisher is killed; what was bought, and what is free, still
// comes, from the node that passes it on, through the shop that never had it. With scripts and without.
//
// node swarm.mjs <task.json>: as for walk.mjs, `url` being the second shop's; and `publisher`: url and process id.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { find, finish, look, opened, part, pay, published, rights, save, scratch, speak, task, visitor } from "./visitor.mjs";

const [sealed] = published("sealed");
const [free] = published("free");
const vouchers = [...task.vouchers];
const walks = [];
for (const [prefix, scripts] of [["swarm-", true], ["swarm-plain-", false]]) {
  const { context, page } = await visitor({ javaScriptEnabled: scripts });
  page.setDefaultTimeout(20_000);
  const seen = (name) => look(page, `${prefix}${name}`, scripts);
  walks.push({ prefix, context, page, seen, keys: null, address: null });
}

// While the publisher is there: from the second shop to the publisher's, and what was bought is the visitor's.
for (const walk of walks) {
  const { prefix, page, seen } = walk;
  await part(page, `${prefix}buy`, async () => {
    await page.goto(task.url);
    await find(page, sealed, seen);
    assert.equal(await page.getByRole("button", { name: /^Buy for/ }).count(), 0, "another shop's work is sold here");
    const there = page.getByRole("main").getByRole("link", { name: /publisher/i }).first();
    const led = await there.getAttribute("href");
    assert.ok(led.startsWith(task.publisher.url), `the page leads to ${led}, and not to its publisher's shop`);
    await there.click();
    await page.getByRole("heading", { level: 1, name: sealed.title }).waitFor();
    await pay(page, vouchers.shift());
    const { row, ...keys } = await rights(page);
    walk.keys = keys;
    walk.address = await row.getByRole("link", { name: /^Download/ }).getAttribute("href");
    console.log(`  ${prefix}: found it in one shop, bought it in the other`);
  });
}

process.kill(task.publisher.pid, "SIGKILL");

for (const { prefix, context, page, seen, keys, address } of walks) {
  await part(page, `${prefix}sealed`, async () => {
    // The same file by its hash, from the shop that is left.
    const path = new URL(address, task.publisher.url).pathname;
    const answer = await context.request.get(task.url + path, { timeout: 60_000 });
    assert.equal(answer.status(), 200, `${path}: ${await answer.text().catch(() => "")}`);
    const named = join(scratch, path.split("/").pop());
    writeFileSync(named, await answer.body());
    console.log(`  ${prefix}: the publisher is gone, opened ${opened(sealed, named, keys)}`);
  });
  await part(page, `${prefix}free`, async () => {
    await page.goto(task.url);
    await find(page, free);
    await page.getByRole("button", { name: /free/i }).first().click();
    await page.getByRole("heading", { level: 1, name: "Your library" }).waitFor();
    await seen("library");
    const got = await save(page, page.getByRole("main").getByRole("link", { name: /^Download/ }).first());
    const name = got.split("/").pop();
    assert.ok(readFileSync(join(free.folder, name)).equals(readFileSync(got)), `${name} is not what was published`);
    console.log(`  ${prefix}: and took ${name} for nothing`);
  });
  await part(page, `${prefix}speak`, async () => {
    await page.goto(task.url);
    await speak(page);
    console.log(`  ${prefix}: and wrote a letter`);
  });
  await context.close();
}
await finish();
