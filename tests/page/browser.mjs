// A Chromium that records everything a page does that it should not: console errors, exceptions, requests, dialogs.
import axe from "axe-core";
import { chromium } from "playwright-core";

const FLAGS = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--disable-dev-shm-usage",
];

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM, chromiumSandbox: false, headless: true, args: FLAGS,
});

export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const target = request.url();
    const own = new URL(url).origin === "null" ? target.startsWith("file:") : target.startsWith(new URL(url).origin);
    if (!own && !/^(data|blob):/.test(target)) faults.push(`request: ${target}`);
  });
  await page.goto(url);
  return { page, faults, close: () => context.close() };
}

// Violations of WCAG A and AA that axe calls serious or critical, one line each.
export async function violations(page) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .map((violation) => `${violation.id}: ${violation.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`);
}

// Nothing but an element that scrolls by itself may be wider than the window.
export const overflows = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
