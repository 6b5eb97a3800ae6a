// Buys as a person with a phone does: a real browser, a demonstration it starts itself, and every page of the sale.
// Fails on a page that does not come, on anything the browser complains about (a blocked form, a script error) and on a
// page wider than the phone. Writes the four pictures of the README.
//
//   node screenshots.mjs <auditshield binary> [folder for the pictures]
//   CHROMIUM names the browser; /usr/bin/chromium otherwise.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "../..");
const binary = resolve(process.argv[2] ?? join(root, "target/debug/auditshield"));
const pictures = resolve(process.argv[3] ?? join(root, "docs/screenshots"));
const PHONE = { width: 360, height: 640 };
const START_MS_MAX = 20_000;
const STEP_MS_MAX = 20_000;
// The operator answers this long after the payer came back, so that there is a waiting page to see.
const OPERATOR_MS = 4_000;
const PICTURE_BYTES_MAX = 150_000;

/** Starts the demonstration; gives its addresses once it printed them all. */
function startDemo() {
  const child = spawn(binary, ["demo"], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  const places = new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`the demonstration did not start:\n${said}`)), START_MS_MAX);
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`the demonstration ended with ${code}:\n${said}`)));
    child.stdout.on("data", (data) => {
      said += data;
      if (!said.includes("Ctrl-C")) return;
      clearTimeout(timer);
      const [shop, mailbox, admin, cinetpay] = said.match(/http:\/\/\S+/g);
      done({ shop, mailbox, admin, cinetpay, token: said.match(/token: ([^)]+)\)/)[1] });
    });
  });
  return { child, places };
}

/** Ends the demonstration as Ctrl-C does; gives its exit code. */
function stopDemo(child) {
  if (child.exitCode !== null) return child.exitCode;
  const ended = new Promise((done) => child.on("exit", done));
  child.kill("SIGINT");
  return ended;
}

async function picture(page, name) {
  await fits(page);
  const path = join(pictures, `${name}.png`);
  await page.screenshot({ path, animations: "disabled", caret: "hide" });
  const bytes = statSync(path).size;
  assert.ok(bytes < PICTURE_BYTES_MAX, `${name}.png has ${bytes} bytes`);
}

async function fits(page) {
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= PHONE.width, `${page.url()} is ${width} pixels wide`);
}

/** From the shop to the waiting page; gives the order's id. */
async function pay(page, { shop, cinetpay }) {
  await page.goto(shop);
  await picture(page, "boutique");
  await page.locator("a.button").first().click();
  await page.fill("#email", "awa.kone@example.com");
  await page.fill("#name", "Awa Koné");
  await picture(page, "achat");
  await page.click("button[type=submit]");
  await page.waitForURL(`${cinetpay}/payment/*`);
  await fits(page);
  // This number waits for its operator, then pays.
  await page.fill("[name=phone]", "0707070701");
  await page.click("[name=action][value=pay]");
  await page.click("#return button");
  await page.waitForURL(`${shop}payment/return/**`);
  await page.locator("[data-for=WAITING]").waitFor({ state: "visible" });
  await picture(page, "attente");
  return page.locator("#status").getAttribute("data-order");
}

/** The waiting page says by itself that the link is on its way. */
async function confirmed(page) {
  await page.evaluate(() => { window.sameDocument = true; });
  await page.locator("[data-for=DELIVERED]").waitFor({ state: "visible" });
  assert.ok(await page.evaluate(() => window.sameDocument), "the waiting page was loaded again");
  await fits(page);
}

/** From the mailbox to the file. */
async function download(page, { shop, mailbox }) {
  await page.goto(mailbox);
  await page.locator("main .list a").first().click();
  await page.frameLocator("iframe").locator("a").first().waitFor({ state: "visible" });
  await fits(page);
  await page.locator(`pre a[href^="${shop}download/"]`).click();
  await page.locator("form button").waitFor();
  await picture(page, "telechargement");
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("form button")]);
  const sold = readFileSync(join(root, "config/files/audit-kit.md"));
  assert.deepEqual(readFileSync(await file.path()), sold, "the file is not the one that was sold");
}

/** The seller sees the order, paid and delivered. */
async function sell(page, { admin, token }, order) {
  await page.fill("#token", token);
  await page.click("button[type=submit]");
  await fits(page);
  await page.goto(`${admin}orders/${order}/`);
  assert.match(await page.locator("h1").innerText(), /PAID/);
  await fits(page);
}

async function main() {
  mkdirSync(pictures, { recursive: true });
  const profile = mkdtempSync(join(tmpdir(), "auditshield-browser-"));
  const { child, places } = startDemo();
  let browser;
  try {
    const demo = await places;
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      locale: "fr-FR",
      colorScheme: "light",
      viewport: PHONE,
      args: [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
      ],
    });
    const page = await browser.newPage();
    page.setDefaultTimeout(STEP_MS_MAX);
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (line) => {
      if (["error", "warning"].includes(line.type())) complaints.push(`${line.text()} at ${page.url()}`);
    });
    const set = await page.request.patch(`${demo.cinetpay}/control/settings`, { data: { magic_delay_ms: OPERATOR_MS } });
    assert.ok(set.ok(), "the offline CinetPay refused its setting");
    const order = await pay(page, demo);
    await confirmed(page);
    await download(page, demo);
    assert.deepEqual(complaints, [], "the browser complained");
    // Without a session the dashboard answers 401 with the login form, which the browser reports as an error.
    await page.goto(demo.admin);
    await sell(page, demo, order);
    assert.deepEqual(complaints.filter((line) => !line.includes("401")), [], "the browser complained");
  } finally {
    await browser?.close();
    const code = await stopDemo(child);
    rmSync(profile, { recursive: true, force: true });
    assert.equal(code, 0, "the demonstration did not end well");
  }
  console.log("tests/browser: a sale in a browser, from the shop to the file");
}

await main();
