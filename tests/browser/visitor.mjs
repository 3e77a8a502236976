// What every walk through a shop in a real browser needs: the browser, visitors whose complaints are kept, pages looked at
// for accessibility, width and pictures, and downloads.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"];
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };

export const problems = [];
export const scratch = mkdtempSync(join(tmpdir(), "fondaco-walk-"));
rmSync(task.shots, { recursive: true, force: true });
mkdirSync(task.shots, { recursive: true });

// Without these the browser asks its maker's hosts at every start.
const flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// The sandbox of the browser refuses to run as root, as in a container.
if (process.getuid?.() === 0) flags.push("--no-sandbox");
export const browser = await chromium.launch({ executablePath: task.browser, args: flags });

/** A new visitor. What the browser complains of is kept as a problem of the page it was on. */
export async function visitor(options) {
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
export async function look(page, name, scripts) {
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
export async function save(page, control) {
  const [download] = await Promise.all([page.waitForEvent("download"), control.click()]);
  const path = join(scratch, download.suggestedFilename());
  await download.saveAs(path);
  return path;
}

/** The published works of a kind, "sealed" or "free", with what is known of them. */
export function published(kind) {
  const all = task.works.map((work) => {
    const about = readFileSync(join(work.folder, "work.toml"), "utf8");
    const text = (key) => about.match(new RegExp(`^${key} = "(.*)"$`, "m"))?.[1];
    return { ...work, title: text("title"), license: text("license"), kind: about.includes("scheme = ") ? "sealed" : about.includes('price = "0.00 ') ? "free" : "sold" };
  });
  const found = all.filter((work) => work.kind === kind);
  assert.ok(found.length, `no work is ${kind}`);
  return found;
}

/** Finds a work in the shop of the page by the first words of its title, and opens it. `seen` is called with each page. */
export async function find(page, work, seen = async () => {}) {
  await page.getByLabel("Search this shop").first().fill(work.title.split(/[:\s]+/).slice(0, 2).join(" "));
  await page.getByRole("button", { name: "Search", exact: true }).first().click();
  await seen("search");
  await page.getByRole("main").getByRole("link", { name: work.title, exact: true }).first().click();
  await page.getByRole("heading", { level: 1, name: work.title }).waitFor();
  await seen("work");
}

/** From the page of a work to the library, with a voucher. */
export async function pay(page, voucher, seen = async () => {}) {
  await page.getByRole("button", { name: /^Buy for/ }).first().click();
  await page.getByRole("heading", { level: 1, name: "Your order" }).waitFor();
  await seen("order");
  await page.getByRole("button", { name: "Pay with Voucher" }).click();

  // A mistyped code is said to be wrong, and costs nothing.
  const pay = page.getByRole("button", { name: /^Pay (?!with)/ });
  await page.getByLabel(/voucher code/i).fill("NOT-A-VOUCHER");
  await pay.click();
  await page.getByRole("alert").first().waitFor();
  await seen("voucher-wrong");
  await page.getByLabel(/voucher code/i).fill(voucher);
  await pay.click();

  // What is left on the voucher is given back as a new one, before the library is shown.
  const change = page.getByRole("heading", { level: 1, name: "Your change" });
  const library = page.getByRole("heading", { level: 1, name: "Your library" });
  await change.or(library).waitFor();
  if (await change.isVisible()) {
    assert.match(await page.getByRole("main").textContent(), /FDV1-/, "the change is no voucher");
    await seen("change");
    const main = page.getByRole("main");
    await main.getByRole("link", { name: "Open your library" }).or(main.getByRole("button", { name: "I have paid" })).first().click();
  }
  await library.waitFor();
  await seen("library");
}

/** The last sealed file of the library: its row, its licence, and the key of the library, both saved. */
export async function rights(page) {
  const row = page.getByRole("listitem").filter({ has: page.getByRole("link", { name: /^Licence file/ }) }).last();
  const licence = await save(page, row.getByRole("link", { name: /^Licence file/ }));
  const key = await save(page, page.getByRole("button", { name: "Save the library key" }));
  return { row, licence, key };
}

/** Opens a sealed file with `fondaco open`, and compares what comes out with what was published. Answers its name and size. */
export function opened(work, sealed, { licence, key }) {
  const clear = `${sealed}.clear`;
  execFileSync(task.fondaco, ["-C", task.deployment, "open", sealed, "--licence", licence, "--key", key, "--out", clear]);
  const name = sealed.split("/").pop().replace(/\.sealed$/, "");
  const [original, got] = [readFileSync(join(work.folder, name)), readFileSync(clear)];
  assert.ok(original.equals(got), `${name} was opened, and is not what was published`);
  assert.ok(!readFileSync(sealed).includes(original.subarray(1000, 1064)), `${name} is not sealed`);
  return `${name}: ${got.length} bytes as published`;
}

/** From the menu to a letter that only the visitor can send. */
export async function speak(page, seen = async () => {}) {
  await page.getByRole("navigation", { name: "Main menu" }).getByRole("link", { name: "Campaigns" }).click();
  await seen("campaigns");
  await page.getByRole("link", { name: /Read and take part/ }).first().click();
  await page.getByRole("heading", { level: 1 }).waitFor();
  await seen("campaign");

  // The made-up country of the demonstration's pack.
  await page.getByLabel("Country").first().fill("XA");
  await page.getByLabel("Postcode").first().fill("15500");
  await page.getByRole("button", { name: "Find" }).click();
  const letter = page.getByRole("form", { name: "Write a letter" });
  await letter.getByRole("checkbox", { name: /Member for Harbour/ }).check();
  await seen("letter");
  await fillRequired(letter);
  await letter.getByRole("button", { name: "Take part" }).click();
  await page.getByRole("heading", { level: 1, name: /Your letter is ready/ }).waitFor();
  await seen("hand-off");
  const mail = await page.getByRole("link", { name: /Open in your mail program/ }).first().getAttribute("href");
  assert.match(mail, /^mailto:harbour(@|%40)assembly\.arvenland\.example\?/, "the letter is not for whom it was written to");
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

let failed = 0;
/** Carries out a part of a walk; what fails is a problem with a picture, and the other parts go on. */
export async function part(page, name, act) {
  try {
    await act();
  } catch (error) {
    failed += 1;
    problems.push(`${name}: ${error.stack ?? error}`);
    await page?.screenshot({ path: join(task.shots, `failed-${name}-${failed}.png`), fullPage: true });
  }
}

/** Ends the walk, and the process with its outcome. */
export async function finish() {
  await browser.close();
  rmSync(scratch, { recursive: true, force: true });
  writeFileSync(join(task.shots, "problems.txt"), problems.join("\n"));
  console.log(`  ${readdirSync(task.shots).length - 1} screenshots in ${task.shots}`);
  if (problems.length) {
    console.error(`${problems.length} problems:\n${problems.map((p) => `- ${p}`).join("\n")}`);
    process.exit(1);
  }
}
