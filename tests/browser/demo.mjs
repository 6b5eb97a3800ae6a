// What every browser test shares: a demonstration that it starts itself, a real browser, and what no page may do.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const root = resolve(import.meta.dirname, "../..");
export const PHONE = { width: 360, height: 640 };
const START_MS_MAX = 20_000;
const STEP_MS_MAX = 20_000;
// The operator answers this long after the payer came back, so that there is a waiting page to see.
const OPERATOR_MS = 4_000;

/** Starts the demonstration with these settings of its own; gives its addresses once it printed them all. */
function startDemo(binary, settings) {
  const set = Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const child = spawn(binary, ["demo", ...set], { stdio: ["ignore", "pipe", "inherit"] });
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

/** Runs `story` with the demonstration's places and a way to open browsers; ends both, whatever happens. */
export async function onStage(binary, story, settings = {}) {
  const { child, places } = startDemo(resolve(binary ?? join(root, "target/debug/auditshield")), settings);
  const profile = mkdtempSync(join(tmpdir(), "auditshield-browser-"));
  let browser;
  try {
    const demo = await places;
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: [
        `--crash-dumps-dir=${profile}`, "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ],
    });
    await story(demo, (options) => visitor(browser, options), await control(browser, demo));
  } finally {
    await browser?.close();
    const code = await stopDemo(child);
    rmSync(profile, { recursive: true, force: true });
    assert.equal(code, 0, "the demonstration did not end well");
  }
}

/** The offline CinetPay's settings. */
async function control(browser, { cinetpay }) {
  const context = await browser.newContext();
  const set = async (settings) => {
    const answer = await context.request.patch(`${cinetpay}/control/settings`, { data: settings });
    assert.ok(answer.ok(), `the offline CinetPay refused ${JSON.stringify(settings)}`);
  };
  await set({ magic_delay_ms: OPERATOR_MS });
  return set;
}

/** A page of a browser of its own, which keeps what the browser complains about. */
export async function visitor(browser, options = {}) {
  const context = await browser.newContext({ locale: "fr-FR", colorScheme: "light", viewport: PHONE, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS_MAX);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (line) => {
    if (["error", "warning"].includes(line.type())) page.complaints.push(`${line.text()} at ${page.url()}`);
  });
  return page;
}

/** No page is wider than the screen. */
export async function fits(page) {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= screen, `${page.url()} is ${wide} pixels wide on ${screen}`);
}

/** The mail server refuses every recipient for good, or none. */
export async function refuseMails(page, { cinetpay }, refuse) {
  const fault = refuse ? { step: "rcpt", code: 550 } : null;
  const answer = await page.request.put(`${cinetpay}/control/mails/fault`, { data: fault });
  assert.ok(answer.ok(), "the mailbox refused its fault");
}

/** Has something done to an order, as the merchant. */
export async function act(page, { admin, token }, id, verb, wish = {}) {
  const answer = await page.request.post(`${new URL(admin).origin}/api/orders/${id}/${verb}`, {
    headers: { authorization: `Bearer ${token}` }, data: { note: "essai", ...wish },
  });
  assert.equal(answer.status(), 200, await answer.text());
}

/** From the shop to the payment page. */
export async function order(page, { shop, cinetpay }, email) {
  await page.goto(shop);
  await page.locator("a.button").first().click();
  await page.fill("#email", email);
  await page.click("form.card button[type=submit]");
  await page.waitForURL(`${cinetpay}/payment/*`);
}

/** Pays with this number on the payment page and comes back. */
export async function pay(page, { shop }, number) {
  await page.fill("[name=phone]", number);
  await page.click("[name=action][value=pay]");
  await page.click("#return button");
  await page.waitForURL(`${shop}payment/return/**`);
}

/** The newest mail's link that leads below `path`, in the mailbox's page. */
export async function mailed(page, { shop, mailbox }, path) {
  await page.goto(mailbox);
  await page.locator("main .list a").first().click();
  return page.locator(`pre a[href^="${shop}${path}"]`).first();
}
