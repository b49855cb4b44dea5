// A leaderboard whose tables hold more rows than they show: SITE is a folder made from the records of seventy machines.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { launch, open, violations } from "./browser.mjs";

const FILE = pathToFileURL(join(process.env.SITE, "index.html")).href;
const INDEX = JSON.parse(readFileSync(join(process.env.SITE, "index.json"), "utf8"));
const ALL = INDEX.speed[0].rows.length;
const EVERY = [...INDEX.quality, ...INDEX.speed].reduce((sum, group) => sum + group.rows.length, INDEX.records.length);
let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());
const ready = (page) => page.waitForSelector("html[data-ready]");
const table = (page) => page.locator("#speed table").first();
const rows = (page) => table(page).locator("tbody tr");
const status = (page) => page.locator("#more-s0 span");
const drawn = async (page) => (await rows(page).count());

async function until(page, holds) {
  for (let tries = 0; tries < 100 && !(await holds()); tries += 1) await page.waitForTimeout(50);
  assert.ok(await holds());
}

test("a long table shows its best rows first, and more on request", async () => {
  assert.ok(ALL > 100);
  const { page, faults, close } = await open(browser, FILE);
  await ready(page);
  assert.equal(await drawn(page), 100);
  assert.equal(await status(page).textContent(), `100 of ${ALL} rows are shown.`);
  assert.doesNotMatch(await table(page).textContent(), /slowest/);
  await page.locator("#more-s0 button").click();
  await until(page, async () => await drawn(page) === ALL);
  assert.equal(await status(page).textContent(), `All ${ALL} rows are shown.`);
  assert.equal(await page.locator("#more-s0 button:visible").count(), 0);
  assert.equal(await page.locator("#speed table").nth(1).locator("tbody tr").count(), 100, "each table for itself");
  assert.deepEqual(faults, []);
  await close();
});

test("sorting and filtering see the rows that are not drawn", async () => {
  const { page, faults, close } = await open(browser, FILE);
  await ready(page);
  const header = table(page).locator("thead th").filter({ hasText: "tok/s" });
  await header.getByRole("button").click();
  await until(page, async () => (await rows(page).first().textContent()).includes("slowest"));
  assert.equal(await header.getAttribute("aria-sort"), "ascending");
  assert.equal(await drawn(page), 100);
  const speeds = await rows(page).evaluateAll((all) => all.map((row) => parseFloat(row.cells[4].textContent)));
  const every = INDEX.speed[0].rows.filter((row) => row.rate).map((row) => row.rate.value).sort((a, b) => a - b);
  speeds.filter((speed) => !Number.isNaN(speed)).forEach((speed, i) => assert.ok(Math.abs(speed - every[i]) < 0.02 * every[i], `${i}: ${speed} of ${every[i]}`));

  await page.fill("#filter", "slowest");
  const tiers = [...INDEX.quality, ...INDEX.speed].flatMap((group) => group.rows).filter((row) => row.machine.startsWith("slowest")).length;
  await until(page, async () => await page.textContent("#filter-count") === `${tiers + 1} of ${EVERY} rows`);
  assert.ok(await drawn(page) >= 1 && await drawn(page) < 5);
  assert.match(await status(page).textContent(), /^All \d+ matching rows are shown\.$/);
  assert.deepEqual(await violations(page), []);
  await page.fill("#filter", "");
  await until(page, async () => await drawn(page) === 100);
  assert.equal(await page.textContent("#filter-count"), "");
  assert.equal(await page.evaluate(() => globalThis.owned), undefined, "markup of a row is no script");
  assert.deepEqual(faults, []);
  await close();
});

test("what is ticked stays compared when it is not drawn, and its link opens it", async () => {
  const { page, faults, close } = await open(browser, FILE);
  await ready(page);
  await page.fill("#filter", "slowest");
  await until(page, async () => await drawn(page) < 5);
  await rows(page).first().locator("input[data-row]").check();
  await page.fill("#filter", "machine");
  await until(page, async () => await drawn(page) === 100);
  await rows(page).first().locator("input[data-row]").check();
  const compared = await page.textContent("#compared");
  assert.match(compared, /slowest/);
  assert.match(compared, /Machine 0,/);
  const other = await open(browser, FILE + await page.locator("#permalink").getAttribute("href"));
  await ready(other.page);
  assert.equal(await other.page.textContent("#compared"), compared);
  await other.page.fill("#filter", "slowest");
  await until(other.page, async () => await drawn(other.page) < 5);
  assert.equal(await rows(other.page).first().locator("input[data-row]").isChecked(), true);
  assert.equal(await other.page.evaluate(() => globalThis.owned), undefined);
  assert.deepEqual([...faults, ...other.faults], []);
  await close();
  await other.close();
});

test("without a script the page says what it holds", async () => {
  const { page, close } = await open(browser, FILE, { javaScriptEnabled: false });
  assert.equal(await drawn(page), 100);
  assert.equal(await status(page).textContent(), `100 of ${ALL} rows are shown.`);
  assert.equal(await page.locator(":is(#more-s0 button, #filter):visible").count(), 0, "nothing that would do nothing");
  await close();
});
