// The sale as buyers live it: with scripts, without, and where events do not come through; a refusal and another try, a
// payment confirmed late, a lost mail, a mistyped address; with a keyboard alone.
//
//   node sale.mjs <auditshield binary>
import { readFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { fits, mailed, onStage, order, pay, root } from "./demo.mjs";

const SOLD = readFileSync(join(root, "config/files/audit-kit.md"));
// A page that told a refusal asks again after half a minute (status.js, LATE_MILLIS).
const LATE_MS = 31_000;
// Looking costs some fifty milliseconds, and the confirmation is on its way.
const REOPENED_MAX = 400;
// More than any page has places to stop at.
const STOPS_MAX = 20;
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

/** Where server-sent events do not come through, the page asks by itself; and says what to do, by operator. */
async function polled(page, demo) {
  await page.addInitScript(() => { window.EventSource = undefined; });
  await followed(page, demo, "sans.flux@example.com");
}

/** The same where a proxy cuts them off. */
async function cutOff(page, demo) {
  await page.route("**/payment/status/**", (route) => (
    route.request().headers().accept === "text/event-stream" ? route.abort() : route.continue()));
  await followed(page, demo, "coupe@example.com");
  // The browser mentions each stream that was cut.
  page.complaints = page.complaints.filter((line) => !line.includes("ERR_FAILED"));
}

async function followed(page, demo, email) {
  await order(page, demo, email);
  await pay(page, demo, "0707070701");
  await shown(page, "WAITING");
  const said = await page.locator("main").innerText();
  for (const words of [/Orange Money.: saisissez/, /MTN MoMo, Moov, T-Money.: validez sur votre téléphone/, /Wave.: confirmez/]) {
    assert.match(said, words);
  }
  await page.evaluate(() => { window.sameDocument = true; });
  await shown(page, "DELIVERED");
  assert.ok(await page.evaluate(() => window.sameDocument), "the waiting page was loaded again");
}

/** Confirmed after the refusal was told: whoever kept the page sees it, and whoever opens it again. */
async function confirmedLate(page, demo) {
  await page.clock.install();
  await order(page, demo, "tardif@example.com");
  await pay(page, demo, "0707070703");
  await shown(page, "FAILED");
  const approved = await page.request.post(`${demo.cinetpay}/control/transactions/${await number(page)}/approve`);
  assert.ok(approved.ok(), await approved.text());
  const reopened = await page.context().newPage();
  const done = reopened.locator("#status [data-for=DELIVERED]");
  for (let tries = 0; !(await done.isVisible()); tries += 1) {
    assert.ok(tries < REOPENED_MAX, "the late confirmation is not shown to who comes back");
    await reopened.goto(`${demo.shop}payment/return/?transaction_id=${await number(page)}`);
  }
  await page.clock.fastForward(LATE_MS);
  await shown(page, "DELIVERED");
}

/** The keyboard alone buys. */
async function byKeyboard(page, demo) {
  const reach = async (what) => {
    for (let stops = 0; stops < STOPS_MAX; stops += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((selector) => document.activeElement.matches(selector), what)) return;
    }
    assert.fail(`${what} is not reached on ${page.url()}`);
  };
  await page.goto(demo.shop);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip", "the first stop skips the head");
  await reach("a.button");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/buy/**");
  await reach("#email");
  await page.keyboard.type("clavier@example.com");
  await reach("form.card button[type=submit]");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${demo.cinetpay}/payment/*`);
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
  [withScripts, {}], [withoutScripts, { javaScriptEnabled: false }], [polled, {}], [cutOff, {}], [refusedAndRetried, {}],
  [confirmedLate, {}], [sentTwice, {}], [byKeyboard, {}],
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
