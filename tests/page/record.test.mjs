// The page of one record: PAGE is made from the example record, HOSTILE from one that attacks its reader, UNTIMED
// from one whose items have no times.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { launch, open, overflows, violations } from "./browser.mjs";

const PAGE = pathToFileURL(process.env.PAGE).href;
const HOSTILE = pathToFileURL(process.env.HOSTILE).href;
let browser;
before(async () => {
  browser = await launch();
});
const folder = mkdtempSync(join(tmpdir(), "page-"));
after(() => {
  rmSync(folder, { recursive: true });
  return browser?.close();
});
// The example page with something changed.
function changed(name, change) {
  const file = join(folder, name);
  writeFileSync(file, change(readFileSync(process.env.PAGE, "utf8")));
  return pathToFileURL(file).href;
}

const ready = (page) => page.waitForSelector("html[data-ready][data-drawn]");
const ladder = (page) => page.locator("table.ladder").first();
// What is shown of a column of the ladder.
const column = (page, i) => ladder(page).locator("tbody tr").evaluateAll(
  (rows, i) => rows.filter((row) => !row.hidden).map((row) => row.cells[i].textContent), i,
);

test("it loads from a file without an error or a request", async () => {
  const { page, faults, close } = await open(browser, PAGE);
  await ready(page);
  assert.match(await page.textContent(".answer"), /^The cheapest tier that clears support_tickets at pass rate ≥ 0\.75 with 95 % confidence is .*q4_1/);
  assert.deepEqual(faults, []);
  await close();
});

test("columns sort by their numbers, unknown last, by mouse and by keyboard", async () => {
  const { page, faults, close } = await open(browser, PAGE);
  const titles = await ladder(page).locator("thead th").allTextContents();
  const decode = titles.findIndex((title) => title.startsWith("tg128"));
  const header = ladder(page).locator("thead th").nth(decode);
  await header.getByRole("button").click();
  assert.equal(await header.getAttribute("aria-sort"), "ascending");
  const ascending = await column(page, decode);
  assert.equal(ascending.at(-1), "failed");
  assert.deepEqual(ascending.slice(0, 2).map(parseFloat), [80, 128]);
  await header.getByRole("button").focus();
  await page.keyboard.press("Enter");
  assert.equal(await header.getAttribute("aria-sort"), "descending");
  const descending = await column(page, decode);
  assert.deepEqual(descending.slice(0, 2), ascending.slice(0, 2).reverse());
  assert.equal(descending.at(-1), "failed", "what is unknown stays at the end");
  assert.deepEqual(faults, []);
  await close();
});

test("the filter keeps the rows that hold every word", async () => {
  const { page, close } = await open(browser, PAGE);
  await page.fill("#filter", "clears q8");
  assert.deepEqual((await column(page, 0)).map((name) => name.split(" ")[0]), ["q8_0"]);
  assert.match(await page.textContent("#filter-count"), /^\d+ of \d+ rows$/);
  await page.fill("#filter", "nothing has this");
  assert.deepEqual(await column(page, 0), []);
  await page.fill("#filter", "");
  assert.equal((await column(page, 0)).length, 3);
  await close();
});

test("every plot has its marks", async () => {
  const { page, close } = await open(browser, PAGE);
  await ready(page);
  const figures = await page.$$eval("#plots figure", (figures) => figures.map((figure) => ({
    title: figure.querySelector("h3").textContent,
    dots: figure.querySelectorAll('svg g[data-mark="dot"] path').length,
    bars: figure.querySelectorAll('svg g[data-mark="bar"] rect').length,
    rules: figure.querySelectorAll('svg g[data-mark="rule"] line').length,
    role: figure.querySelector("svg").getAttribute("role"),
    name: figure.querySelector("svg").getAttribute("aria-label"),
  })));
  const of = (start) => figures.find((figure) => figure.title.startsWith(start)) ?? assert.fail(`${start}: ${JSON.stringify(figures)}`);
  const quality = of("Is the cheap tier good enough for support_tickets?");
  assert.equal(quality.dots, 3, "one dot a tier");
  assert.equal(quality.rules, 1 + 3 + 3, "the bar and an interval in both directions a tier");
  assert.equal(of("How fast is a prompt read (pp512)?").bars, 3);
  assert.equal(of("How fast are tokens generated (tg128)?").bars, 2, "the failed cell has no bar");
  assert.equal(of("How does decoding slow down with context?").dots, 2);
  assert.equal(of("What does decoding several sequences together bring?").dots, 2);
  assert.ok(of("How much energy does a token take (tg128)?").bars >= 4, "split above and below idle");
  assert.ok(of("What is paid for in a million output tokens?").bars >= 4);
  const inputs = await page.evaluate(() => unpack("record").then((text) => JSON.parse(text).derived.economics[0].tornado.map(({ input }) => input)));
  const tornado = of("What does the cost of support_tickets depend on?");
  assert.ok(inputs.includes("utilization") && inputs.includes("speed"), inputs.join());
  assert.equal(tornado.bars, 2 * inputs.length, "each assumption halved and doubled");
  assert.equal(tornado.rules, 1, "the cost as it is");
  for (const figure of figures) assert.ok(figure.role === "img" && figure.name.startsWith(figure.title), figure.title);
  await close();
});

