import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";

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
        throw error;
      }
    },
    async write(text) {
      await mkdir(dirname(place), { recursive: true });
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
