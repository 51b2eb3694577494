import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";

import { MiB } from "../../../src/base/bytes.ts";
import type { ReplayResult, ReplaySample } from "../../../src/workload/replay-result.ts";
import { drawChart } from "../../../src/workload/report/chart.ts";
import { curvesOf, thin } from "../../../src/workload/report/curves.ts";
import { renderReport } from "../../../src/workload/report/page.ts";
import { axisFor, timeTicks } from "../../../src/workload/report/scale.ts";

const chromium = [process.env.KVFERRY_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path !== undefined && existsSync(path));
const withoutBrowser = chromium === undefined ? "no Chromium here; install it or name one in KVFERRY_CHROMIUM" : false;

const directory = await mkdtemp(join(tmpdir(), "kvferry-report-"));
after(() => rm(directory, { recursive: true, force: true }));

function samplesOf(count: number): ReplaySample[] {
  return Array.from({ length: count }, (_, index) => ({
    atMs: index * 20,
    requests: index,
    chunksRequested: index * 20,
    chunksHit: index * 5,
    l1UsedBytes: index === count - 1 ? 0 : index === 1234 ? 31 * MiB : (index % 30) * MiB,
    storedBytes: index * 15 * 16384,
    loadedBytes: index * 5 * 16384,
    queuedChunks: index % 7,
    waitingWriters: 0,
  }));
}

const result: ReplayResult = {
  trace: "trace</script><b>.jsonl",
  requests: 999,
  chunks: { requested: 19_980, hit: 4_995, stored: 14_985 },
  prefixHitRatio: 0.25,
  infinitePrefixHitRatio: 0.3,
  bytes: { stored: 1e6, loaded: 2e6, verified: 2e6, wrong: 0 },
  l1: { capacityBytes: 32 * MiB, peakBytes: 29 * MiB, usedBytesAtEnd: 0 },
  obligations: { created: 14_985, stored: 14_985, failed: 0, dropped: 0 },
  storeLosses: [],
  seconds: 20,
  payloadBytesPerBlock: 16384,
  seed: 1,
  brokenLines: 0,
  eventLoopDelayMs: { p50: 0.1, p99: 1.5, max: 7 },
  policies: { eviction: "noop", store: "skip_l1", prefetch: "default" },
  adapters: ["fs: <somewhere>"],
  problems: [],
  warnings: [],
  interruptedBy: null,
};
const context = { title: `a "trace" & <more>`, command: "kvferry replay 'a b.jsonl'", version: "1.2.3", madeAt: new Date(0) };

interface BrowserRun {
  readonly dom: string;
  /** What the page wrote to the console, errors that nobody caught included. */
  readonly console: readonly string[];
}

