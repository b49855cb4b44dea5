// The leaderboard: SITE is a folder made from several records, opened from disk and over HTTP.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { launch, open, overflows, violations } from "./browser.mjs";

const SITE = process.env.SITE;
const FILE = pathToFileURL(join(SITE, "index.html")).href;
const TYPES = { html: "text/html", js: "text/javascript", json: "application/json" };
let browser, server, http;
before(async () => {
  browser = await launch();
  server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    response.setHeader("content-type", TYPES[path.split(".").at(-1)] ?? "text/plain");
    createReadStream(join(SITE, path)).on("error", () => response.writeHead(404).end()).pipe(response);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  http = `http://127.0.0.1:${server.address().port}/index.html`;
});
after(async () => {
  await browser?.close();
  server?.close();
});
const ready = (page) => page.waitForSelector("html[data-ready]");

for (const [how, url] of [["from disk", () => FILE], ["over HTTP", () => http]]) {
  test(`it works ${how}`, async () => {
    const { page, faults, close } = await open(browser, url());
    await ready(page);
    const figure = page.locator(".site-plot").first();
    await figure.scrollIntoViewIfNeeded();
    await figure.locator("svg[role=img]").waitFor();
    assert.ok(await figure.locator('g[data-mark="dot"] path').count() >= 2, "a mark for every ranked tier");
    assert.deepEqual(faults, []);
    await close();
  });
}

test("a key names the machine of every sign in a plot", async () => {
  const { page, faults, close } = await open(browser, FILE);
  await ready(page);
  const figures = page.locator(".site-plot[data-group]");
  const places = await figures.evaluateAll((all) => all.map((figure) => Number(figure.dataset.group)));
  const index = JSON.parse(readFileSync(join(SITE, "index.json"), "utf8"));
  let drawn = 0;
  for (const [nth, place] of places.entries()) {
    const doubtful = index.records.filter((record) => record.unranked).map((record) => record.run);
    const rows = index.quality[place].rows.filter((row) => !doubtful.includes(row.run) && row.rate && row.usd_per_1k_solved);
    if (rows.length < 2) continue;
    const figure = figures.nth(nth);
    await figure.scrollIntoViewIfNeeded();
    await figure.locator("svg[role=img]").waitFor();
    const key = await figure.locator(".key li:has(svg)").evaluateAll((entries) => entries.map((entry) => [entry.textContent, entry.querySelector("svg[aria-hidden=true] path").getAttribute("fill")]));
    assert.deepEqual(key.map(([name]) => name).sort(), [...new Set(rows.map((row) => row.machine))].sort());
    assert.equal(new Set(key.map(([, fill]) => fill)).size, key.length, "a colour each");
    const fills = await figure.locator('g[data-mark="dot"] path').evaluateAll((dots) => dots.map((dot) => dot.getAttribute("fill")));
    assert.equal(fills.length, rows.length);
    assert.deepEqual([...new Set(fills)].sort(), key.map(([, fill]) => fill).sort(), "the key shows the colours of the dots");
    drawn += 1;
  }
  assert.ok(drawn >= 1);
  assert.deepEqual(faults, []);
  await close();
});

test("the trend steps down to every cheaper tier that clears", async () => {
  const { page, faults, close } = await open(browser, FILE);
  await ready(page);
  const trends = page.locator(".site-plot[data-trend] svg[role=img]");
  for (let tries = 0; tries < 60 && await trends.count() === 0; tries += 1) await page.mouse.wheel(0, 300);
  await trends.first().waitFor();
  assert.equal(await trends.count(), 1, "only one table has records of two days");
  assert.equal(await trends.locator('g[data-mark="line"] path').count(), 1);
  const radii = await trends.locator('g[data-mark="dot"] circle').evaluateAll((dots) => dots.map((dot) => dot.getAttribute("r")));
  assert.deepEqual(radii.sort(), ["3", "3", "3", "3", "5", "5"], "four tiers that clear, two of them the cheapest so far");
  assert.match(await trends.getAttribute("aria-label"), /^The cheapest cost of 1,000 solved items/);
  assert.deepEqual(faults, []);
  await close();
});

