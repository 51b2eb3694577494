import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { errorText } from "../base/errors.ts";
import { UsageError } from "./usage.ts";

/**
 * A new directory below the place that the environment names: the variable in `own` when it is set, else TMPDIR. A place that cannot be used is
 * refused by the variable's name, as a flag would be.
 */
export function makeTemporaryDirectory(prefix: string, own: Readonly<Record<string, string | undefined>> = {}): string {
  const [named, place] = Object.entries(own).find(([, value]) => value !== undefined) ?? ["TMPDIR", undefined];
  const directory = place ?? tmpdir();
  try {
    return mkdtempSync(join(directory, prefix));
  } catch (error) {
    throw new UsageError(`${named} must name a directory that can be written, got "${directory}" (${errorText(error)})`);
  }
}
