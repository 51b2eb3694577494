// npm run test:pack [-- --no-prebuild] [-- --no-build]: packs the package once and tests that tarball: what is in it, what its
// binaries need, and an install of it under npm 11 and 12 that then runs on every promised Node version.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { run } from "./lib/run.mjs";
import { nodeBinary, nodeVersions, tool } from "./lib/tools.mjs";

const { values } = parseArgs({ options: { "no-prebuild": { type: "boolean", default: false }, "no-build": { type: "boolean", default: false } } });
const directory = mkdtempSync(join(tmpdir(), "kvferry-pack-"));
try {
  if (!values["no-build"]) {
    await run(process.execPath, ["scripts/build-ts.mjs"], { show: true });
    await run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.dev.json"], { show: true });
  }
  if (!values["no-prebuild"]) await run(process.execPath, ["scripts/prebuild.mjs"], { show: true });
  mkdirSync(directory, { recursive: true });
  const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", directory, "--loglevel", "error"]);
  // npm 12 answers with an object by package name, npm 11 with a list.
  const parsed = JSON.parse(packed.stdout.slice(packed.stdout.search(/^[[{]/m)));
  const [listing] = Array.isArray(parsed) ? parsed : Object.values(parsed);
  const nodes = {};
  for (const version of nodeVersions) nodes[version] = await nodeBinary(version);
  const setup = {
    directory,
    tarball: join(directory, listing.filename),
    listing: { size: listing.size, unpackedSize: listing.unpackedSize, files: listing.files.map(({ path, size }) => ({ path, size })) },
    nodes,
    npms: { 11: join(await tool("npm@11.19.1"), "bin", "npm-cli.js"), 12: join(await tool("npm@12.2.0"), "bin", "npm-cli.js") },
  };
  writeFileSync(join(directory, "setup.json"), JSON.stringify(setup));
  const { code } = await run(process.execPath, ["scripts/test.mjs", "--no-build", "--only", "pack", "--concurrency", "1"], {
    show: true,
    check: false,
    env: { ...process.env, KVFERRY_PACK_SETUP: join(directory, "setup.json") },
  });
  process.exitCode = code;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
