/** Where a replay's report goes: checked before the run without touching what is there, written whole at its end. */
import { access, constants, open, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { errorText } from "../../base/errors.ts";
import { UsageError } from "../usage.ts";

export interface ReportFile {
  write(text: string): Promise<void>;
}

/** An hour's run must not end with a page that cannot be written, nor begin with the last run's page lost. Throws UsageError. */
export async function reportFile(path: string, tracePath: string): Promise<ReportFile> {
  try {
    const target = await targetOf(path, tracePath);
    if (target.special) return { write: (text) => writeFile(target.path, text) };
    const temporary = `${target.path}.${process.pid}.tmp`;
    await writeTemporary(temporary, "");
    await rm(temporary);
    return {
      async write(text) {
        await writeTemporary(temporary, text);
        await rename(temporary, target.path);
      },
    };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--report must be a file that can be written, got "${path}" (${errorText(error)})`);
  }
}

/** The file behind the links; `special` = a pipe or device, which must not be replaced by a file. */
async function targetOf(path: string, tracePath: string): Promise<{ readonly path: string; readonly special: boolean }> {
  let target: string;
  try {
    target = await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { path: join(await realpath(dirname(path)), basename(path)), special: false };
  }
  const [found, trace] = await Promise.all([stat(target), stat(tracePath)]);
  if (found.dev === trace.dev && found.ino === trace.ino) throw new UsageError(`--report must be another file than TRACE, got "${path}" for "${tracePath}"`);
  if (found.isDirectory()) throw new UsageError(`--report must be a file that can be written, got "${path}" (it is a directory)`);
  await access(target, constants.W_OK);
  return { path: target, special: !found.isFile() };
}

async function writeTemporary(path: string, text: string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(text);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}
