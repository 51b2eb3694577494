import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { errorText, NativeError } from "../base/errors.ts";
import type { NativeBinding } from "./binding.ts";

let binding: NativeBinding | undefined;

/** Loads the addon on first use. Throws NativeError with the command that mends it when there is none for this host. */
export function loadBinding(): NativeBinding {
  binding ??= load();
  return binding;
}

function load(): NativeBinding {
  const root = packageRoot();
  const require = createRequire(import.meta.url);
  const { version } = require(join(root, "package.json")) as { version: string };
  let loaded: NativeBinding;
  try {
    const nodeGypBuild = require("node-gyp-build") as (directory: string) => NativeBinding;
    loaded = nodeGypBuild(root);
  } catch (error) {
    throw new NativeError(
      "KVFERRY_NATIVE_MISSING",
      `kvferry has no native addon that loads on ${process.platform}-${process.arch} (Node ${process.versions.node}): ${errorText(error)}\n` +
        `Build one with: npx kvferry build-native   (needs a C++17 compiler; CMake or Python, whichever is there)`,
      { cause: error },
    );
  }
  // A build folder that outlived an update hides the new prebuilt binary, and would fail later and far less clearly.
  if (loaded.version !== version)
    throw new NativeError(
      "KVFERRY_NATIVE_MISSING",
      `the native addon that was found is of kvferry ${loaded.version}, this is kvferry ${version}\n` +
        `Delete ${join(root, "build")} to use the prebuilt one, or build this one with: npx kvferry build-native`,
    );
  return loaded;
}

/** The directory of kvferry's package.json, from dist/ and from the development build alike. */
export function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "package.json"))) {
    const parent = dirname(directory);
    if (parent === directory) throw new NativeError("KVFERRY_NATIVE_MISSING", "kvferry's package.json was not found above its own code");
    directory = parent;
  }
  return directory;
}
