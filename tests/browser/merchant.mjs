// The merchant's day: to log in, to find an order by its buyer's address or its receipt's number, to send its mail again, to
// decide a payment of another amount, to export the sales, to correct an address, to record a refund; with scripts and without. And every page of the dashboard:
// axe-core, an HTML validator, a scale, pictures at two widths, light and dark.
//
//   node merchant.mjs <auditshield binary> [folder for the pictures]
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { checker } from "./checks.mjs";
import { act as command, fits, mailed, onStage, order, pay, refuseMails, root } from "./demo.mjs";

const pictures = resolve(process.argv[3] ?? join(root, "target/pages"));
// A list of fifty orders, over the merchant's own line: more than a buyer's page, and still little.
const PAGE_BYTES_MAX = 30_000;
// One page of the list, and more than that.
const PAGE_ORDERS = 50;
const MANY_ORDERS = 55;
const check = checker(pictures, PAGE_BYTES_MAX);
const shown = (page, state) => page.locator(`#status [data-for=${state}]`).waitFor({ state: "visible" });

/** Sells to this address; the order's number. */
async function sold(page, demo, email, state = "DELIVERED") {
  await order(page, demo, email);
  await pay(page, demo, "0707070700");
  await shown(page, state);
  return page.locator("#status").getAttribute("data-order");
}

/** Through the door, to the page that was asked for. */
async function enter(page, { admin, token }, path = "") {
  await page.goto(`${admin}${path}`);
  await page.fill("#token", token);
  await page.fill("#name", "Awa Koné");
  await page.click("form.card button[type=submit]");
  await page.waitForURL(`${admin}${path}`);
}

/** From the first page to the order of this buyer. */
async function find(page, { admin }, email) {
  await page.goto(admin);
  await page.click("nav >> text=Commandes");
  await page.fill("#q", email);
  await page.click("form[role=search] button");
  await page.waitForURL(/\/admin\/orders\/\?.*s=/);
  assert.ok(!decodeURIComponent(page.url()).includes("@"), `an address in ${page.url()}`);
  assert.equal(await page.locator("table.orders tbody tr").count(), 1, `${email}: one order`);
  await page.click("table.orders tbody a");
  await page.waitForURL(/\/admin\/orders\/[0-9A-Z]{26}\/$/);
}

/** From a receipt's number, as an order's page tells it, back to that page. */
async function findByReceipt(page, { admin }, id) {
  const receipt = await page.locator("dt:text-is('Reçu n°') + dd").innerText();
  assert.match(receipt, /^20\d\d-\d{6}$/);
  await page.goto(`${admin}orders/`);
  await page.fill("#q", receipt);
  await page.click("form[role=search] button");
  await page.waitForURL(/\/admin\/orders\/\?.*s=/);
  assert.deepEqual(await page.locator("table.orders code").allInnerTexts(), [id]);
  await page.goto(`${admin}orders/${id}/`);
}

/** The day's sales, for a spreadsheet: the sale is in the file. */
async function exported(page, { admin }, id, address) {
  await page.goto(admin);
  await page.click("nav >> text=Exports");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Télécharger pour Excel")]);
  const text = readFileSync(await download.path(), "utf8");
  assert.ok(text.startsWith("\ufeffcommande;") && text.includes(`${id};`) && text.includes(address), text);
  await page.goto(`${admin}orders/${id}/`);
}

/** Presses the button of this name, gives the reason, confirms; the page must say `done`. */
async function act(page, name, reason, done, fill = async () => {}) {
  await page.click(`.acts >> text="${name}"`);
  await page.locator("form.confirm").waitFor();
  await fits(page);
  if (reason) await page.fill("#note", reason);
  await fill();
  await page.click("form.confirm button[type=submit]");
  await page.waitForURL(/\?done=/);
  assert.match(await page.locator(".good[role=status]").innerText(), done);
}

const story = (page) => page.locator("ol.timeline").innerText();

