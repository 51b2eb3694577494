#!/usr/bin/env node
// What prebuildify calls in node-gyp's place: the addon is built by CMake, through cmake-js. gyp's flags are ignored; the target
// comes from the environment that scripts/prebuild.mjs and prebuildify set. The current directory is the staging directory.
"use strict";
const { spawnSync } = require("node:child_process");
const { dirname, join } = require("node:path");

const root = process.env.KVFERRY_PREBUILD_ROOT;
const toolchain = process.env.KVFERRY_PREBUILD_TOOLCHAIN;
const cmakeJs = join(dirname(require.resolve("cmake-js/package.json", { paths: [root] })), "bin", "cmake-js");
const options = ["-d", root, "-O", join(process.cwd(), "build"), "-a", process.env.PREBUILD_ARCH, "--CDKVFERRY_TESTS=OFF"];
if (toolchain) options.push(`--CDCMAKE_TOOLCHAIN_FILE=${toolchain}`);
const result = spawnSync(process.execPath, [cmakeJs, "rebuild", ...options], { stdio: "inherit" });
process.exit(result.status ?? 1);
