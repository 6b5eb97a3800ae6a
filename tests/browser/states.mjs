// The states of a buyer's pages that take a person, time or impatience: a payment under review, a mail that is refused,
// links that were withdrawn, ran out or were paid back, orders that nobody paid, too many tries. Each page as checks.mjs
// asks, in French and in English.
//
//   node states.mjs <auditshield binary> [folder for the pictures]
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { checker, pictured } from "./checks.mjs";
import { act, mailed, onStage, order, pay, refuseMails, root } from "./demo.mjs";

const pictures = resolve(process.argv[3] ?? join(root, "target/pages"));
const PAGE_BYTES_MAX = 14_000;
const check = checker(pictures, PAGE_BYTES_MAX);
const PAYS = "0707070700";
const shown = (page, state) => page.locator(`#status [data-for=${state}]`).waitFor({ state: "visible" });
const number = (page) => page.locator("#status").getAttribute("data-order");

/** The page at this address in both languages; French remains. */
async function both(page, address, name, status = 200) {
  const mark = address.includes("?") ? "&" : "?";
  for (const lang of ["en", "fr"]) {
    await page.goto(`${address}${mark}lang=${lang}`);
    await check(page, lang === "fr" ? name : `${name}-en`, status);
  }
}

/** Pays; the order, once its waiting page says `state`. */
async function paid(page, demo, email, state) {
  await order(page, demo, email);
  await pay(page, demo, PAYS);
  await shown(page, state);
  return number(page);
}

const returned = ({ shop }, id) => `${shop}payment/return/?transaction_id=${id}`;
const own = ({ shop }, id) => `${shop}commande/${id}/`;

async function decided(page, demo, set) {
  await set({ accepted_amount: "100" });
  const review = await paid(page, demo, "moins@example.com", "REVIEW");
  await set({ accepted_amount: null });
  await both(page, returned(demo, review), "retour-a-verifier");
  await both(page, own(demo, review), "commande-a-verifier");
  await refuseMails(page, demo, true);
  const unmailed = await paid(page, demo, "refuse@example.com", "PAID");
  await both(page, returned(demo, unmailed), "retour-paye-sans-mail");
  await both(page, own(demo, unmailed), "commande-sans-mail");
  await refuseMails(page, demo, false);
}

async function withdrawn(page, demo) {
  const id = await paid(page, demo, "awa@example.com", "DELIVERED");
  const link = await (await mailed(page, demo, "download/")).getAttribute("href");
  await page.goto(new URL(await page.locator("iframe").first().getAttribute("src"), demo.mailbox).href);
  await pictured(page, "mail", pictures);
  await page.goto(own(demo, id));
  await page.click("summary");
  await page.fill("#email", "awa@gmial.com");
  await page.click("text=Corriger l’adresse");
  await page.locator("#meant").waitFor();
  await check(page, "commande-adresse-faute");
  await both(page, returned(demo, id), "retour-livre");
  await both(page, own(demo, id), "commande-livree");
  await both(page, `${own(demo, id)}recu/`, "recu-livre");
  await both(page, link, "telechargement-lien");
  await act(page, demo, id, "revoke");
  await both(page, own(demo, id), "commande-lien-desactive");
  await both(page, link, "erreur-lien-desactive", 410);
  await act(page, demo, id, "refund");
  await both(page, returned(demo, id), "retour-rembourse");
  await both(page, own(demo, id), "commande-remboursee");
  await both(page, `${own(demo, id)}recu/`, "recu-rembourse");
}

/** An address that is none, sent by a browser that does not look. */
async function unreadable(page, demo) {
  await page.goto(`${demo.shop}buy/audit-kit/standard/`);
  await page.fill("#email", "awa chez example");
  await page.evaluate(() => { document.querySelector("form.card").noValidate = true; });
  await page.click("form.card button[type=submit]");
  await page.locator("#message").waitFor();
  await check(page, "achat-erreur", 400);
}

async function tooLate(page, demo) {
  const id = await paid(page, demo, "tard@example.com", "DELIVERED");
  const link = await (await mailed(page, demo, "download/")).getAttribute("href");
  await order(page, demo, "jamais@example.com");
  const listed = await page.request.get(`${new URL(demo.admin).origin}/api/orders?q=jamais%40example.com`, {
    headers: { authorization: `Bearer ${demo.token}` },
  });
  const never = (await listed.json()).orders[0].order_id;
  await page.goto(returned(demo, never));
  await shown(page, "EXPIRED");
  await both(page, returned(demo, never), "retour-expire");
  await both(page, own(demo, never), "commande-expiree");
  await both(page, own(demo, id), "commande-lien-expire");
  await both(page, link, "erreur-lien-expire", 410);
}

async function tooOften(page, demo) {
  const email = "impatient@example.com";
  const press = async () => {
    await page.goto(`${demo.shop}achats/`);
    await page.fill("#email", email);
    await page.click("form.card button");
  };
  const refused = () => page.getByText(/^Trop de demandes/).first().waitFor();
  await press();
  await page.locator(".good").waitFor();
  await press();
  await refused();
  await check(page, "erreur-trop-de-mails", 429);
  await order(page, demo, email);
  await page.goto(`${demo.shop}buy/audit-kit/standard/`);
  await page.fill("#email", `encore.${email}`);
  await page.click("form.card button[type=submit]");
  await refused();
  await check(page, "erreur-trop-d-achats", 429);
  await page.goto(demo.admin);
  await page.fill("#token", "faux");
  await page.click("form.card button[type=submit]");
  await page.locator("#message").waitFor();
  await page.fill("#token", "faux");
  await page.click("form.card button[type=submit]");
  await refused();
  await check(page, "admin-trop-d-essais", 429);
}

mkdirSync(pictures, { recursive: true });
await onStage(process.argv[2], async (demo, visit, set) => {
  const page = await visit();
  await decided(page, demo, set);
  await withdrawn(page, demo);
  await unreadable(page, demo);
});
// Long enough to pay, short enough to wait for.
const HASTY = {
  AUDITSHIELD_DOWNLOAD__TTL: "8s", AUDITSHIELD_DOWNLOAD__REMIND_BEFORE: "0s", AUDITSHIELD_VERIFY__FIRST_POLL: "1s",
  AUDITSHIELD_VERIFY__HORIZON: "8s",
};
// The second try within a minute is one too many.
const IMPATIENT = {
  AUDITSHIELD_LIMITS__BUY_PER_MINUTE: "1", AUDITSHIELD_LIMITS__RECOVER_PER_MINUTE: "1", AUDITSHIELD_LIMITS__LOGIN_PER_MINUTE: "1",
};
await onStage(process.argv[2], async (demo, visit) => {
  const page = await visit();
  await tooLate(page, demo);
}, HASTY);
await onStage(process.argv[2], async (demo, visit) => {
  const page = await visit();
  await tooOften(page, demo);
  console.log(`tests/browser: pictures in ${pictures}`);
}, IMPATIENT);
