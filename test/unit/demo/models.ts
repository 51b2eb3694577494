import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { findModel, openModel, shippedModel, type OpenModel } from "../../../src/demo/model-files.ts";
import { chooseToken, type SamplerOptions } from "../../../src/demo/sampler.ts";
import { Llama } from "../../../src/demo/llama.ts";
import { KvSequence, PagedKvPool } from "../../../src/demo/paged-kv.ts";
import { beginToken } from "../../../src/demo/tokenizer.ts";
import { packageRoot } from "../../../src/native/load.ts";

export const greedy: SamplerOptions = { temperature: 0, seed: 0 };

/** Karpathy's stories260K, a third party's file: KVFERRY_MODEL names it, else it is looked for beside the repository. */
export const storiesPath = process.env.KVFERRY_MODEL || join(packageRoot(), "..", "shared", "data", "stories260K.bin");

export function openShipped(): OpenModel {
  return openModel(shippedModel());
}

/** The models that are here: the shipped one always, stories260K where it lies. Says aloud which one is missing. */
export function eachModel(context: TestContext, body: (model: OpenModel) => void): void {
  body(openShipped());
  if (existsSync(storiesPath)) body(openModel(findModel(storiesPath)));
  else context.diagnostic(`NOT RUN on stories260K: there is no ${storiesPath}; name it in KVFERRY_MODEL`);
}

export function newSequence(model: OpenModel, options: { readonly orderSeed?: number; readonly blockTokens?: number; readonly blockCount?: number } = {}): KvSequence {
  const blockTokens = options.blockTokens ?? 16;
  const blockCount = options.blockCount ?? Math.ceil(model.checkpoint.shape.contextLength / blockTokens);
  return new KvSequence(new PagedKvPool(model.checkpoint.shape, { blockCount, blockTokens, orderSeed: options.orderSeed }));
}

export interface Continuation {
  readonly tokens: readonly number[];
  /** The logits of every step, one copy each. */
  readonly logits: readonly Float32Array[];
}

/** Goes on from `tokens`, of which `sequence` holds the first ones but never all, until `count` tokens are there or the text ends. */
export function continueText(model: OpenModel, sequence: KvSequence, tokens: readonly number[], count: number, options: SamplerOptions = greedy): Continuation {
  if (sequence.length >= tokens.length) throw new RangeError("nothing is left to compute, so there are no logits to go on from");
  const llama = new Llama(model.checkpoint);
  const out = [...tokens];
  const logits: Float32Array[] = [];
  let last = llama.prefill(out.slice(sequence.length), sequence);
  for (;;) {
    logits.push(last.slice());
    const token = chooseToken(last, sequence.length - 1, options);
    if (token === beginToken || out.length >= count) return { tokens: out, logits };
    out.push(token);
    last = llama.forward(token, sequence);
  }
}
