// Buys as a person with a phone does, sells as one with a screen does, and writes the pictures of the README. Fails on anything that the browser
// complains about (a blocked form, a script error) and on a page wider than the phone.
//
//   node screenshots.mjs <auditshield binary> [folder for the pictures]
//   CHROMIUM names the browser; /usr/bin/chromium otherwise.
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { fits, mailed, onStage, order, pay, root } from "./demo.mjs";

const pictures = resolve(process.argv[3] ?? join(root, "docs/screenshots"));
const PICTURE_BYTES_MAX = 150_000;
const SCREEN = { width: 1280, height: 800 };

async function picture(page, name) {
  await fits(page);
  const path = join(pictures, `${name}.png`);
  await page.screenshot({ path, animations: "disabled", caret: "hide" });
  const bytes = statSync(path).size;
  assert.ok(bytes < PICTURE_BYTES_MAX, `${name}.png has ${bytes} bytes`);
}

/** From the shop to the waiting page; gives the order's id. */
async function buy(page, demo) {
  await page.goto(demo.shop);
  await picture(page, "boutique");
  await page.locator("a.button").first().click();
  await page.fill("#email", "awa.kone@example.com");
  await picture(page, "achat");
  await page.click("form.card button[type=submit]");
  await page.waitForURL(`${demo.cinetpay}/payment/*`);
  await fits(page);
  // This number waits for its operator, then pays.
  await pay(page, demo, "0707070701");
  await page.locator("[data-for=WAITING]").first().waitFor({ state: "visible" });
  await picture(page, "attente");
  return page.locator("#status").getAttribute("data-order");
}

/** From the mailbox to the file. */
async function download(page, demo) {
  const link = await mailed(page, demo, "download/");
  await page.frameLocator("iframe").locator("a").first().waitFor({ state: "visible" });
  await fits(page);
  await link.click();
  await page.locator("form button").waitFor();
  await picture(page, "telechargement");
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("form button")]);
  const sold = readFileSync(join(root, "config/files/audit-kit.md"));
  assert.deepEqual(readFileSync(await file.path()), sold, "the file is not the one that was sold");
}

/** A payment of another amount: something that needs somebody. */
async function underReview(page, demo, set) {
  await set({ accepted_amount: "10000" });
  await order(page, demo, "koffi@example.com");
  await pay(page, demo, "0707070700");
  await page.locator("[data-for=REVIEW]").waitFor({ state: "visible" });
}

/** The seller sees the sales, what needs somebody, and the order, paid and delivered. */
async function sell(page, { admin, token }, id) {
  // Without a session the dashboard answers 401 with the login form, which the browser reports as an error.
  await page.goto(admin);
  await page.fill("#token", token);
  await page.click("form.card button[type=submit]");
  await page.waitForURL(admin);
  await picture(page, "admin-accueil");
  await page.goto(`${admin}orders/${id}/`);
  assert.match(await page.locator("h1").innerText(), /Payée/);
  await picture(page, "admin-commande");
}

mkdirSync(pictures, { recursive: true });
await onStage(process.argv[2], async (demo, visit, set) => {
  const page = await visit();
  const bought = await buy(page, demo);
  await page.locator("[data-for=DELIVERED]").waitFor({ state: "visible" });
  await download(page, demo);
  assert.deepEqual(page.complaints, [], "the browser complained");
  await underReview(page, demo, set);
  const seller = await visit({ viewport: SCREEN });
  await sell(seller, demo, bought);
  assert.deepEqual(seller.complaints.filter((line) => !line.includes("401")), [], "the browser complained");
});
console.log("tests/browser: a sale in a browser, from the shop to the file");
