// The sale as buyers live it: with scripts and without, a refusal and another try, a lost mail, a mistyped address.
//
//   node sale.mjs <auditshield binary>
import { readFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { fits, mailed, onStage, order, pay, root } from "./demo.mjs";

const SOLD = readFileSync(join(root, "config/files/audit-kit.md"));
const shown = (page, state) => page.locator(`#status [data-for=${state}]`).waitFor({ state: "visible" });
const number = (page) => page.locator("#status").getAttribute("data-order");
const orders = async (page, { admin, token }, q) => {
  const answer = await page.request.get(`${admin.replace("/admin/", "")}/api/orders?q=${encodeURIComponent(q)}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return (await answer.json()).orders;
};

async function fetched(page, button) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  assert.deepEqual(readFileSync(await file.path()), SOLD, "the file is not the one that was sold");
}

/** The status changes on the page that stays; the mail's link gives the file. */
async function withScripts(page, demo) {
  await order(page, demo, "awa@example.com");
  await pay(page, demo, "0707070701");
  await shown(page, "WAITING");
  await page.evaluate(() => { window.sameDocument = true; });
  await shown(page, "DELIVERED");
  assert.ok(await page.evaluate(() => window.sameDocument), "the waiting page was loaded again");
  await fits(page);
  await (await mailed(page, demo, "download/")).click();
  await fetched(page, "form button");
}

/** The same without scripts: the page refreshes itself. */
async function withoutScripts(page, demo) {
  await order(page, demo, "sans.script@example.com");
  await pay(page, demo, "0707070701");
  await shown(page, "WAITING");
  await shown(page, "DELIVERED");
  await page.click("text=Voir ma commande");
  await fetched(page, "form.main button");
  await (await mailed(page, demo, "download/")).click();
  await fetched(page, "form button");
}

/** A refusal is told in words, and the next try is the same order's. */
async function refusedAndRetried(page, demo) {
  await order(page, demo, "refus@example.com");
  await pay(page, demo, "0707070704");
  await shown(page, "FAILED");
  assert.match(await page.locator("#status").innerText(), /Le paiement n’a pas abouti/);
  const id = await number(page);
  await page.locator("form[data-for=FAILED] button").click();
  await page.waitForURL(`${demo.cinetpay}/payment/*`);
  await pay(page, demo, "0707070700");
  await shown(page, "DELIVERED");
  assert.equal(await number(page), id, "another order was made");
  const found = await orders(page, demo, "refus@example.com");
  assert.equal(found.length, 1, "never a second order");
}

/** A double click, or the way back and another click, is one order. */
async function sentTwice(page, demo) {
  await order(page, demo, "deux.fois@example.com");
  await page.goBack();
  await page.waitForURL("**/buy/**");
  await page.click("form.card button[type=submit]");
  await page.waitForURL(`${demo.cinetpay}/payment/*`);
  assert.equal((await orders(page, demo, "deux.fois@example.com")).length, 1);
}

/** A slip is asked about once and stops nobody; the order's page corrects what slipped through all the same. */
async function mistyped(page, demo) {
  await page.goto(demo.shop);
  await page.locator("a.button").first().click();
  await page.fill("#email", "aya@gmial.com");
  await page.click("form.card button[type=submit]");
  assert.match(await page.locator("#meant").innerText(), /aya@gmail\.com/);
  await page.click("text=Non, mon adresse est juste");
  await page.waitForURL(`${demo.cinetpay}/payment/*`);
  await pay(page, demo, "0707070700");
  await shown(page, "DELIVERED");
  const old = await (await mailed(page, demo, "download/")).getAttribute("href");
  await page.goBack();
  await page.goBack();
  await page.click("text=Voir ma commande");
  await page.click("summary");
  await page.fill("#email", "aya@gmail.com");
  await page.click("text=Corriger l’adresse");
  await page.locator(".good").waitFor();
  assert.match(await page.locator("dl").innerText(), /aya@gmail\.com/);
  assert.equal((await page.request.get(old)).status(), 410, "the stranger's link still opens");
  await page.locator("#status [data-for=DELIVERED]").waitFor({ state: "visible" });
  await fetched(page, "form.main button");
}

/** Another browser gets in by the mail alone. */
async function fromTheMail(page, demo, visit) {
  await order(page, demo, "perdu@example.com");
  await pay(page, demo, "0707070700");
  await shown(page, "DELIVERED");
  const address = `${demo.shop}commande/${await number(page)}/`;
  const other = await visit();
  assert.equal((await other.goto(address)).status(), 403, "an order opened for a stranger");
  await other.click("text=Retrouver mes achats >> nth=0");
  await other.fill("#email", "perdu@example.com");
  await other.click("text=Recevoir mes liens");
  await other.locator(".good").waitFor();
  await (await mailed(other, demo, "commande/lien/")).click();
  await other.waitForURL(address);
  assert.equal(await other.locator("summary").count(), 0, "the mail's reader may not change the address");
  await fetched(other, "form.main button");
  await other.goto(`${address}recu/`);
  assert.match(await other.locator("dl").innerText(), /15.000.FCFA/);
}

/** The switch is remembered, without scripts too. */
async function language(page, demo) {
  await page.goto(demo.shop);
  await page.click("text=English");
  for (const path of ["", "buy/audit-kit/standard/", "achats/", "nowhere/"]) {
    await page.goto(`${demo.shop}${path}`);
    assert.equal(await page.locator("html").getAttribute("lang"), "en", path);
  }
}

const STORIES = [
  [withScripts, {}], [withoutScripts, { javaScriptEnabled: false }], [refusedAndRetried, {}], [sentTwice, {}],
  [mistyped, {}], [fromTheMail, {}], [language, { javaScriptEnabled: false }],
];

await onStage(process.argv[2], async (demo, visit) => {
  for (const [story, options] of STORIES) {
    const page = await visit(options);
    await story(page, demo, visit);
    assert.deepEqual(page.complaints.filter((line) => !/40[34]/.test(line)), [], `${story.name}: the browser complained`);
    await page.context().close();
    console.log(`tests/browser: ${story.name}`);
  }
});
