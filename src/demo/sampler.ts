import { SeededRandom } from "../base/random.ts";

export interface SamplerOptions {
  /** 0 = always the likeliest token. */
  readonly temperature: number;
  readonly seed: number;
}

/** Positions per seed; more than any context here. */
const positionsMax = 1 << 16;

/**
 * The next token after `position`. Its randomness depends on seed and position alone, so a process that takes over in the middle draws
 * what its dead predecessor would have drawn, with no state to hand over but the text.
 */
export function chooseToken(logits: Float32Array, position: number, options: SamplerOptions): number {
  if (options.temperature === 0) return likeliest(logits);
  const largest = logits[likeliest(logits)];
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / options.temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let rest = new SeededRandom(options.seed * positionsMax + position).nextFloat() * total;
  for (let token = 0; token < weights.length; token++) {
    rest -= weights[token];
    if (rest < 0) return token;
  }
  return weights.length - 1;
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let token = 1; token < logits.length; token++) if (logits[token] > logits[best]) best = token;
  return best;
}