async function openInBrowser(name: string, html: string): Promise<BrowserRun> {
  const path = join(directory, name);
  await writeFile(path, html);
  const profile = join(directory, `profile-${name}`);
  const args = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`, "--enable-logging=stderr", "--virtual-time-budget=2000", "--window-size=1280,1400", "--dump-dom", pathToFileURL(path).href];
  const run = spawnSync(chromium as string, args, { encoding: "utf8", timeout: 60_000, maxBuffer: 64 * MiB });
  assert.equal(run.status, 0, run.stderr);
  return { dom: run.stdout, console: run.stderr.split("\n").filter((line) => line.includes(":CONSOLE")) };
}

/** Added by the test: moves the pointer over the first chart, presses the button, and leaves. */
const visitor = `<script>
const svg = document.querySelector("svg"), box = svg.getBoundingClientRect();
const move = (x) => svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width * x, clientY: box.top + 50, bubbles: true }));
move(0); move(1); move(0.5);
document.body.dataset.at = document.querySelector(".at").textContent;
document.body.dataset.dots = document.querySelectorAll(".pointer circle").length;
document.body.dataset.middle = document.querySelector("#l1 .legend b").textContent;
document.getElementById("theme").click();
document.body.dataset.theme = document.documentElement.dataset.theme;
svg.dispatchEvent(new PointerEvent("pointerleave"));
document.body.dataset.left = document.querySelectorAll(".pointer circle").length;
document.body.dataset.wide = document.documentElement.scrollWidth > innerWidth;
</script>`;

test("the page runs in Chromium without an error, follows the pointer and switches themes", { skip: withoutBrowser }, async () => {
  const { dom, console } = await openInBrowser("report.html", renderReport(result, samplesOf(1000), context).replace("</body>", `${visitor}</body>`));
  assert.deepEqual(console, []);
  assert.match(dom, /<b>25\.00%<\/b>/, "the script fills in the last value of each curve");
  const seen = Object.fromEntries([...(/<body[^>]*>/.exec(dom) as RegExpExecArray)[0].matchAll(/data-(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
  assert.equal(seen.at, "at 8.90 s", "the middle of the drawing, which begins left of the plot");
  assert.match(seen.middle, /MiB$|^0 B$/);
  assert.deepEqual([seen.dots, seen.left, seen.theme, seen.wide], ["6", "0", "dark", "false"]);
});

test("the browser check sees a script that fails", { skip: withoutBrowser }, async () => {
  const { console } = await openInBrowser("broken.html", renderReport(result, samplesOf(10), context).replace('getElementById("data")', 'getElementById("nothing")'));
  assert.ok(console.some((line) => line.includes("Uncaught TypeError")), console.join("\n"));
});

test("a run of one sample, none stored and a name full of markup make a valid page too", { skip: withoutBrowser }, async () => {
  const empty: ReplayResult = { ...result, chunks: { requested: 0, hit: 0, stored: 0 }, prefixHitRatio: 0, infinitePrefixHitRatio: 0, seconds: 0, problems: ["<b>broken</b>"] };
  const { dom, console } = await openInBrowser("empty.html", renderReport(empty, samplesOf(1), context));
  assert.deepEqual(console, []);
  assert.ok(dom.includes("&lt;b&gt;broken&lt;/b&gt;") && !dom.includes("NaN") && !dom.includes("Infinity"));
  assert.ok(dom.includes("1 promise broken"));
});

test("the page needs nothing from anywhere else and lets no text become markup", () => {
  const html = renderReport(result, samplesOf(100), context);
  assert.doesNotMatch(html, /\b(src|href)=|@import|url\(|https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
  assert.equal(html.match(/<script/g)?.length, 2);
  assert.ok(html.includes("a &quot;trace&quot; &amp; &lt;more&gt;") && html.includes("trace&lt;/script&gt;"));
});

test("a long run keeps its first and last sample and its peaks, and stays small", () => {
  const samples = samplesOf(5000);
  const points = thin(samples);
  assert.ok(points.length <= 560);
  assert.deepEqual([points[0], points.at(-1)], [samples[0], samples.at(-1)]);
  assert.equal(Math.max(...points.map((sample) => sample.l1UsedBytes)), Math.max(...samples.map((sample) => sample.l1UsedBytes)), "no peak is left out");
  assert.ok(renderReport(result, samples, context).length < 200_000);
});

test("rates come from differences over time, and a chart holds its curves", () => {
  const charts = curvesOf(result, samplesOf(200));
  const stored = charts.find(({ id }) => id === "rates")?.series[0].values ?? [];
  assert.ok(stored.every((value) => Math.abs(value - (15 * 16384 * 1000) / 20) < 1), "a steady rate is a flat line from its first point on");
  for (const chart of charts) {
    const coordinates = [...drawChart(chart, samplesOf(200).map((sample) => sample.atMs / 1000)).matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)];
    assert.ok(coordinates.length >= 200);
    for (const [, x, y] of coordinates) assert.ok(Number(x) >= 0 && Number(x) <= 560 && Number(y) >= 0 && Number(y) <= 230, `${chart.id}: ${x} ${y}`);
  }
});

test("axes end at round values and hold the highest point", () => {
  assert.deepEqual(axisFor(32 * MiB, "bytes").ticks.map(({ label }) => label), ["0", "8 MiB", "16 MiB", "24 MiB", "32 MiB"]);
  assert.deepEqual(axisFor(0.3664, "percent").ticks.map(({ label }) => label), ["0%", "10%", "20%", "30%", "40%"]);
  assert.deepEqual(axisFor(1340, "count").ticks.map(({ label }) => label), ["0", "500", "1,000", "1,500"]);
  for (const unit of ["percent", "bytes", "bytes-per-second", "count"] as const)
    for (const max of [0, 0.004, 0.9, 1, 7, 999, 1024, 3e6, 7.7e10]) {
      const value = unit === "percent" ? Math.min(1, max) : max;
      const axis = axisFor(value, unit);
      assert.ok(axis.max >= value && axis.ticks.length >= 2 && axis.ticks.length <= 8, `${unit} ${max}: ${JSON.stringify(axis)}`);
    }
  assert.deepEqual(timeTicks(54.9).map(({ label }) => label), ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s"]);
  assert.deepEqual(timeTicks(600).map(({ label }) => label), ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]);
});
