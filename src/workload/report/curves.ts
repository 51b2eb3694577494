import { formatBytes } from "../../base/bytes.ts";
import type { ReplayResult, ReplaySample } from "../replay-result.ts";
import type { Chart } from "./chart.ts";

/** More points than pixels only make the file larger. */
const pointsMax = 560;

/** Samples thinned out evenly, first and last kept. What goes up and down keeps its highest value of those left out: a peak is what L1 is sized by. */
export function thin(samples: readonly ReplaySample[]): readonly ReplaySample[] {
  if (samples.length <= pointsMax) return samples;
  const indexOf = (point: number): number => Math.round((point * (samples.length - 1)) / (pointsMax - 1));
  return Array.from({ length: pointsMax }, (_, point) => {
    const sample = samples[indexOf(point)];
    if (point === 0 || point === pointsMax - 1) return sample;
    const bin = samples.slice(indexOf(point - 1) + 1, indexOf(point) + 1);
    return { ...sample, l1UsedBytes: Math.max(...bin.map((each) => each.l1UsedBytes)), queuedChunks: Math.max(...bin.map((each) => each.queuedChunks)) };
  });
}

/** The report's four charts. */
export function curvesOf(result: ReplayResult, samples: readonly ReplaySample[]): readonly Chart[] {
  const ratio = (hit: number, requested: number): number => (requested === 0 ? 0 : hit / requested);
  const overWindow = windowed(samples);
  return [
    {
      id: "hits",
      title: "Prefix hit ratio",
      note: "Leading chunks found, over chunks requested: since the start, and over the last moments.",
      unit: "percent",
      series: [
        { name: "last moments", colour: "c4", faint: true, values: overWindow((now, then) => ratio(now.chunksHit - then.chunksHit, now.chunksRequested - then.chunksRequested)) },
        { name: "since start", colour: "c1", values: samples.map((sample) => ratio(sample.chunksHit, sample.chunksRequested)) },
      ],
      limit: { value: result.infinitePrefixHitRatio, label: `never-evicting store: ${(100 * result.infinitePrefixHitRatio).toFixed(2)}%` },
    },
    {
      id: "l1",
      title: "Bytes in L1",
      note: "Slots in use, writes being filled and chunks still owed to a store included.",
      unit: "bytes",
      series: [{ name: "in use", colour: "c2", area: true, values: samples.map((sample) => sample.l1UsedBytes) }],
      limit: { value: result.l1.capacityBytes, label: `capacity ${formatBytes(result.l1.capacityBytes)}` },
    },
    {
      id: "rates",
      title: "Store and load rate",
      note: "Payload confirmed by the stores, and payload loaded back and checked byte by byte.",
      unit: "bytes-per-second",
      series: [
        { name: "stored", colour: "c3", values: overWindow((now, then) => perSecond(now.storedBytes - then.storedBytes, now, then)) },
        { name: "loaded", colour: "c1", values: overWindow((now, then) => perSecond(now.loadedBytes - then.loadedBytes, now, then)) },
      ],
    },
    {
      id: "queue",
      title: "Queue to L2",
      note: "Chunks committed in L1 and still owed to a store. A curve that only climbs means that L2 is slower than the writer.",
      unit: "count",
      series: [{ name: "chunks owed", colour: "c4", area: true, values: samples.map((sample) => sample.queuedChunks) }],
    },
  ];
}

/** Compares each sample with the one a window earlier; the window is a fortieth of the run, at least five samples. */
function windowed(samples: readonly ReplaySample[]): (difference: (now: ReplaySample, then: ReplaySample) => number) => number[] {
  const span = Math.max(5, Math.round(samples.length / 40));
  return (difference) => {
    const values = samples.map((now, index) => difference(now, samples[Math.max(0, index - span)]));
    // The first sample has nothing before it; a curve that starts at 0 would say that nothing happened at first.
    if (values.length > 1) values[0] = values[1];
    return values;
  };
}

function perSecond(bytes: number, now: ReplaySample, then: ReplaySample): number {
  return now.atMs > then.atMs ? (1000 * bytes) / (now.atMs - then.atMs) : 0;
}
