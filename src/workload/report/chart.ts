import { axisFor, timeTicks, type Unit } from "./scale.ts";

export interface Series {
  readonly name: string;
  /** Class of style.ts that gives the colour: c1, c2, ... */
  readonly colour: string;
  readonly values: readonly number[];
  readonly area?: boolean;
  /** Drawn thin and pale behind the others. */
  readonly faint?: boolean;
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  /** One sentence: what the curve is and how to read it. */
  readonly note: string;
  readonly unit: Unit;
  readonly series: readonly Series[];
  /** A dashed line that the curves should be read against. */
  readonly limit?: { readonly value: number; readonly label: string };
}

const width = 560;
const height = 230;
const plot = { left: 66, right: 14, top: 14, bottom: 26 };
const plotWidth = width - plot.left - plot.right;
const plotHeight = height - plot.top - plot.bottom;

/** The plot's place inside the drawing, for the script that follows the pointer. */
export const chartGeometry = { width, height, left: plot.left, top: plot.top, plotWidth, plotHeight };

/** Top of the value axis; the script places its dots with it. */
export function axisMaxOf(chart: Chart): number {
  return axisFor(highest(chart), chart.unit).max;
}

/** One chart as an SVG drawing with axes, curves and an empty layer for the pointer. */
export function drawChart(chart: Chart, seconds: readonly number[]): string {
  const axis = axisFor(highest(chart), chart.unit);
  const duration = Math.max(seconds.at(-1) ?? 0, 1e-3);
  const x = (value: number): number => plot.left + (value / duration) * plotWidth;
  const y = (value: number): number => plot.top + (1 - Math.min(1, value / axis.max)) * plotHeight;
  const parts: string[] = [];
  for (const tick of axis.ticks) {
    parts.push(`<line class="grid" x1="${plot.left}" x2="${width - plot.right}" y1="${round(y(tick.value))}" y2="${round(y(tick.value))}"/>`);
    parts.push(`<text class="tick" x="${plot.left - 8}" y="${round(y(tick.value) + 4)}" text-anchor="end">${tick.label}</text>`);
  }
  for (const tick of timeTicks(duration)) {
    const anchor = x(tick.value) > width - plot.right - 12 ? "end" : "middle";
    parts.push(`<text class="tick" x="${round(x(tick.value))}" y="${height - 8}" text-anchor="${anchor}">${tick.label}</text>`);
  }
  for (const series of chart.series) {
    const points = series.values.map((value, index) => `${round(x(seconds[index]))} ${round(y(value))}`);
    if (points.length === 0) continue;
    if (series.area === true)
      parts.push(`<path class="area ${series.colour}" d="M${round(x(seconds[0]))} ${y(0)}L${points.join("L")}L${round(x(seconds.at(-1) as number))} ${y(0)}Z"/>`);
    parts.push(`<path class="line ${series.colour}${series.faint === true ? " faint" : ""}" d="M${points.join("L")}"/>`);
  }
  if (chart.limit !== undefined) {
    const at = y(chart.limit.value);
    parts.push(`<line class="limit" x1="${plot.left}" x2="${width - plot.right}" y1="${round(at)}" y2="${round(at)}"/>`);
    // Beside the top edge the label goes below its line, else it would leave the drawing.
    parts.push(`<text class="limit-label" x="${width - plot.right - 4}" y="${round(at + (at < plot.top + 16 ? 14 : -6))}" text-anchor="end">${chart.limit.label}</text>`);
  }
  parts.push(`<g class="pointer"></g>`);
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${chart.title}">${parts.join("")}</svg>`;
}

function highest(chart: Chart): number {
  let max = chart.limit?.value ?? 0;
  for (const series of chart.series) for (const value of series.values) if (value > max) max = value;
  return max;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
