// A visitor in a real browser: search, work, checkout with a voucher, library, download, `fondaco open`, a campaign's
// letter; with scripts and without, in English, and one page in French. With scripts, axe-core looks at every page.
//
// node walk.mjs <task.json>: the task names the shop's address, vouchers, works, the browser and the fondaco program.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { find, finish, look, opened, part, pay, problems, published, rights, save, speak, task, visitor } from "./visitor.mjs";

// Pages whose pictures stand in the documentation.
const DOCUMENTED = ["home", "search", "work", "library", "campaign"];
const vouchers = [...task.vouchers];

/** From the front page to the opened file. */
async function buy(page, work, prefix, scripts) {
  const seen = (name) => look(page, `${prefix}${name}`, scripts);
  await page.goto(task.url);
  await seen("home");
  await find(page, work, seen);
  assert.ok((await page.getByRole("complementary").textContent()).includes(work.license), "the page does not state the licence");
  await pay(page, vouchers.shift(), seen);
  const { row, ...keys } = await rights(page);
  const sealed = await save(page, row.getByRole("link", { name: /^Download/ }));
  console.log(`  ${prefix || "scripted-"}: bought, opened ${opened(work, sealed, keys)}`);
}

/** One page in French, by the browser's wish alone. */
async function french(work) {
  const { context, page } = await visitor({ locale: "fr-FR" });
  await page.goto(task.url);
  assert.equal(await page.getByRole("link", { name: "Votre bibliothèque" }).count(), 1, "the menu is not in French");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "fr");
  await page.getByRole("main").getByRole("link", { name: work.title, exact: true }).first().click();
  await page.getByRole("button", { name: /^Acheter pour/ }).first().waitFor();
  await look(page, "french-work", true);
  await context.close();
  console.log("  french: speaks it");
}

/** Pages that are no step of a purchase. */
async function others() {
  const { context, page } = await visitor({});
  for (const [name, path, status] of [["about", "/about", 200], ["browse", "/search", 200], ["empty-library", "/library", 200], ["nothing-found", "/search?q=zzzzqqqq", 200]]) {
    const answer = await page.goto(task.url + path);
    assert.equal(answer.status(), status, path);
    await look(page, name, true);
  }
  await context.close();
  // A page that is not there is said to be missing by the browser's console, too, so that it is asked for last and alone.
  const lost = await visitor({});
  const before = problems.length;
  const answer = await lost.page.goto(`${task.url}/no/such/page`);
  assert.equal(answer.status(), 404);
  await look(lost.page, "not-found", true);
  const mine = problems.splice(before).filter((problem) => !problem.includes("status of 404"));
  problems.push(...mine);
  await lost.context.close();
  console.log("  others: seen");
}

const [work] = published("sealed");
const walks = [
  ["", true],
  ["plain-", false],
];
for (const [prefix, scripts] of walks) {
  const { context, page } = await visitor({ javaScriptEnabled: scripts });
  page.setDefaultTimeout(20_000);
  await part(page, `${prefix}buy`, () => buy(page, work, prefix, scripts));
  await part(page, `${prefix}speak`, async () => {
    await page.goto(task.url);
    await speak(page, (name) => look(page, `${prefix}${name}`, scripts));
    console.log(`  ${prefix || "scripted-"}: wrote a letter and sent nothing`);
  });
  await context.close();
}
await part(null, "french", () => french(work));
await part(null, "others", others);
if (task.save) {
  mkdirSync(task.documentation, { recursive: true });
  for (const name of DOCUMENTED) copyFileSync(join(task.shots, `${name}-1280.png`), join(task.documentation, `${name}.png`));
}
await finish();
