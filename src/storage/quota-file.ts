import { randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { ConfigError, errorText } from "../base/errors.ts";
import { makeDirectory } from "../base/make-directory.ts";
import type { QuotaStore } from "../policies/index.ts";

/** Keeps quotas in a JSON file; a write replaces it by rename, so that a crash leaves the old or the new text. */
export function quotaFile(path: string): QuotaStore {
  const place = resolve(path);
  return {
    place,
    async read() {
      try {
        return await readFile(place, "utf8");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw new ConfigError("quotas.path", `quotas.path must be a file that can be read or made, got ${JSON.stringify(path)} (${errorText(error)})`, { cause: error });
      }
    },
    async write(text) {
      await makeDirectory(dirname(place));
      const temporary = `${place}.${process.pid}.${randomBytes(6).toString("hex")}.tmp`;
      try {
        await writeFile(temporary, text, { flag: "wx", mode: 0o600 });
        await rename(temporary, place);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
  };
}
