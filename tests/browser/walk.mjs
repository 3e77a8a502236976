// A visitor in a real browser: search, work, checkout with a voucher, library, download, `fondaco open`, a campaign's
// letter; with scripts and without, in English, and one page in French. With scripts, axe-core looks at every page.
//
// node walk.mjs <task.json>: the task names the shop's address, vouchers, works, the browser and the fondaco program.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"];
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };
// Pages whose pictures stand in the documentation.
const DOCUMENTED = ["home", "search", "work", "library", "campaign"];

const problems = [];
const vouchers = [...task.vouchers];
const scratch = mkdtempSync(join(tmpdir(), "fondaco-walk-"));
rmSync(task.shots, { recursive: true, force: true });
mkdirSync(task.shots, { recursive: true });

// Without these the browser asks its maker's hosts at every start.
const flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// The sandbox of the browser refuses to run as root, as in a container.
if (process.getuid?.() === 0) flags.push("--no-sandbox");
const browser = await chromium.launch({ executablePath: task.browser, args: flags });

/** A new visitor. What the browser complains of is kept as a problem of the page it was on. */
async function visitor(options) {
  const context = await browser.newContext({ viewport: WIDE, locale: "en-GB", acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.on("console", (message) => {
    // A form that is refused is answered with 422, which is no fault of the page's.
    if (message.type() === "error" && !message.text().includes("status of 422")) problems.push(`${page.url()}: console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`${page.url()}: script: ${error.message}`));
  page.on("requestfailed", (request) => {
    // A download is a navigation that the browser breaks off by itself; so is a player that has heard enough.
    const why = request.failure()?.errorText;
    if (why !== "net::ERR_ABORTED") problems.push(`${request.url()}: ${why}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 500) problems.push(`${response.url()}: status ${response.status()}`);
  });
  return { context, page };
}

/** Looks at a page as it is now: is it accessible, does it fit, and what does it look like? */
async function look(page, name, scripts) {
  await page.waitForLoadState("load");
  if (scripts) {
    // Playwright's own channel is not bound by the page's policy, so the page's policy stays as strict as it is.
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate((rules) => globalThis.axe.run({ runOnly: rules }), RULES);
    if (passes.length < 10) problems.push(`${name}: only ${passes.length} rules of accessibility were looked at`);
    for (const { id, impact, nodes } of violations) {
      if (impact !== "serious" && impact !== "critical") continue;
      for (const node of nodes) problems.push(`${name} (${page.url()}): ${impact} ${id} at ${node.target.join(" ")}: ${node.failureSummary}`);
    }
  }
  for (const size of [WIDE, NARROW]) {
    await page.setViewportSize(size);
    if (scripts) {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > size.width) problems.push(`${name} is ${width} wide on a screen of ${size.width}`);
    }
    await page.screenshot({ path: join(task.shots, `${name}-${size.width}.png`), fullPage: true });
  }
  await page.setViewportSize(WIDE);
}

/** Saves what a click downloads. */
async function save(page, control) {
  const [download] = await Promise.all([page.waitForEvent("download"), control.click()]);
  const path = join(scratch, download.suggestedFilename());
  await download.saveAs(path);
  return path;
}

/** The first published work that is sold sealed, with what is known of it. */
function sealedWork() {
  for (const work of task.works) {
    const about = readFileSync(join(work.folder, "work.toml"), "utf8");
    const text = (key) => about.match(new RegExp(`^${key} = "(.*)"$`, "m"))?.[1];
    if (about.includes("scheme = ")) return { ...work, title: text("title"), license: text("license") };
  }
  throw new Error("no work is sold sealed");
}

/** From the front page to the opened file. */
async function buy(page, work, prefix, scripts) {
  await page.goto(task.url);
  await look(page, `${prefix}home`, scripts);

  await page.getByLabel("Search this shop").first().fill(work.title.split(/[:\s]+/).slice(0, 2).join(" "));
  await page.getByRole("button", { name: "Search", exact: true }).first().click();
  await look(page, `${prefix}search`, scripts);

  await page.getByRole("main").getByRole("link", { name: work.title, exact: true }).first().click();
  await page.getByRole("heading", { level: 1, name: work.title }).waitFor();
  assert.ok((await page.getByRole("complementary").textContent()).includes(work.license), "the page does not state the licence");
  await look(page, `${prefix}work`, scripts);

  await page.getByRole("button", { name: /^Buy for/ }).first().click();
  await page.getByRole("heading", { level: 1, name: "Your order" }).waitFor();
  await look(page, `${prefix}order`, scripts);
  await page.getByRole("button", { name: "Pay with Voucher" }).click();

  // A mistyped code is said to be wrong, and costs nothing.
  const code = page.getByLabel(/voucher code/i);
  await code.fill("NOT-A-VOUCHER");
  const pay = page.getByRole("button", { name: /^Pay (?!with)/ });
  await pay.click();
  await page.getByRole("alert").first().waitFor();
  await look(page, `${prefix}voucher-wrong`, scripts);
  await page.getByLabel(/voucher code/i).fill(vouchers.shift());
  await pay.click();

  // What is left on the voucher is given back as a new one, before the library is shown.
  const change = page.getByRole("heading", { level: 1, name: "Your change" });
  const library = page.getByRole("heading", { level: 1, name: "Your library" });
  await change.or(library).waitFor();
  if (await change.isVisible()) {
    assert.match(await page.getByRole("main").textContent(), /FDV1-/, "the change is no voucher");
    await look(page, `${prefix}change`, scripts);
    const main = page.getByRole("main");
    await main.getByRole("link", { name: "Open your library" }).or(main.getByRole("button", { name: "I have paid" })).first().click();
  }
  await library.waitFor();
  await look(page, `${prefix}library`, scripts);

  // The first file that has a licence, the licence, and the key of the library.
  const row = page.getByRole("listitem").filter({ has: page.getByRole("link", { name: /^Licence file/ }) }).last();
  const sealed = await save(page, row.getByRole("link", { name: /^Download/ }));
  const licence = await save(page, row.getByRole("link", { name: /^Licence file/ }));
  const key = await save(page, page.getByRole("button", { name: "Save the library key" }));

  const clear = join(scratch, `${prefix}clear`);
  execFileSync(task.fondaco, ["-C", task.deployment, "open", sealed, "--licence", licence, "--key", key, "--out", clear]);
  const name = sealed.split("/").pop().replace(/\.sealed$/, "");
  const [original, opened] = [readFileSync(join(work.folder, name)), readFileSync(clear)];
  assert.ok(original.equals(opened), `${name} was opened, and is not what was published`);
  assert.ok(!readFileSync(sealed).includes(original.subarray(1000, 1064)), `${name} is not sealed`);
  console.log(`  ${prefix || "scripted-"}: bought, opened ${name}: ${opened.length} bytes as published`);
}

/** From the menu to a letter that only the visitor can send. */
async function speak(page, prefix, scripts) {
  await page.goto(task.url);
  await page.getByRole("navigation", { name: "Main menu" }).getByRole("link", { name: "Campaigns" }).click();
  await look(page, `${prefix}campaigns`, scripts);
  await page.getByRole("link", { name: /Read and take part/ }).first().click();
  await page.getByRole("heading", { level: 1 }).waitFor();
  await look(page, `${prefix}campaign`, scripts);

  // The made-up country of the demonstration's pack.
  await page.getByLabel("Country").first().fill("XA");
  await page.getByLabel("Postcode").first().fill("15500");
  await page.getByRole("button", { name: "Find" }).click();
  const letter = page.getByRole("form", { name: "Write a letter" });
  await letter.getByRole("checkbox", { name: /Member for Harbour/ }).check();
  await look(page, `${prefix}letter`, scripts);
  await fillRequired(letter);
  await letter.getByRole("button", { name: "Take part" }).click();
  await page.getByRole("heading", { level: 1, name: /Your letter is ready/ }).waitFor();
  await look(page, `${prefix}hand-off`, scripts);
  const mail = await page.getByRole("link", { name: /Open in your mail program/ }).first().getAttribute("href");
  assert.match(mail, /^mailto:harbour(@|%40)assembly\.arvenland\.example\?/, "the letter is not for whom it was written to");
  console.log(`  ${prefix || "scripted-"}: wrote a letter and sent nothing`);
}

/** Fills what a form still demands; consents are given where they are asked for. */
async function fillRequired(form) {
  for (const box of await form.locator("input[type=text], input[type=email], textarea").all()) {
    const demanded = (await box.getAttribute("required")) !== null;
    if (!demanded || (await box.inputValue()) !== "") continue;
    const kind = await box.getAttribute("type");
    const name = await box.getAttribute("name");
    await box.fill(kind === "email" ? "ada@example.org" : name === "postcode" ? "15500" : name === "country" ? "XA" : "Ada Visitor");
  }
  for (const box of await form.locator("input[type=checkbox][required]").all()) await box.check();
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

const work = sealedWork();
const walks = [
  ["", true],
  ["plain-", false],
];
let failed = 0;
/** Carries out a part of the walk; what fails is a problem, and the other parts go on. */
async function part(name, act) {
  try {
    await act();
  } catch (error) {
    failed += 1;
    problems.push(`${name}: ${error.stack ?? error}`);
  }
}
for (const [prefix, scripts] of walks) {
  const { context, page } = await visitor({ javaScriptEnabled: scripts });
  page.setDefaultTimeout(20_000);
  await part(`${prefix}buy`, () => buy(page, work, prefix, scripts));
  if (failed) await page.screenshot({ path: join(task.shots, `${prefix}failed-buy.png`), fullPage: true });
  await part(`${prefix}speak`, () => speak(page, prefix, scripts));
  if (failed) await page.screenshot({ path: join(task.shots, `${prefix}failed-speak.png`), fullPage: true });
  await context.close();
}
await part("french", () => french(work));
await part("others", others);
await browser.close();
rmSync(scratch, { recursive: true, force: true });

if (task.save) {
  mkdirSync(task.documentation, { recursive: true });
  for (const name of DOCUMENTED) copyFileSync(join(task.shots, `${name}-1280.png`), join(task.documentation, `${name}.png`));
}
writeFileSync(join(task.shots, "problems.txt"), problems.join("\n"));
console.log(`  ${readdirSync(task.shots).length - 1} screenshots in ${task.shots}`);
if (problems.length) {
  console.error(`${problems.length} problems:\n${problems.map((p) => `- ${p}`).join("\n")}`);
  process.exit(1);
}
