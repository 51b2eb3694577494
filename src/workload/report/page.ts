/** The replay report: one HTML file with everything in it, which needs no network, no fonts and, but for the pointer, no script. */
import { formatBytes } from "../../base/bytes.ts";
import type { ReplayResult, ReplaySample } from "../replay-result.ts";
import { axisMaxOf, chartGeometry, drawChart, type Chart } from "./chart.ts";
import { curvesOf, thin } from "./curves.ts";
import { pageScript } from "./page-script.ts";
import { pageStyle } from "./style.ts";

export interface ReportContext {
  readonly title: string;
  /** The command line that made this run, shown so that anybody can make it again. */
  readonly command: string;
  readonly version: string;
  readonly madeAt: Date;
}

export function renderReport(result: ReplayResult, samples: readonly ReplaySample[], context: ReportContext): string {
  const points = thin(samples);
  const seconds = points.map((sample) => sample.atMs / 1000);
  const charts = curvesOf(result, points);
  const data = {
    geometry: chartGeometry,
    seconds: seconds.map((second) => significant(second)),
    charts: charts.map((chart) => ({
      id: chart.id,
      unit: chart.unit,
      axisMax: axisMaxOf(chart),
      series: chart.series.map(({ colour, values }) => ({ colour, values: values.map(significant) })),
    })),
  };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(context.title)} - kvferry replay</title>
<style>${pageStyle}</style>
</head>
<body>
<main>
<header>
<div class="grow"><p class="kicker">kvferry replay, ${escape(context.madeAt.toISOString().slice(0, 16).replace("T", " "))} UTC</p><h1>${escape(context.title)}</h1></div>
${verdict(result)}
<button id="theme" type="button">light / dark</button>
</header>
${problems(result)}<dl class="tiles">${tiles(result).map(tile).join("")}</dl>
<div class="charts">${charts.map((chart) => figure(chart, seconds)).join("\n")}</div>
<section class="details"><h2>The run</h2><table>${rows(result, context).map(([name, value]) => `<tr><th scope="row">${escape(name)}</th><td>${value}</td></tr>`).join("")}</table></section>
<footer>kvferry ${escape(context.version)}. Curves: ${points.length} points of ${samples.length} samples.</footer>
</main>
<script type="application/json" id="data">${JSON.stringify(data).replaceAll("<", "\\u003c")}</script>
<script>${pageScript}</script>
</body>
</html>
`;
}

function verdict(result: ReplayResult): string {
  if (result.problems.length > 0) return `<span class="badge bad">${result.problems.length === 1 ? "1 promise broken" : `${result.problems.length} promises broken`}</span>`;
  if (result.interruptedBy !== null) return `<span class="badge bad">ended early by ${result.interruptedBy}</span>`;
  return `<span class="badge good">every byte right, L1 at rest</span>`;
}

function problems(result: ReplayResult): string {
  if (result.problems.length === 0) return "";
  return `<ul class="problems">${result.problems.map((problem) => `<li>${escape(problem)}</li>`).join("")}</ul>\n`;
}

interface Tile {
  readonly name: string;
  readonly value: string;
  readonly more: string;
}

function tiles(result: ReplayResult): readonly Tile[] {
  const { bytes, chunks, l1, obligations, seconds } = result;
  const rate = (amount: number): string => (seconds > 0 ? `${formatBytes(amount / seconds)}/s over the run` : "");
  return [
    { name: "Requests", value: count(result.requests), more: `${count(chunks.requested)} chunks in ${seconds.toFixed(seconds < 10 ? 2 : 1)} s` },
    { name: "Prefix hit ratio", value: percent(result.prefixHitRatio), more: `${count(chunks.hit)} chunks; ${percent(result.infinitePrefixHitRatio)} if nothing were ever lost` },
    { name: "Stored", value: formatBytes(bytes.stored), more: rate(bytes.stored) },
    { name: "Loaded and verified", value: formatBytes(bytes.verified), more: rate(bytes.verified) },
    { name: "Wrong bytes", value: count(bytes.wrong), more: bytes.wrong === 0 ? "every loaded word was compared" : "out of what was loaded" },
    { name: "L1 peak", value: formatBytes(l1.peakBytes), more: `of ${formatBytes(l1.capacityBytes)}; ${formatBytes(l1.usedBytesAtEnd)} at the end` },
    { name: "Obligations", value: count(obligations.created), more: `${count(obligations.stored)} stored, ${count(obligations.failed)} failed, ${count(obligations.dropped)} dropped` },
    { name: "Event-loop delay", value: `${result.eventLoopDelayMs.p99.toFixed(1)} ms`, more: `p99; p50 ${result.eventLoopDelayMs.p50.toFixed(1)} ms, longest ${result.eventLoopDelayMs.max.toFixed(1)} ms` },
  ];
}

function tile({ name, value, more }: Tile): string {
  return `<div class="tile"><dt>${escape(name)}</dt><dd class="value">${escape(value)}</dd><dd class="more">${escape(more)}</dd></div>`;
}

function figure(chart: Chart, seconds: readonly number[]): string {
  const legend = chart.series.map((series) => `<span><i class="${series.colour}"></i>${escape(series.name)}<b></b></span>`).join("");
  return `<figure id="${chart.id}"><figcaption><h2>${escape(chart.title)}</h2><span class="at"></span><span class="legend">${legend}</span></figcaption><p class="note">${escape(chart.note)}</p>${drawChart(chart, seconds)}</figure>`;
}

function rows(result: ReplayResult, context: ReportContext): readonly (readonly [string, string])[] {
  const { policies } = result;
  return [
    ["Trace", escape(result.trace) + (result.brokenLines > 0 ? ` (${result.brokenLines} broken lines left out)` : "")],
    ["Payload", `${formatBytes(result.payloadBytesPerBlock)} per chunk, seed ${result.seed}`],
    ["Policies", `eviction ${escape(policies.eviction)}, store ${escape(policies.store)}, prefetch ${escape(policies.prefetch)}`],
    ["Stores", result.adapters.length === 0 ? "none: L1 only" : result.adapters.map(escape).join("<br>")],
    ["Again with", `<code>${escape(context.command)}</code>`],
  ];
}

function count(value: number): string {
  return value.toLocaleString("en");
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(2)}%`;
}

/** Six digits draw the same curve and halve the file. */
function significant(value: number): number {
  return Number(value.toPrecision(6));
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
