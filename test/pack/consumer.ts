import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { setup } from "./setup.ts";

export interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

/** A project that depends on the tarball, and the bare environment in which it lives: PATH holds what `programs` names, no more. */
export class Consumer {
  readonly directory: string;
  readonly #environment: Record<string, string>;
  readonly #bin: string;

  constructor(name: string, nodePath: string, programs: readonly string[] = ["sh"]) {
    this.directory = mkdtempSync(join(setup.directory, `${name}-`));
    this.#bin = join(this.directory, ".bin");
    mkdirSync(this.#bin);
    symlinkSync(nodePath, join(this.#bin, "node"));
    for (const program of programs) symlinkSync(which(program), join(this.#bin, program));
    const home = join(this.directory, ".home");
    mkdirSync(home);
    this.#environment = { PATH: this.#bin, HOME: home, TMPDIR: setup.directory, npm_config_cache: join(setup.directory, "npm-cache"), npm_config_update_notifier: "false", npm_config_audit: "false", npm_config_fund: "false" };
    // How to reach the registry is the machine's business; nothing else of its environment comes in.
    for (const [name, value] of Object.entries(process.env))
      if (value !== undefined && /^(https?_proxy|no_proxy|node_extra_ca_certs|ssl_cert_file|npm_config_(registry|cafile))$/i.test(name)) this.#environment[name] = value;
    const cafile = npmSetting("cafile");
    if (cafile !== undefined) this.#environment.npm_config_cafile = cafile;
    this.#environment.npm_config_registry ??= npmSetting("registry") ?? "https://registry.npmjs.org/";
    writeFileSync(join(this.directory, "package.json"), `${JSON.stringify({ name: "consumer", version: "1.0.0", private: true, type: "module" })}\n`);
  }

  get packageDirectory(): string {
    return join(this.directory, "node_modules", "kvferry");
  }

  install(npmMajor: number, ...args: string[]): Outcome {
    return this.node([setup.npms[npmMajor], "install", setup.tarball, "--foreground-scripts", ...args]);
  }

  /** Runs this project's node, or `nodePath`. */
  node(args: readonly string[], options: { readonly nodePath?: string; readonly environment?: Record<string, string> } = {}): Outcome {
    const { status, stdout, stderr, error } = spawnSync(options.nodePath ?? join(this.#bin, "node"), args, {
      cwd: this.directory,
      env: { ...this.#environment, ...options.environment },
      encoding: "utf8",
      timeout: 300_000,
    });
    return { code: status, output: `${stdout}${stderr}${error === undefined ? "" : String(error)}` };
  }

  write(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }
}

/** scripts/try-package.mjs: a small store and load through the installed package. */
export const roundTripProgram = readFileSync("scripts/try-package.mjs", "utf8");

function which(program: string): string {
  // A version manager's shim needs the rest of that manager; what it leads to does not.
  if (program.startsWith("python")) return execFileSync(program, ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();
  const found = (process.env.PATH ?? "").split(":").map((directory) => join(directory, program)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${program} is not on PATH`);
  return found;
}

const settings = new Map<string, string | undefined>();

function npmSetting(name: string): string | undefined {
  if (!settings.has(name)) {
    const npm = setup.npms[11];
    const { stdout } = spawnSync(process.execPath, [npm, "config", "get", name], { encoding: "utf8", cwd: dirname(setup.tarball) });
    const value = stdout.trim();
    settings.set(name, value === "" || value === "null" || value === "undefined" ? undefined : value);
  }
  return settings.get(name);
}