for (const width of [1280, 390]) {
  test(`every name stands by its own dot, at ${width} px`, async () => {
    const points = [[386, 0.667], [394, 0.659], [455, 0.686], [506, 0.656], [559, 0.5], [389, 0.661]].map(([usd, rate], i) => ({
      tier: `tier${i} (requantized from q8_0)`, verdict: "CLEARS", answer: i === 0, pareto: i === 0,
      cost: [usd / 1e6, usd / 1.2e6, usd / 0.8e6], rate: [rate, rate - 0.09, rate + 0.09], tip: "",
    }));
    const url = changed("crowded.html", (html) => html.replace(/(id="view">)(.*?)(<\/script>)/s, (_, start, json, end) => {
      const view = JSON.parse(json);
      view.tasks[0].points = points;
      return start + JSON.stringify(view) + end;
    }));
    const { page, faults, close } = await open(browser, url, { viewport: { width, height: 900 } });
    await ready(page);
    const { dots, names, leaders } = await page.evaluate(() => {
      const svg = document.querySelector("#plots figure svg");
      const at = svg.getBoundingClientRect();
      const boxes = (selector) => [...svg.querySelectorAll(selector)].map((one) => ({ one, box: one.getBoundingClientRect() }));
      return {
        dots: boxes('g[data-mark="dot"] path').map(({ box }) => [(box.left + box.right) / 2, (box.top + box.bottom) / 2]).sort((a, b) => a[0] - b[0]),
        names: boxes('g.name text').map(({ one, box: { left, top, right, bottom } }) => ({ text: one.textContent, box: [left, top, right, bottom] })),
        leaders: boxes('g.leader path').map(({ one }) => [0, one.getTotalLength()].map((length) => {
          const { x, y } = one.getPointAtLength(length);
          return [x + at.left, y + at.top];
        })),
      };
    });
    const order = [...points].sort((a, b) => a.cost[0] - b.cost[0]).map(({ tier }) => tier.split(" ")[0]);
    const gap = ([x, y], [left, top, right, bottom]) => Math.hypot(Math.max(left - x, x - right, 0), Math.max(top - y, y - bottom, 0));
    assert.equal(dots.length, points.length);
    assert.match(names.map(({ text }) => text).join("\n"), /^tier0.* ← cheapest$/m, "the answer is named");
    assert.ok(names.length >= 4, JSON.stringify(names));
    for (const { text, box } of names) {
      const own = dots[order.indexOf(text.split(" ")[0])];
      const led = leaders.some(([start, end]) => gap(start, [...own, ...own]) < 2 && gap(end, box) < 6);
      const others = dots.filter((dot) => dot !== own);
      assert.ok(led || others.every((dot) => gap(dot, box) > gap(own, box)), `${text} is nearer to another dot`);
      assert.ok(others.every((dot) => gap(dot, box) > 3), `${text} covers a dot`);
      const over = names.filter((other) => other.box !== box && box[0] < other.box[2] && other.box[0] < box[2] && box[1] + 2 < other.box[3] && other.box[1] + 2 < box[3]);
      assert.deepEqual(over, [], `${text} covers a name`);
    }
    assert.deepEqual(faults, []);
    await close();
  });
}

test("bars carry the digits of the table, names of two lines do not overlap", async () => {
  const { page, close } = await open(browser, PAGE);
  await ready(page);
  const titles = await ladder(page).locator("thead th").allTextContents();
  const cells = await column(page, titles.findIndex((title) => title.startsWith("pp512")));
  const figure = page.locator("#plots figure").filter({ hasText: "How fast is a prompt read" });
  const texts = await figure.locator('svg g[data-mark="text"] text').allTextContents();
  assert.deepEqual(texts, cells.map((cell) => cell.split(" ")[0]));
  const gaps = await figure.locator("svg text:has(tspan + tspan)").evaluateAll((labels) => labels.map((label) => {
    const [first, second] = [...label.querySelectorAll("tspan")].map((line) => parseFloat(line.getAttribute("y") ?? line.getAttribute("dy")));
    return second - first;
  }));
  assert.ok(gaps.every((em) => em >= 1.2), gaps.join());
  await close();
});

