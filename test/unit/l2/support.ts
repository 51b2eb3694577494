/** An fs directory with an adapter on it, in few words. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { KeyBatch } from "../../../src/keys/key-batch.ts";
import { Harness, type TestContext } from "../../../src/l2/conformance/harness.ts";
import type { L2Adapter } from "../../../src/l2/contract.ts";
import type { FsAdapter } from "../../../src/l2/fs/fs-adapter.ts";
import { openL2Adapter, parseAdapterSpec } from "../../../src/l2/registry.ts";
import { type AdapterTestContextOptions, createAdapterTestContext } from "../../../src/testing.ts";

export class FsPlace {
  readonly path: string;
  readonly harness: Harness;
  readonly #fields: object;

  private constructor(path: string, fields: object, context: TestContext) {
    this.path = path;
    this.#fields = fields;
    this.harness = new Harness(1, { open: (given) => openL2Adapter(this.spec(), given) }, context);
  }

  static async create(fields: object = {}, options: AdapterTestContextOptions = {}): Promise<FsPlace> {
    return FsPlace.within(createAdapterTestContext(options), fields);
  }

  /** With a context that the caller made. */
  static async within(context: TestContext, fields: object = {}): Promise<FsPlace> {
    return new FsPlace(await mkdtemp(join(tmpdir(), "kvferry-fs-")), fields, context);
  }

  /** On a directory that is there already. */
  static on(path: string, fields: object = {}, options: AdapterTestContextOptions = {}): FsPlace {
    return new FsPlace(path, fields, createAdapterTestContext(options));
  }

  spec(): ReturnType<typeof parseAdapterSpec> {
    return parseAdapterSpec({ type: "fs", base_path: this.path, min_free_gb: 0, min_free_percent: 0, ...this.#fields }, "fs");
  }

  /** Opened and scanned. */
  async open(): Promise<FsAdapter> {
    const adapter = (await this.harness.open()) as FsAdapter;
    await adapter.scanned();
    return adapter;
  }

  counted(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.harness.context.counters.total(name, labels);
  }

  async objectFiles(): Promise<string[]> {
    const entries = await readdir(join(this.path, "objects"), { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  }

  /** Rewrites a file's bytes in place. */
  async damage(path: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
    await writeFile(path, change(await readFile(path)));
  }

  async end(): Promise<void> {
    await this.harness.finish();
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Stores objects of one size with random bytes. */
export async function storeObjects(harness: Harness, adapter: L2Adapter, count: number, bytes: number, cacheSalt = ""): Promise<{ keys: KeyBatch; payloads: Uint8Array[]; statuses: Uint8Array; sizes: number[] }> {
  const sizes = new Array<number>(count).fill(bytes);
  const keys = harness.keys(sizes, cacheSalt);
  const payloads = harness.payloads(sizes);
  return { keys, payloads, sizes, statuses: await harness.store(adapter, keys, payloads) };
}
