import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export interface SourceFile {
  /** Path from the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** The repository's root, from the compiled test. */
export const root = findRoot();

/** Every file under `directory` whose name ends as one of `endings`, build outputs left out. */
export function filesUnder(directory: string, endings: readonly string[]): SourceFile[] {
  const start = join(root, directory);
  if (!existsSync(start)) return [];
  return readdirSync(start, { recursive: true, encoding: "utf8" })
    .filter((name) => endings.some((ending) => name.endsWith(ending)) && !/(^|\/)(node_modules|build|generated)\//.test(name))
    .map((name) => join(start, name))
    .filter((path) => statSync(path).isFile())
    .sort()
    .map((path) => ({ path: relative(root, path), text: readFileSync(path, "utf8") }));
}

function findRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "package.json"))) directory = dirname(directory);
  return directory;
}
