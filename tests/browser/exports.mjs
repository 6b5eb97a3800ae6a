// A merchant's papers in a real browser: logs in, exports the sales for a spreadsheet and for a program, compares an export of
// CinetPay's with them, takes along the letter and the proof. Each page as checks.mjs asks, in French and in English.
//
//   node exports.mjs <auditshield binary> [folder for the pictures]
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { checker, seen, valid } from "./checks.mjs";
import { onStage, order, pay, root } from "./demo.mjs";

const pictures = resolve(process.argv[3] ?? join(root, "target/pages"));
// As light as a buyer's page.
const PAGE_BYTES_MAX = 14_000;
const check = checker(pictures, PAGE_BYTES_MAX);

/** Presses what saves a file; gives its name and text. */
async function saved(page, press) {
  const [download] = await Promise.all([page.waitForEvent("download"), press()]);
  const path = await download.path();
  return { path, name: download.suggestedFilename(), text: readFileSync(path, "utf8") };
}

/** A sale to awa, delivered. */
async function sell(page, demo) {
  await order(page, demo, "awa@example.com");
  await pay(page, demo, "0707070700");
  await page.locator("#status [data-for=DELIVERED]").waitFor({ state: "visible" });
}

async function enter(page, { admin, token }) {
  await page.goto(admin);
  await page.fill("#token", token);
  await page.click("button[type=submit]");
  await page.waitForURL(admin);
  // The login form is an answer 401, which the browser mentions.
  page.complaints.length = 0;
}

async function exported(page, demo) {
  for (const lang of ["fr", "en"]) {
    await page.goto(`${demo.admin}exports/?lang=${lang}`);
    await check(page, `admin-exports-${lang}`);
  }
  await page.goto(`${demo.admin}exports/?lang=fr`);
  const csv = await saved(page, () => page.click("text=Télécharger pour Excel"));
  assert.match(csv.name, /^auditshield-\d{4}-\d{2}-01_\d{4}-\d{2}-\d{2}\.csv$/);
  assert.ok(csv.text.startsWith("\ufeffcommande;transaction;statut;"), csv.text);
  assert.ok(csv.text.includes("awa@example.com") && csv.text.endsWith("\r\n"), csv.text);
  const lines = await saved(page, () => page.click("text=Télécharger pour un programme"));
  const sales = lines.text.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(sales.length, 1, lines.text);
  assert.equal(csv.text.split("\r\n").length, 3, csv.text);
  return sales[0];
}

/** The answer to an export of CinetPay's with this amount. */
async function compared(page, demo, sale, amount) {
  await page.goto(`${demo.admin}settlement/?lang=fr`);
  const text = `Identifiant transaction;Montant;Devise;Statut;Date\r\n${sale.transaction_id};${amount};XOF;ACCEPTED;${sale.paid_at.slice(0, 19).replace("T", " ")}\r\n`;
  await page.setInputFiles("#file", { name: "releve.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  const posted = page.waitForResponse((answer) => answer.request().method() === "POST");
  await page.click("main button[type=submit]");
  return posted;
}

async function settled(page, demo, sale) {
  for (const lang of ["fr", "en"]) {
    await page.goto(`${demo.admin}settlement/?lang=${lang}`);
    await check(page, `admin-comparaison-${lang}`);
  }
  await valid(await compared(page, demo, sale, "15 000"), "admin-comparaison-ok");
  await page.locator("text=Tout concorde").waitFor();
  await seen(page, "admin-comparaison-ok", pictures);
  await valid(await compared(page, demo, sale, "14 000"), "admin-comparaison-ecart");
  await page.locator("text=Montants différents : 1").waitFor();
  await seen(page, "admin-comparaison-ecart", pictures);
}

async function carried(page, demo, sale) {
  const place = `${demo.admin}orders/${sale.order_id}/`;
  for (const lang of ["fr", "en"]) {
    for (const paper of ["dossier", "proof"]) {
      await page.goto(`${place}${paper}/?lang=${lang}`);
      await check(page, `admin-${paper}-${lang}`);
    }
  }
  await page.goto(`${place}dossier/?lang=fr`);
  assert.ok((await page.inputValue("#subject")).includes(sale.transaction_id));
  assert.ok(!(await page.inputValue("#body")).includes("awa@example.com"));
  await page.goto(`${place}proof/?lang=fr`);
  const proof = await saved(page, () => page.click("text=Télécharger la preuve signée"));
  const pages = await saved(page, () => page.click("text=La même en PDF"));
  assert.equal(pages.name, `preuve-${sale.order_id}.pdf`);
  const key = await saved(page, () => page.click("text=Clé publique"));
  for (const { path } of [proof, pages]) {
    execFileSync("python3", ["-B", join(root, "docs/verify_proof.py"), path, "--key", key.path], { stdio: "inherit" });
  }
}

mkdirSync(pictures, { recursive: true });
await onStage(process.argv[2], async (demo, visit) => {
  await sell(await visit({}), demo);
  const page = await visit({ acceptDownloads: true });
  await enter(page, demo);
  const sale = await exported(page, demo);
  await settled(page, demo, sale);
  await carried(page, demo, sale);
  assert.deepEqual(page.complaints, []);
  console.log("tests/browser: a merchant exported, compared, and carried letter and proof away");
});
