import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Makes a directory and its missing parents, one by one from the deepest that is there. Not Node's recursive mkdir: that never ends where
 * a file system refuses children with ENOENT (/proc), and says ENOENT where the truth is EROFS.
 */
export async function makeDirectory(path: string): Promise<void> {
  const missing: string[] = [];
  let place = resolve(path);
  while (!(await isDirectory(place))) {
    missing.push(place);
    if (dirname(place) === place) break;
    place = dirname(place);
  }
  for (const folder of missing.reverse()) await makeOne(folder);
}

/** Another process may be first: that is as good. */
async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !(await isDirectory(path))) throw error;
  }
}

/** False when nothing is there. Throws when a file is, on the way or at the end of it. */
async function isDirectory(path: string): Promise<boolean> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw error;
  }
  throw Object.assign(new Error(`ENOTDIR: not a directory, '${path}'`), { code: "ENOTDIR" });
}
