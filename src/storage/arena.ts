import { GiB } from "../base/bytes.ts";
import { ConfigError, errorText } from "../base/errors.ts";
import type { NativeArena } from "../native/binding.ts";
import type { NativeRuntime } from "../native/runtime.ts";
import type { StorageConfig } from "./config.ts";

/**
 * A storage that is filled at once must not wait for pages, and one that is a small buffer must not take the memory of a large one: so
 * much of L1 is populated before it is needed.
 */
const populateAheadBytes = GiB;

/** The memory of L1. Throws ConfigError naming the field when the host refuses it. */
export function openArena(runtime: NativeRuntime, l1: StorageConfig["l1"]): NativeArena {
  const { sizeBytes, alignBytes, hugePages, sharedName } = l1;
  try {
    return runtime.openArena({ sizeBytes, alignBytes, hugePages, sharedName: sharedName === "" ? undefined : sharedName, populateAheadBytes });
  } catch (error) {
    const field = sharedName === "" ? "l1.sizeBytes" : "l1.sharedName";
    throw new ConfigError(field, `${field}: this host refuses the memory: ${errorText(error)}`, { cause: error });
  }
}