/** A whole day, as a person with a keyboard or a finger lives it. */
async function day(page, demo, visit, set, suffix) {
  const buyer = await visit();
  const address = `awa.${suffix}@example.com`;
  const id = await sold(buyer, demo, address);
  await set({ accepted_amount: "100" });
  const strange = await sold(buyer, demo, `moins.${suffix}@example.com`, "REVIEW");
  const refused = await sold(buyer, demo, `rendu.${suffix}@example.com`, "REVIEW");
  await set({ accepted_amount: null });

  await enter(page, demo, `orders/${id}/`);
  await find(page, demo, address);
  assert.ok(page.url().endsWith(`/${id}/`), page.url());
  await findByReceipt(page, demo, id);
  await act(page, "Renvoyer l’e-mail", "", /L’e-mail repart/);
  assert.match(await story(page), /E-mail demandé de nouveau/);
  await mailed(buyer, demo, "download/");

  await page.goto(demo.admin);
  assert.match(await page.locator(".tasks").innerText(), /Paiements à décider : [1-9]/);
  await page.click(`.tasks a[href$="/${strange}/"]`);
  assert.match(await page.locator(".alert").innerText(), /100.FCFA, au lieu de 15.000.FCFA/);
  await act(page, "Approuver le paiement", "le reste est payé en espèces", /approuvé/);
  assert.match(await story(page), /Awa Koné : « le reste est payé en espèces »/);

  await page.goto(`${demo.admin}orders/${refused}/`);
  await act(page, "Rejeter", "essai d’un curieux", /rejeté/);
  assert.match(await page.locator("h1").innerText(), /Refusée/);

  await exported(page, demo, id, address);
  const right = async () => page.fill("#email", `awa.kone.${suffix}@example.com`);
  await act(page, "Corriger l’adresse e-mail", "faute de frappe", /corrigée/, right);
  assert.match(await page.locator("dl").innerText(), new RegExp(`awa\\.kone\\.${suffix}@example\\.com`));
  await act(page, "Désactiver le lien", "transmis à un tiers", /désactivé/);
  await act(page, "Noter un remboursement", "rendu par Orange Money", /remboursement est noté/);
  await act(page, "Effacer les données personnelles", "", /effacé/);
  assert.match(await story(page), /Données personnelles effacées par Awa Koné/);
  assert.ok(!(await page.content()).includes(suffix + "@example.com"), "the address is gone");
  assert.equal(await page.locator("section[aria-labelledby=acts]").count(), 0, "nothing is left to do");
  await fits(page);
  await page.click("text=Se déconnecter");
  await page.locator("#token").waitFor();
  await buyer.context().close();
}

/** A reason that is owed is asked for by the browser, and the keyboard alone reaches everything. */
async function byKeyboard(page, demo, visit) {
  const buyer = await visit();
  const id = await sold(buyer, demo, "clavier@example.com");
  await enter(page, demo, `orders/${id}/`);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip", "the first stop skips the menu");
  await page.click(".acts >> text=Désactiver le lien");
  await page.focus("#note");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.ok(await page.evaluate(() => document.querySelector("#note:invalid") !== null), "sent without a reason");
  await page.focus("#note");
  await page.keyboard.type("au clavier");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\?done=revoke/);
  await buyer.context().close();
}

/** So many orders that nobody pays. */
async function manyOrders(page, { shop }, count) {
  for (let number = 0; number < count; number += 1) {
    const answer = await page.request.post(`${shop}buy/audit-kit/standard/`, {
      data: { email: `acheteur.${number}.d.une.adresse.assez.longue@example.com` }, headers: { accept: "application/json" },
    });
    assert.equal(answer.status(), 201, await answer.text());
  }
}

/** An order's last states, and forms and papers that are refused. */
async function ended(page, demo, buyer, stalled, review) {
  await page.goto(`${demo.admin}orders/${review}/address/`);
  await page.evaluate(() => { document.querySelector("form.confirm").noValidate = true; });
  await page.fill("#email", "awa chez example");
  await page.fill("#note", "faute de frappe");
  await page.click("form.confirm button[type=submit]");
  await check(page, "admin-address-erreur", 400);
  await page.goto(`${demo.admin}orders/${review}/proof/`);
  await check(page, "admin-preuve-refusee", 409);
  await command(page, demo, review, "reject");
  await page.goto(`${demo.admin}orders/${review}/`);
  await check(page, "admin-commande-refusee");
  await command(page, demo, stalled, "refund");
  await page.goto(`${demo.admin}orders/${stalled}/`);
  await check(page, "admin-commande-remboursee");
  await order(buyer, demo, "attend@example.com");
  await find(page, demo, "attend@example.com");
  await check(page, "admin-commande-en-attente");
}

