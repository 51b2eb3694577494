import { statfs } from "node:fs/promises";
import { resolve } from "node:path";

import { GiB } from "../../base/bytes.ts";
import { AdapterError, errorText, KvferryError } from "../../base/errors.ts";
import { makeDirectory } from "../../base/make-directory.ts";
import type { AdapterContext, L2Adapter } from "../contract.ts";
import { prepareDirectory, readNamespaces } from "./directory.ts";
import { FreeSpace } from "./free-space.ts";
import { FsAdapter } from "./fs-adapter.ts";
import { OwnerLock } from "./owner-lock.ts";
import type { FsSpec } from "./parts.ts";

/** Takes the directory, reads what describes it, and starts to read what lies in it. */
export async function openFsAdapter(spec: FsSpec, context: AdapterContext): Promise<L2Adapter> {
  const basePath = resolve(spec.base_path);
  try {
    await makeDirectory(basePath);
    const lock = await OwnerLock.take(basePath, context.name, context.clock, context.native.binding);
    try {
      const marker = await prepareDirectory(basePath, context.name, context.clock);
      const described = await readNamespaces(basePath, context.namespaces);
      const rules = { minFreeBytes: spec.min_free_gb * GiB, minFreePercent: spec.min_free_percent, minFreeInodesPercent: spec.min_free_inodes_percent };
      const freeSpace = new FreeSpace(rules, context.clock, () => statfs(basePath));
      await freeSpace.sample();
      const adapter = new FsAdapter({ spec, basePath, marker, lock, freeSpace, context });
      adapter.start(described);
      return adapter;
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    if (error instanceof KvferryError) throw error;
    throw new AdapterError(context.name, `base_path ${basePath} cannot be used: ${errorText(error)}`, { cause: error });
  }
}
