import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { packageRoot } from "../native/load.ts";
import { parseCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { Tokenizer } from "./tokenizer.ts";

export interface ModelFiles {
  /** Short name for people: `stories260K`, `ferry`. */
  readonly name: string;
  readonly checkpointPath: string;
  readonly tokenizerPath: string;
}

export interface OpenModel extends ModelFiles {
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer;
  /** Name and digest of the weights: KV of other weights is other KV, whatever the name of the file. */
  readonly modelName: string;
}

/** The model that ships with the package: trained by scripts/train-tiny-llama.mjs on the tales beside it. */
export function shippedModel(): ModelFiles {
  const folder = join(packageRoot(), "examples", "tiny-llama", "model");
  return { name: "ferry", checkpointPath: join(folder, "ferry.bin"), tokenizerPath: join(folder, "ferry.tok.bin") };
}

/**
 * The model to run: `path` when given, else the file that KVFERRY_MODEL names, else the shipped one. A tokenizer lies beside its
 * checkpoint unless named: NAME.tok.bin for NAME.bin, or llama2.c's tok512.bin or tokenizer.bin.
 */
export function findModel(path: string | undefined = process.env.KVFERRY_MODEL, tokenizerPath?: string): ModelFiles {
  if (path === undefined || path === "") return shippedModel();
  const checkpointPath = resolve(path);
  if (!existsSync(checkpointPath)) throw new RangeError(`there is no model at ${checkpointPath}; give a llama2.c checkpoint (.bin), or none for the shipped model`);
  const folder = dirname(checkpointPath);
  const name = checkpointPath.slice(folder.length + 1).replace(/\.bin$/, "");
  if (tokenizerPath !== undefined) {
    if (!existsSync(tokenizerPath)) throw new RangeError(`there is no tokenizer at ${resolve(tokenizerPath)}`);
    return { name, checkpointPath, tokenizerPath: resolve(tokenizerPath) };
  }
  const candidates = [`${name}.tok.bin`, "tok512.bin", "tokenizer.bin"];
  const tokenizer = candidates.find((candidate) => existsSync(join(folder, candidate)));
  if (tokenizer === undefined) throw new RangeError(`there is no tokenizer beside ${checkpointPath}; looked for ${candidates.join(", ")}`);
  return { name, checkpointPath, tokenizerPath: join(folder, tokenizer) };
}

export function openModel(files: ModelFiles): OpenModel {
  const bytes = readFileSync(files.checkpointPath);
  const checkpoint = parseCheckpoint(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), files.checkpointPath);
  const digest = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  return {
    ...files,
    checkpoint,
    tokenizer: Tokenizer.open(files.tokenizerPath, checkpoint.shape.vocabularySize),
    modelName: `tiny-llama/${files.name}-${digest}`,
  };
}
