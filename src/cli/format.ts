/** Numbers and tables for people; JSON output never goes through here. */
import { formatBytes } from "../base/bytes.ts";

/** A title and lines of `name   value`, aligned. */
export function table(title: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${title}\n${rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join("")}`;
}

export function formatPercent(ratio: number): string {
  return `${(100 * ratio).toFixed(2)} %`;
}

export function formatRate(bytes: number, seconds: number): string {
  return seconds > 0 ? `${formatBytes(bytes / seconds)}/s` : "-";
}

export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** `830 ms`, `12.4 s`, `3 min 20 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
