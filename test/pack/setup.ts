import { readFileSync } from "node:fs";

/** What scripts/test-pack.mjs prepared: one tarball, and the programs to try it with. */
export interface PackSetup {
  readonly directory: string;
  readonly tarball: string;
  readonly listing: { readonly size: number; readonly unpackedSize: number; readonly files: readonly { readonly path: string; readonly size: number }[] };
  /** Path of the node binary by version. */
  readonly nodes: Readonly<Record<string, string>>;
  /** Path of npm-cli.js by major version. */
  readonly npms: Readonly<Record<string, string>>;
}

export const setup = readSetup();

function readSetup(): PackSetup {
  const path = process.env.KVFERRY_PACK_SETUP;
  if (path === undefined) throw new Error("run these tests with: npm run test:pack");
  return JSON.parse(readFileSync(path, "utf8")) as PackSetup;
}