test("a page without plots and items has neither heading nor link, and gets ready", async () => {
  const url = changed("bare.html", (html) => {
    const bare = html.replace(/<section id="(plots|items)-section">.*?<\/section>/gs, "").replace(/<li><a href="#(plots|items)-section">.*?<\/li>/g, "");
    assert.doesNotMatch(bare.replace(/<script>.*?<\/script>/gs, ""), /(plots|items)-section"/);
    return bare;
  });
  const { page, faults, close } = await open(browser, url);
  await ready(page);
  assert.deepEqual(faults, []);
  await close();
});

test("what would not draw anything is hidden with its link", async () => {
  const nothing = { labels: [], tasks: [], speed: [], energy: [], cost: [], tornado: [] };
  const url = changed("plotless.html", (html) => html.replace(/(id="view">).*?(<\/script>)/s, (_, start, end) => start + JSON.stringify(nothing) + end));
  const { page, close } = await open(browser, url);
  await ready(page);
  assert.equal(await page.locator("#plots-section").isVisible(), false);
  assert.equal(await page.locator('nav a[href="#plots-section"]').isVisible(), false);
  await close();
});

test("an opened item is no wider than the window", async () => {
  const { page, close } = await open(browser, PAGE, { viewport: { width: 390, height: 844 } });
  await ready(page);
  await page.locator("#items > tbody > tr button").first().click();
  const ends = await page.$$eval("#items .inner pre", (texts) => texts.map((text) => text.getBoundingClientRect().right));
  assert.ok(ends.length === 2 && ends.every((right) => right <= 390), ends.join());
  await close();
});

test("items can be searched and opened", async () => {
  const { page, faults, close } = await open(browser, PAGE);
  await ready(page);
  const rows = page.locator("#items > tbody > tr");
  assert.equal(await rows.count(), 50);
  await page.click("#item-more");
  assert.equal(await rows.count(), 100);
  await page.selectOption("#item-outcome", "disagree");
  assert.match(await page.textContent("#item-count"), /^30 items/);
  await page.selectOption("#item-outcome", "all");
  await page.fill("#item-text", "parcel 17 ");
  assert.equal(await rows.count(), 1);
  const button = rows.getByRole("button");
  await button.focus();
  await page.keyboard.press("Enter");
  assert.equal(await button.getAttribute("aria-expanded"), "true");
  assert.match(await page.textContent("#items .inner"), /Ticket: parcel 17 has not arrived/);
  assert.equal(await page.locator("#items .inner tbody tr").count(), 3, "an answer of every tier");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#items .inner").count(), 0);
  assert.deepEqual(faults, []);
  await close();
});

test("what is not known is a dash, and no row is tinted as the cheapest", async () => {
  const { page, faults, close } = await open(browser, pathToFileURL(process.env.UNTIMED).href);
  await ready(page);
  await page.locator("#items > tbody > tr button").first().click();
  assert.deepEqual(await page.locator("#items .inner tbody tr td:nth-child(6)").allTextContents(), ["—", "—", "—"]);
  assert.equal(await page.locator("tr.best").count(), 0);
  assert.deepEqual(faults, []);
  await close();
});

test("the saved record verifies", async () => {
  const { page, close } = await open(browser, PAGE);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  assert.match(download.suggestedFilename(), /^tierbench-20260821-140500-3fa9c1\.json$/);
  const said = execFileSync(process.env.TIERBENCH, ["verify", await download.path()], { encoding: "utf8" });
  assert.match(said, /^verified: /);
  await close();
});

for (const [name, options] of [
  ["light", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
]) {
  test(`axe finds nothing serious and nothing overflows: ${name}`, async () => {
    const { page, faults, close } = await open(browser, PAGE, options);
    await ready(page);
    await page.locator("#items > tbody > tr button").first().click();
    assert.deepEqual(await violations(page), []);
    assert.ok((await overflows(page)) <= 0, `wider than the window by ${await overflows(page)} px`);
    assert.deepEqual(faults, []);
    await close();
  });
}

test("without scripts the answer, tables and notes are there", async () => {
  const { page, close } = await open(browser, PAGE, { javaScriptEnabled: false });
  assert.match(await page.textContent("body"), /The cheapest tier that clears/);
  assert.equal(await ladder(page).locator("tbody tr").count(), 3);
  assert.equal(await page.locator(":is(input, select, button):visible").count(), 0, "nothing that would do nothing");
  await close();
});

test("in print there are no controls and nothing is cut off", async () => {
  const { page, close } = await open(browser, PAGE);
  await ready(page);
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator(".controls:visible").count(), 0);
  const clipped = await page.$$eval(".scroll", (boxes) => boxes.filter((box) => getComputedStyle(box).overflowY !== "visible").length);
  assert.equal(clipped, 0);
  await close();
});

test("a hostile record stays text", async () => {
  const { page, faults, close } = await open(browser, HOSTILE);
  await ready(page);
  for (const button of await page.locator("#items > tbody > tr button").all()) await button.click();
  assert.match(await page.textContent("#items .inner >> nth=0"), /<script>/, "the attack is shown as what it is");
  assert.equal(await page.evaluate(() => globalThis.owned), undefined);
  assert.equal(await page.locator("img, iframe, object, embed, form, base, link").count(), 0);
  const inline = await page.$$eval("*", (all) => all.filter((e) => e.getAttributeNames().some((name) => name.startsWith("on"))).length);
  assert.equal(inline, 0, "no handler in an attribute");
  // A script that got in all the same would be refused.
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "globalThis.owned = 1";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => globalThis.owned), undefined);
  assert.deepEqual(faults.filter((fault) => !fault.includes("Content Security Policy")), []);
  await close();
});