test("rows that hold different things stand in tables of their own, which say why", async () => {
  const { page, close } = await open(browser, FILE);
  const text = await page.textContent("#tasks");
  assert.match(text, /Not ranked with another table of support_tickets: their items or prompts differ \(version 1\.0, 5f5f5f5f here, version 2\.0, 60606060 there\)/);
  assert.match(text, /their costs hold different energy \(metered: dram \+ package here, metered at the wall there\)/);
  const tests = await page.$$eval("#speed h3", (titles) => titles.map((title) => title.textContent));
  assert.deepEqual(tests, ["pp512", "tg128", "tg64 b8"], "batch sizes are apart");
  const doubtful = await page.$$eval("#records tbody tr", (rows) => rows.map((row) => row.cells[6].textContent).filter((text) => text.startsWith("no: ")));
  assert.equal(doubtful.length, 2);
  assert.ok(doubtful.some((why) => why.includes("does not verify: derived.speed[0].median")), doubtful.join());
  assert.ok(doubtful.some((why) => why.includes("% of the measured memory bandwidth")), doubtful.join());
  await close();
});

test("a comparison has a permalink", async () => {
  const { page, faults, close } = await open(browser, FILE);
  await ready(page);
  const boxes = page.locator("#speed table").nth(1).locator("input[data-row]");
  await boxes.nth(0).check();
  await boxes.nth(1).check();
  assert.match(await page.textContent("#comparable"), /may be ranked/);
  const link = await page.locator("#permalink").getAttribute("href");
  assert.match(link, /^#compare=.+&.+/);
  const table = await page.textContent("#compared");
  const other = await open(browser, FILE + link);
  await ready(other.page);
  assert.equal(await other.page.textContent("#compared"), table, "the link shows the same");
  await page.locator("#tasks input[data-row]").first().check();
  assert.match(await page.textContent("#comparable"), /different tables/);
  await page.click("#clear");
  assert.equal(await page.locator("#comparison:visible").count(), 0);
  const gone = await open(browser, `${FILE}#compare=${encodeURIComponent("no|such|row|on|this site")}`);
  await ready(gone.page);
  assert.match(await gone.page.textContent("#comparable"), /^1 of the rows in this link is not on this site/);
  const broken = await open(browser, `${FILE}#compare=%E0%A4%A`);
  await ready(broken.page);
  assert.deepEqual([...faults, ...other.faults, ...gone.faults, ...broken.faults], []);
  for (const each of [{ close }, other, gone, broken]) await each.close();
});

test("what stays in view of a row tells it from every other of its record", async () => {
  const { page, close } = await open(browser, FILE);
  const tables = await page.$$eval("#tasks table, #speed table", (all) => all.map((table) => [...table.tBodies[0].rows].map(({ cells: [first] }) => `${first.tagName} ${first.scope} ${first.querySelector("a").getAttribute("href")} ${first.textContent}`)));
  for (const names of tables) {
    assert.equal(new Set(names).size, names.length, names.join("\n"));
    assert.ok(names.every((name) => name.startsWith("TH row records/")), names.join("\n"));
  }
  await close();
});

test("every row leads to its record's page, and that page works", async () => {
  const { page, faults, close } = await open(browser, FILE);
  await page.locator("#tasks tbody a").first().click();
  await page.waitForSelector("html[data-ready][data-drawn]");
  assert.ok(await page.locator("#plots figure svg").count() >= 4);
  await page.getByText("All records").click();
  await page.waitForURL(FILE);
  assert.deepEqual(faults, []);
  await close();
});

test("index.json holds the same rows", () => {
  const index = JSON.parse(readFileSync(join(SITE, "index.json"), "utf8"));
  assert.equal(index.schema, "tierbench.site");
  assert.equal(index.records.length, 6);
  assert.deepEqual(index.left_out.map(({ why }) => why.replace(/^run \S+: /, "")).sort(), ["another record of this run id came first", "submitted twice"].sort());
  for (const group of index.quality) assert.ok(group.rows.every((row, i) => i === 0 || row.rank === null || row.rank >= 1));
});

for (const [name, options] of [
  ["light", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }],
  ["phone", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
]) {
  test(`axe finds nothing serious and nothing overflows: ${name}`, async () => {
    const { page, close } = await open(browser, FILE, options);
    await ready(page);
    await page.locator(".site-plot").first().scrollIntoViewIfNeeded();
    await page.locator(".site-plot .key").first().waitFor();
    await page.locator("input[data-row]").first().check();
    assert.deepEqual(await violations(page), []);
    assert.ok((await overflows(page)) <= 0, `wider than the window by ${await overflows(page)} px`);
    await close();
  });
}
