/** Units and axis ticks of the report's curves. The page's script formats with the same names (page-script.ts). */
export type Unit = "percent" | "bytes" | "bytes-per-second" | "count";

const binaryUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

export interface Axis {
  readonly max: number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

/** An axis from 0 to a round value of at least `max`, with about `tickCount` round ticks. */
export function axisFor(max: number, unit: Unit, tickCount = 4): Axis {
  if (unit === "percent") {
    const top = Math.max(0.01, Math.min(1, max * 1.08));
    const step = roundStep(top / tickCount);
    return ticksUpTo(top, step, (value) => `${trim(100 * value)}%`, 1);
  }
  if (unit === "count") {
    const top = Math.max(1, max);
    return ticksUpTo(top, Math.max(1, roundStep(top / tickCount)), (value) => value.toLocaleString("en"));
  }
  const top = Math.max(1, max);
  const exponent = Math.min(binaryUnits.length - 1, Math.max(0, Math.floor(Math.log2(top) / 10)));
  const scale = 1024 ** exponent;
  // Steps are powers of two: sizes and capacities nearly always are.
  const suffix = `${binaryUnits[exponent]}${unit === "bytes-per-second" ? "/s" : ""}`;
  return ticksUpTo(top, 2 ** Math.ceil(Math.log2(top / scale / (tickCount + 1)) - 1e-9) * scale, (value) => (value === 0 ? "0" : `${trim(value / scale)} ${suffix}`));
}

/** Ticks in seconds along the run. */
export function timeTicks(seconds: number, tickCount = 6): readonly { readonly value: number; readonly label: string }[] {
  const step = seconds > 120 ? roundStep(seconds / 60 / tickCount) * 60 : roundStep(seconds / tickCount);
  const label = (value: number): string => (seconds > 120 ? `${trim(value / 60)} min` : `${trim(value)} s`);
  return ticksUpTo(seconds, step, label).ticks.filter((tick) => tick.value <= seconds);
}

/** 1, 2, 2.5 or 5 times a power of ten: the smallest that is at least `step`. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  for (const factor of [1, 2, 2.5, 5]) if (factor * power >= step * 0.999) return factor * power;
  return 10 * power;
}

function ticksUpTo(top: number, step: number, label: (value: number) => string, bound = Infinity): Axis {
  const count = Math.max(1, Math.ceil(top / step - 1e-9));
  const ticks = Array.from({ length: count + 1 }, (_, index) => ({ value: index * step, label: label(index * step) })).filter((tick) => tick.value <= bound + 1e-9);
  return { max: Math.min(bound, count * step), ticks };
}

function trim(value: number): string {
  return String(Number(value.toPrecision(4)));
}