/** Every page in every state, looked at. */
async function pages(page, demo, visit, set) {
  const buyer = await visit();
  await page.goto(demo.admin);
  await check(page, "admin-connexion", 401);
  await page.fill("#token", "faux");
  await page.click("form.card button[type=submit]");
  await page.locator(".alert").waitFor();
  await enter(page, demo);
  await check(page, "admin-accueil");
  await refuseMails(page, demo, true);
  const stalled = await sold(buyer, demo, "inconnu@example.com", "PAID");
  await set({ accepted_amount: "100" });
  const review = await sold(buyer, demo, "moins@example.com", "REVIEW");
  await set({ accepted_amount: null });
  await page.goto(`${demo.admin}orders/${stalled}/`);
  for (let tries = 0; !/refusé/.test(await page.locator("dl").innerText()); tries += 1) {
    assert.ok(tries < 100, "the mail was never refused");
    await page.reload();
  }
  await check(page, "admin-commande-bloquee");
  await refuseMails(page, demo, false);
  await page.goto(demo.admin);
  await check(page, "admin-accueil-alertes");
  await page.goto(`${demo.admin}orders/?mail=stalled`);
  await check(page, "admin-bloquees");
  await page.goto(`${demo.admin}orders/${review}/`);
  await check(page, "admin-commande-a-decider");
  for (const act of ["approve", "reject", "verify", "address"]) {
    await page.goto(`${demo.admin}orders/${review}/${act}/`);
    await check(page, `admin-${act}`);
  }
  for (const act of ["resend", "revoke", "refund"]) {
    await page.goto(`${demo.admin}orders/${stalled}/${act}/`);
    await check(page, `admin-${act}`);
  }
  await page.goto(`${demo.admin}orders/`);
  await check(page, "admin-commandes");
  await manyOrders(page, demo, MANY_ORDERS);
  await page.goto(`${demo.admin}orders/?status=PENDING`);
  assert.equal(await page.locator("table.orders tbody tr").count(), PAGE_ORDERS);
  await check(page, "admin-commandes-pleine");
  const seen = new Set(await page.locator("table.orders code").allInnerTexts());
  await page.click("text=Page suivante");
  await page.waitForURL(/cursor=/);
  const rest = await page.locator("table.orders code").allInnerTexts();
  rest.forEach((id) => assert.ok(!seen.has(id), `${id} stands on both pages`));
  assert.equal(seen.size + rest.length, MANY_ORDERS);
  await check(page, "admin-commandes-suite");
  await page.goto(`${demo.admin}orders/?status=PAID&since=2020-01-01&until=2020-01-02`);
  await check(page, "admin-commandes-vide");
  await page.goto(`${demo.admin}orders/?s=0123456789ABCDEF`);
  await check(page, "admin-commandes-oubliee");
  await page.goto(`${demo.admin}nulle-part/`);
  await check(page, "admin-erreur", 404);
  await ended(page, demo, buyer, stalled, review);
  await page.goto(`${demo.admin}?lang=en`);
  await check(page, "admin-accueil-en");
  await page.goto(`${demo.admin}orders/${stalled}/`);
  await check(page, "admin-commande-en");
  await buyer.context().close();
}

mkdirSync(pictures, { recursive: true });
await onStage(process.argv[2], async (demo, visit, set) => {
  const stories = [
    ["the day", {}, (page) => day(page, demo, visit, set, "a")],
    ["the day without scripts", { javaScriptEnabled: false }, (page) => day(page, demo, visit, set, "b")],
    ["by keyboard", {}, (page) => byKeyboard(page, demo, visit)],
    ["pages", { viewport: { width: 1280, height: 800 } }, (page) => pages(page, demo, visit, set)],
  ];
  for (const [name, options, tell] of stories) {
    const page = await visit(options);
    await tell(page);
    // Nobody logged in is 401 with the login form, an address that leads nowhere 404, an unreadable field 400, a proof of no
    // sale 409: browsers call each an error.
    assert.deepEqual(page.complaints.filter((line) => !/status of 40[0149]/.test(line)), [], `${name}: the browser complained`);
    await page.context().close();
    console.log(`tests/browser: merchant: ${name}`);
  }
});
