// What is asked of every page, the buyer's and the merchant's: axe-core finds nothing, the HTML is valid, the page with all
// it loads is light, nothing is wider than the screen. Takes a picture of it at two widths, light and dark.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import assert from "node:assert/strict";
import { HtmlValidate } from "html-validate";
import { fits } from "./demo.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDTHS = [360, 1280];
// Looks for a part that is still on its way, 20 ms apart: 20 s, which only a machine under heavy load needs.
const PART_TRIES_MAX = 400;
const SCHEMES = ["light", "dark"];
const validator = new HtmlValidate({
  extends: ["html-validate:standard"],
  rules: {
    // Ours to choose: templates break lines where they read well, and void elements are written as in HTML.
    "no-trailing-whitespace": "off", "void-style": ["error", { style: "omit" }], "long-title": "off",
    "require-sri": "off", "no-inline-style": "error",
  },
});

/** axe-core, all rules; run on the page as it stands. */
async function accessible(page, name) {
  // The page's own policy lets nothing in, so the rules come in beside it.
  const found = await page.evaluate(async (source) => {
    new Function(source).call(window);
    const { violations } = await window.axe.run();
    return violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`);
  }, axe);
  assert.deepEqual(found, [], `${name}: axe-core`);
}

/** Loads the page anew, without cache: the answer, and the bytes of each part as they came over the wire. */
async function weighed(page, chances = 3) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
  const parts = new Map();
  const awaited = new Map();
  devtools.on("Network.requestWillBeSent", ({ requestId, request }) => {
    // The live status is not part of the page: it comes after it, for as long as somebody looks.
    if (!request.url.includes("/payment/status/")) awaited.set(requestId, request.url);
  });
  devtools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    if (awaited.delete(requestId)) parts.set(requestId, encodedDataLength);
  });
  // What the page before still asked for (its icon) is given up when it is loaded anew.
  devtools.on("Network.loadingFailed", ({ requestId, canceled, errorText }) => {
    if (canceled) awaited.delete(requestId);
    else awaited.set(requestId, `${awaited.get(requestId)} (${errorText})`);
  });
  const answer = await page.reload({ waitUntil: "load" });
  for (let tries = 0; awaited.size > 0; tries += 1) {
    if (tries === PART_TRIES_MAX && chances > 1) {
      // Chromium does not always tell the end of a request that a reload took over. What never comes fails every time.
      await devtools.detach();
      return weighed(page, chances - 1);
    }
    assert.ok(tries < PART_TRIES_MAX, `${page.url()}: did not come: ${[...awaited.values()]}`);
    await page.evaluate(() => new Promise((done) => setTimeout(done, 20)));
  }
  await devtools.detach();
  return { answer, parts: [...parts.values()] };
}

/** The HTML of an answer, as it came. */
export async function valid(answer, name) {
  const report = await validator.validateString(await answer.text());
  const messages = report.results.flatMap((one) => one.messages.map((line) => `${line.line}: ${line.ruleId} ${line.message}`));
  assert.deepEqual(messages, [], `${name}: HTML`);
}

/** Pictures of the page as it stands, at every width and in both schemes; `look` is done at each. */
export async function pictured(page, name, pictures, look = async () => {}) {
  for (const width of WIDTHS) {
    for (const colorScheme of SCHEMES) {
      await page.setViewportSize({ width, height: width === 360 ? 640 : 800 });
      await page.emulateMedia({ colorScheme });
      await fits(page);
      await look(`${name} ${width} ${colorScheme}`);
      await page.screenshot({ path: join(pictures, `${name}-${width}-${colorScheme}.png`), fullPage: true, animations: "disabled" });
    }
  }
  await page.setViewportSize({ width: 360, height: 640 });
  await page.emulateMedia({ colorScheme: "light" });
}

/** The same, with axe-core's eyes. */
export const seen = (page, name, pictures) => pictured(page, name, pictures, (where) => accessible(page, where));

/** A check for one page, loaded anew; `name` names its pictures, `status` is what its answer must be. */
export const checker = (pictures, bytesMax) => async (page, name, status = 200) => {
  const { answer, parts } = await weighed(page);
  assert.equal(answer.status(), status, name);
  await valid(answer, name);
  const bytes = parts.reduce((sum, one) => sum + one, 0);
  assert.ok(parts.length > 1 && bytes > 2_000, `${name}: nothing was weighed`);
  assert.ok(bytes < bytesMax, `${name}: ${bytes} bytes: ${parts}`);
  await seen(page, name, pictures);
  console.log(`tests/browser: ${name}: ${bytes} bytes in ${parts.length} parts`);
};
