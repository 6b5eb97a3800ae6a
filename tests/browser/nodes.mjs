// The page of the nodes: on one machine it says so and stands in no menu; with `cluster`, of three nodes on one database, one
// of which was killed. axe-core, an HTML validator, a scale, pictures at two widths, light and dark.
//
//   node nodes.mjs <auditshield binary> [folder for the pictures] [cluster]
import { mkdirSync } from "node:fs";
import { spawn } from "node:child_process";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { checker } from "./checks.mjs";
import { onStage, root, visitor } from "./demo.mjs";

const pictures = resolve(process.argv[3] ?? join(root, "target/pages"));
const PAGE_BYTES_MAX = 30_000;
// Three daemons, and the database made for the occasion.
const START_MS_MAX = 120_000;
const SILENT_MS_MAX = 60_000;
const check = checker(pictures, PAGE_BYTES_MAX);

async function enter(page, admin, token) {
  await page.goto(`${admin}nodes/`);
  await page.fill("#token", token);
  await page.click("form.card button[type=submit]");
  await page.waitForURL(`${admin}nodes/`);
}

const inMenu = (page) => page.locator("nav a[href='/admin/nodes/']").count();

async function oneMachine(demo, visit) {
  const page = await visit({ bypassCSP: false });
  await enter(page, demo.admin, demo.token);
  assert.match(await page.locator("main").innerText(), /Une seule machine/);
  assert.equal(await inMenu(page), 0, "one machine needs no page about others in its menu");
  await check(page, "admin-noeud-seul");
}

/** Starts the demonstration of several nodes; its nodes' pages and processes, and the token. */
function startNodes(binary) {
  const child = spawn(binary, ["demo", "--nodes", "3"], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  const places = new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`the demonstration did not start:\n${said}`)), START_MS_MAX);
    child.on("exit", (code) => failed(new Error(`the demonstration ended with ${code}:\n${said}`)));
    child.stdout.on("data", (data) => {
      said += data;
      if (!said.includes("Ctrl-C")) return;
      clearTimeout(timer);
      const nodes = [...said.matchAll(/(http:\/\/\S+\/admin\/) +kill -9 (\d+)/g)].map(([, admin, pid]) => ({ admin, pid }));
      done({ nodes, token: said.match(/token: (\S+)/)[1] });
    });
  });
  return { child, places };
}

async function cluster(binary) {
  const { child, places } = startNodes(binary);
  const ended = new Promise((done) => child.on("exit", done));
  let browser;
  try {
    const { nodes, token } = await places;
    assert.equal(nodes.length, 3);
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
    const page = await visitor(browser, { bypassCSP: false });
    process.kill(Number(nodes[2].pid), "SIGKILL");
    await enter(page, nodes[0].admin, token);
    assert.equal(await inMenu(page), 1, "the menu leads to the nodes");
    const begun = Date.now();
    while (await page.locator(".badge.late").count() === 0) {
      assert.ok(Date.now() - begun < SILENT_MS_MAX, "the node that was killed is never silent");
      await page.reload();
    }
    assert.equal(await page.locator(".nodes > li").count(), 3);
    await check(page, "admin-noeuds");
    await page.goto(`${nodes[0].admin}nodes/?lang=en`);
    await check(page, "admin-noeuds-en");
    await page.goto(`${nodes[0].admin}?lang=fr`);
    assert.match(await page.locator(".tasks").innerText(), /ne donnent plus signe de vie : 1/);
    await check(page, "admin-accueil-noeuds");
  } finally {
    await browser?.close();
    child.kill("SIGINT");
    await ended;
  }
}

mkdirSync(pictures, { recursive: true });
const binary = resolve(process.argv[2] ?? join(root, "target/debug/auditshield"));
await onStage(binary, oneMachine);
if (process.argv[4] === "cluster") await cluster(binary);
console.log(`tests/browser: the nodes; pictures in ${pictures}`);
