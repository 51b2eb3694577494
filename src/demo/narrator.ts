import { Llama } from "./llama.ts";
import { KvLink } from "./kv-link.ts";
import { openModel, type OpenModel } from "./model-files.ts";
import { KvSequence, PagedKvPool } from "./paged-kv.ts";
import { chooseToken } from "./sampler.ts";
import type { NarratorOrder, StoryEvent } from "./story-events.ts";
import { beginToken } from "./tokenizer.ts";

/**
 * One engine process: takes the text so far, gets from kvferry what KV it can, computes the rest, and goes on token by token. Every
 * chunk goes to kvferry as soon as it is full, while the next tokens are being written.
 */
export async function narrate(order: NarratorOrder, emit: (event: StoryEvent) => void): Promise<void> {
  const model = openModel({ name: order.name, checkpointPath: order.modelPath, tokenizerPath: order.tokenizerPath });
  const llama = new Llama(model.checkpoint);
  const sequence = newSequence(model, order.blockOrderSeed);
  const openedAt = performance.now();
  const link = await KvLink.open({ directory: order.directory, model, pool: sequence.pool, chunkTokens: order.chunkTokens });
  const openMs = performance.now() - openedAt;
  try {
    const tokens = [...order.tokens];
    const restoredAt = performance.now();
    const restored = await link.restore(sequence, tokens);
    const restoreMs = performance.now() - restoredAt;
    emit({ type: "restored", tokens: restored.tokens, chunks: restored.chunks, restoreMs, openMs });

    const saves: Promise<void>[] = [];
    let savedTokens = restored.tokens - (restored.tokens % order.chunkTokens);
    const saveFullChunks = (): void => {
      for (; savedTokens + order.chunkTokens <= sequence.length; savedTokens += order.chunkTokens)
        saves.push(save(savedTokens / order.chunkTokens));
    };
    const save = async (index: number): Promise<void> => {
      const chunk = await link.save(sequence, tokens, index);
      if (chunk !== undefined) emit({ type: "stored", chunk });
    };
    let logits = llama.prefill(tokens.slice(sequence.length), sequence);
    saveFullChunks();
    while (tokens.length < order.tokensMax) {
      const token = chooseToken(logits, tokens.length - 1, order);
      if (token === beginToken) break;
      await new Promise((resolve) => setTimeout(resolve, order.paceMs));
      tokens.push(token);
      emit({ type: "token", token });
      if (tokens.length < order.tokensMax) logits = llama.forward(token, sequence);
      saveFullChunks();
    }
    await Promise.all(saves);
    const coldPrefillMs = order.measurePrefill ? measurePrefill(model, llama, tokens.slice(0, restored.tokens)) : 0;
    emit({ type: "done", l1UsedBytes: link.l1UsedBytes(), coldPrefillMs });
  } finally {
    await link.close();
  }
}

/** A sequence over a pool of its own, with room for two contexts, so that the order of blocks has something to choose from. */
export function newSequence(model: OpenModel, blockOrderSeed: number): KvSequence {
  const blockTokens = 16;
  const blockCount = 2 * Math.ceil(model.checkpoint.shape.contextLength / blockTokens);
  return new KvSequence(new PagedKvPool(model.checkpoint.shape, { blockCount, blockTokens, orderSeed: blockOrderSeed }));
}

/** Measured last, when the compiler has long warmed up: an honest, low figure for what the restored tokens would have cost. */
function measurePrefill(model: OpenModel, llama: Llama, tokens: readonly number[]): number {
  const startedAt = performance.now();
  llama.prefill(tokens, newSequence(model, 0));
  return performance.now() - startedAt;
}
