import { statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { errorText, PluginError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";

/** A function or class that a user's module exports. */
export type ExportedFunction = (...args: never[]) => unknown;

export interface LoadedExport {
  readonly value: ExportedFunction;
  /** `path#export`, for messages. */
  readonly origin: string;
}

export interface LoadExportOptions {
  /** What is wanted, for messages: "a store policy". */
  readonly wanted: string;
  /** Relative paths start here. Default: the process's working directory. */
  readonly baseDirectory?: string;
  /** Overrides the part after `#`. */
  readonly exportName?: string;
}

/** Whether a name in a configuration is a path to a module: `./x.mjs`, `../x.mjs`, `/abs/x.mjs` or `file:///abs/x.mjs`, each with or without `#name`. */
export function looksLikeModulePath(name: string): boolean {
  return /^(\.{1,2}\/|\/|file:)/.test(name);
}

/** `path#name` in two; the name must be an identifier, so that other `#` in a path stay part of it. */
export function splitModuleName(text: string): { path: string; exportName: string | undefined } {
  const match = /^(.*)#([A-Za-z_$][\w$]*)$/s.exec(text);
  return match === null ? { path: text, exportName: undefined } : { path: match[1], exportName: match[2] };
}

/**
 * Imports a user's module (ES module or CommonJS) and returns the function or class named by `#name`, else its default export, else its
 * only exported function. Throws PluginError.
 */
export async function loadExport(text: string, options: LoadExportOptions): Promise<LoadedExport> {
  const split = splitModuleName(text);
  const exportName = options.exportName ?? split.exportName;
  const path = resolvePath(split.path, options);
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (error) {
    throw new PluginError(`${path} should export ${options.wanted}, but it does not load: ${errorText(error)}`, { cause: error });
  }
  return pickExport(module, path, exportName, options.wanted);
}

function resolvePath(path: string, { wanted, baseDirectory = process.cwd() }: LoadExportOptions): string {
  let absolute: string;
  try {
    absolute = path.startsWith("file:") ? fileURLToPath(path) : resolve(baseDirectory, path);
  } catch (error) {
    throw new PluginError(`${JSON.stringify(path)} is not the URL of a file on this machine: ${errorText(error)}`, { cause: error });
  }
  const found = statSync(absolute, { throwIfNoEntry: false });
  if (found === undefined) throw new PluginError(`${absolute} should export ${wanted}, but there is no such file (given: ${JSON.stringify(path)})`);
  if (!found.isFile()) throw new PluginError(`${absolute} should export ${wanted}, but it is not a file; name the module's file itself`);
  return absolute;
}

function pickExport(module: Record<string, unknown>, path: string, exportName: string | undefined, wanted: string): LoadedExport {
  // Node adds "module.exports" beside the names of a CommonJS module.
  const names = Object.keys(module).filter((name) => name !== "module.exports");
  if (exportName !== undefined) {
    if (!names.includes(exportName)) throw new PluginError(`${path} has no export "${exportName}"; ${exportList(module, names)}${didYouMean(exportName, names)}`);
    const value = module[exportName];
    if (!isFunction(value)) throw new PluginError(`${path}#${exportName} should be ${wanted} (a class or a function that makes one), but it is ${kindOf(value)}`);
    return { value, origin: `${path}#${exportName}` };
  }
  if (isFunction(module.default)) return { value: module.default, origin: `${path}#default` };
  const functions = names.filter((name) => isFunction(module[name]));
  if (functions.length === 1) return { value: module[functions[0]] as ExportedFunction, origin: `${path}#${functions[0]}` };
  const advice = functions.length > 1 ? "; say which one as path#name" : "";
  throw new PluginError(`${path} should export ${wanted} (a class or a function that makes one) as default or as its only function; ${exportList(module, names)}${advice}`);
}

function exportList(module: Record<string, unknown>, names: readonly string[]): string {
  if (names.length === 0) return "it exports nothing";
  return `it exports ${names.map((name) => `${name} (${kindOf(module[name])})`).join(", ")}`;
}

function isFunction(value: unknown): value is ExportedFunction {
  return typeof value === "function";
}

/** Classes and functions look alike to typeof; a class's prototype cannot be written. */
export function isClass(value: unknown): boolean {
  return typeof value === "function" && Object.getOwnPropertyDescriptor(value, "prototype")?.writable === false;
}

function kindOf(value: unknown): string {
  if (isClass(value)) return "class";
  if (value === null) return "null";
  return typeof value;
}
