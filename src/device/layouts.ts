import { didYouMean } from "../base/nearest.ts";
import type { DeviceLayoutSpec, MemoryRegion } from "./contract.ts";

/**
 * The KV formats of engines under LMCache's names. A name spells the shape: before an `X` come lists of tensors (one region each), the rest
 * is one C-contiguous tensor from the outermost dimension to the innermost. NB blocks, NL layers, TWO = K and V, BS tokens per block, NH heads,
 * HS head size, CS content size (K and V packed, or whatever one head of one token holds); NBBS = NB x BS, ONE = 1, TWO_HS = K and V packed
 * in the last dimension.
 */
export const engineKvFormats = [
  /** vLLM, cross-layer blocks. */
  "NB_NL_TWO_BS_NH_HS",
  /** vLLM, FlashAttention before 0.23. */
  "NL_X_TWO_NB_BS_NH_HS",
  /** vLLM, FlashInfer; everything but MLA from 0.23 on. */
  "NL_X_NB_TWO_BS_NH_HS",
  /** vLLM, MLA. */
  "NL_X_NB_BS_HS",
  /** SGLang, MHA inside the engine. */
  "TWO_X_NL_X_NBBS_NH_HS",
  /** SGLang, MLA. */
  "NL_X_NBBS_ONE_HS",
  /** vLLM, FlashAttention with heads outside tokens. */
  "NL_X_TWO_NB_NH_BS_HS",
  /** vLLM, FlashInfer with heads outside tokens. */
  "NL_X_NB_TWO_NH_BS_HS",
  /** TensorRT-LLM, cross-layer blocks. */
  "NB_NL_TWO_NH_BS_HS",
  /** SGLang, MHA through the MP server. */
  "TWO_X_NL_X_NB_BS_NH_HS",
  /** vLLM, K and V packed, heads outside tokens. */
  "NL_X_NB_NH_BS_TWO_HS",
  "NL_X_NB_NH_BS_CS",
  /** vLLM, K and V packed. */
  "NL_X_NB_BS_NH_TWO_HS",
  "NL_X_NB_BS_NH_CS",
] as const;
export type EngineKvFormat = (typeof engineKvFormats)[number];

/** Pages of values followed by pages of scales: two layouts, not one. */
const blockedScaleFormat = "NL_X_NB_BSV_BSS";

export interface EngineKvShape {
  readonly layers: number;
  readonly blocks: number;
  readonly blockTokens: number;
  /** 1 where the format has no heads. */
  readonly heads?: number;
  /** Elements; for the formats that end in CS, the content size. */
  readonly headSize: number;
  readonly elementBytes: number;
  /** Tokens per object. */
  readonly chunkTokens: number;
  /** Bytes from block to block where they are padded or shared with other groups; default: no gap. */
  readonly blockStride?: number;
}

/** The layout of an engine's KV in one of its known formats. `regions`: one per tensor, lists flattened from the outermost on. */
export function engineLayout(format: EngineKvFormat, shape: EngineKvShape, regions: readonly MemoryRegion[]): DeviceLayoutSpec {
  const { lists, dimensions } = parse(format);
  const heads = dimensions.includes("NH") ? (shape.heads ?? 1) : 1;
  if (heads !== (shape.heads ?? 1)) throw new RangeError(`heads is ${shape.heads}, but format ${format} has no heads: leave it out, or make it 1`);
  const packed = dimensions.at(-1) === "TWO_HS" ? 2 : 1;
  const planes = lists.includes("TWO") || dimensions.includes("TWO") ? 2 : 1;
  const headBytes = packed * shape.headSize * shape.elementBytes;
  const counts: Record<string, number> = { NB: shape.blocks, NL: shape.layers, TWO: 2, BS: shape.blockTokens, NH: heads, ONE: 1 };

  const strides: Record<string, number> = {};
  let span = headBytes;
  for (const dimension of dimensions.slice(0, -1).reverse()) {
    if (dimension === "NB" && shape.blockStride !== undefined) {
      if (shape.blockStride < span) throw new RangeError(`blockStride is ${shape.blockStride}, but a block of ${format} has ${span} bytes`);
      span = shape.blockStride;
    }
    strides[dimension] = span;
    span *= counts[dimension];
  }
  const tensors = lists.reduce((product, list) => product * counts[list], 1);
  if (regions.length !== tensors) throw new RangeError(`regions has ${regions.length} entries, but format ${format} with ${shape.layers} layers is ${tensors} tensors`);
  return {
    regions,
    layers: shape.layers,
    planes,
    heads,
    headBytes,
    blockTokens: shape.blockTokens,
    chunkTokens: shape.chunkTokens,
    blockCount: shape.blocks,
    blockStride: strides.NB,
    planeStride: strides.TWO ?? 0,
    layerStride: strides.NL ?? 0,
    tokenStride: strides.BS,
    headStride: strides.NH ?? headBytes,
  };
}

/** The lists in front and the dimensions of one tensor, outermost first. */
function parse(format: EngineKvFormat): { readonly lists: readonly string[]; readonly dimensions: readonly string[] } {
  if ((format as string) === blockedScaleFormat) throw new RangeError(`format ${format} holds values and scales in pages of their own: register them as two layouts`);
  if (!engineKvFormats.includes(format))
    throw new RangeError(`format must be one of ${engineKvFormats.join(", ")}; got ${JSON.stringify(format)}${didYouMean(String(format), engineKvFormats)}`);
  const groups = format.split("_X_");
  const tensor = groups[groups.length - 1].replace("NBBS", "NB_BS").replace(/TWO_HS$/, "TWO-HS");
  return { lists: groups.slice(0, -1), dimensions: tensor.split("_").map((name) => name.replace("-", "_")) };
}
