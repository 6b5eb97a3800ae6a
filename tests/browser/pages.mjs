// Every buyer page in every state: axe-core finds nothing, the HTML is valid, the page with all it loads stays below
// 14 kB, nothing is wider than the screen, and "Acheter" is seen without scrolling. Writes a picture of each at two
// widths, light and dark, for whoever looks.
//
//   node pages.mjs <auditshield binary> [folder for the pictures]
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { checker } from "./checks.mjs";
import { mailed, onStage, order, pay, root } from "./demo.mjs";

const pictures = resolve(process.argv[3] ?? join(root, "target/pages"));
const PAGE_BYTES_MAX = 14_000;
const check = checker(pictures, PAGE_BYTES_MAX);

/** "Acheter" on the first screen of the smallest telephone. */
async function aboveTheFold(page) {
  const box = await page.locator("text=Acheter").first().boundingBox();
  assert.ok(box && box.y + box.height <= 640, `Acheter ends at ${box?.y + box?.height} of 640 pixels on ${page.url()}`);
}

async function buying(page, demo) {
  await page.goto(demo.shop);
  await aboveTheFold(page);
  await check(page, "boutique");
  await page.goto(`${demo.shop}buy/audit-kit/standard/`);
  await aboveTheFold(page);
  await check(page, "achat");
  await page.goto(`${demo.shop}?lang=en`);
  await check(page, "boutique-en");
  await page.goto(`${demo.shop}buy/audit-kit/standard/`);
  await check(page, "achat-en");
  await page.goto(`${demo.shop}?lang=fr`);
  await page.goto(`${demo.shop}achats/`);
  await check(page, "achats");
  await page.fill("#email", "personne@example.com");
  await page.click("form.card button");
  await page.locator(".good").waitFor();
  await check(page, "achats-envoyes");
  await page.goto(`${demo.shop}buy/audit-kit/standard/`);
  await page.fill("#email", "awa@gmial.com");
  await page.click("form.card button[type=submit]");
  await page.locator("#meant").waitFor();
  await check(page, "achat-faute");
}

async function refused(page, demo, set) {
  await set({ init_fault: { kind: "error500" } });
  await page.goto(`${demo.shop}buy/audit-kit/standard/`);
  await page.fill("#email", "panne@example.com");
  await page.click("form.card button[type=submit]");
  await page.locator("#message").waitFor();
  await check(page, "erreur-cinetpay", 502);
  await set({ init_fault: { kind: "none" } });
  await order(page, demo, "refus@example.com");
  await pay(page, demo, "0707070703");
  await page.locator("#status [data-for=FAILED]").waitFor({ state: "visible" });
  await check(page, "retour-refus");
  await page.click("text=Voir ma commande");
  await check(page, "commande-refus");
}

async function sold(page, demo) {
  await order(page, demo, "awa@example.com");
  await pay(page, demo, "0707070706");
  await page.locator("#status [data-for=WAITING]").waitFor({ state: "visible" });
  await check(page, "retour-attente");
  await page.click("text=Voir ma commande");
  await check(page, "commande-attente");
  await page.click("form.main button");
  await page.waitForURL(`${demo.cinetpay}/payment/*`);
  await pay(page, demo, "0707070700");
  await page.locator("#status [data-for=DELIVERED]").waitFor({ state: "visible" });
  await check(page, "retour-paye");
  await page.click("text=Voir ma commande");
  await check(page, "commande-payee");
  await page.click("a[href$=\"/recu/\"]");
  await check(page, "recu");
  const link = await (await mailed(page, demo, "download/")).getAttribute("href");
  await page.goto(link);
  await check(page, "telechargement");
  return link;
}

async function errors(page, demo, link) {
  const cases = [
    ["erreur-produit", "buy/audit-kit/platine/", 404], ["erreur-adresse", "nulle-part/", 404],
    ["erreur-lien-faux", "download/x.y.z/", 403], ["erreur-commande", "commande/01JD0QZ6Y3V9K2M4N6P8R0S2T4/", 403],
  ];
  for (const [name, path, status] of cases) {
    for (const lang of ["fr", "en"]) {
      await page.goto(`${demo.shop}${path}?lang=${lang}`);
      await check(page, `${name}-${lang}`, status);
    }
  }
  await page.goto(`${demo.shop}?lang=fr`);
  for (let left = 5; left > 0; left -= 1) {
    await page.goto(link);
    const [file] = await Promise.all([page.waitForEvent("download"), page.click("form button")]);
    await file.path();
  }
  await page.goto(link);
  await check(page, "erreur-lien-epuise", 410);
}

mkdirSync(pictures, { recursive: true });
await onStage(process.argv[2], async (demo, visit, set) => {
  const page = await visit({ bypassCSP: false });
  await buying(page, demo);
  await refused(page, demo, set);
  const link = await sold(page, demo);
  await errors(page, demo, link);
  console.log(`tests/browser: pictures in ${pictures}`);
});
