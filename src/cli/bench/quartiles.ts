/** Lower quartile, median and upper quartile by linear interpolation; what a figure of several rounds is printed as. */
export interface Quartiles {
  readonly lower: number;
  readonly median: number;
  readonly upper: number;
}

export function quartiles(values: readonly number[]): Quartiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (fraction: number): number => {
    const position = fraction * (sorted.length - 1);
    const below = Math.floor(position);
    const share = position - below;
    return share === 0 ? sorted[below] : sorted[below] * (1 - share) + sorted[below + 1] * share;
  };
  return { lower: at(0.25), median: at(0.5), upper: at(0.75) };
}
