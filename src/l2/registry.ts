/** L2 adapter types by name: what `--l2-adapter` and the configuration may open. */
import { ConfigError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { show } from "../base/show.ts";
import type { AdapterContext, AdapterSpec, AdapterType, KnownNames, L2Adapter } from "./contract.ts";
import { faultInjectAdapter } from "./fault-inject/spec.ts";
import { fsAdapter } from "./fs/spec.ts";
import { mockAdapter } from "./mock/spec.ts";
import { pluginAdapter } from "./plugin/spec.ts";

const types = new Map<string, AdapterType>();
for (const type of [mockAdapter, fsAdapter, faultInjectAdapter, pluginAdapter]) types.set(type.type, type);

/** LMCache 0.5.6's other adapter types, each with what serves its purpose here. */
const lmcacheOnly: Readonly<Record<string, string>> = {
  fs_native: "use 'fs' (it moves bytes natively; rename max_capacity_gb as it is, leave num_workers out)",
  hf3fs: "use 'fs' on the mounted file system",
  raw_block: "use 'fs' on a file system of that device",
  dax: "use 'fs' on a DAX file system",
  nixl_native: "use 'fs'",
  nixl_store: "use 'fs'",
  nixl_store_dynamic: "use 'fs'",
  native_plugin: "use 'plugin' with a JavaScript module",
  resp: "not there yet; use 'fs', or 'plugin' with a Redis client",
  valkey: "not there yet; use 'fs', or 'plugin' with a Valkey client",
  s3: "not there yet; use 'fs' on a mounted bucket, or 'plugin' with an S3 client",
  aerospike: "use 'plugin' with its client",
  bigtable: "use 'plugin' with its client",
  hfbucket: "use 'plugin' with its client",
  mooncake_store: "use 'plugin' with its client",
  p2p: "use 'fs' on shared storage of one owner, or 'plugin'",
  "sagemaker-hyperpod": "use 'plugin' with its client",
};

/** Makes `type` known by its name. Throws TypeError when the name is taken: a silent replacement would change what a configuration means. */
export function registerL2Adapter(type: AdapterType): void {
  if (typeof type?.type !== "string" || type.type === "") throw new TypeError("registerL2Adapter: type.type must be a non-empty string");
  if (typeof type.parse !== "function" || typeof type.open !== "function")
    throw new TypeError(`registerL2Adapter: '${type.type}' must have parse(spec, path) and open(spec, context)`);
  if (types.has(type.type)) throw new TypeError(`registerL2Adapter: the type '${type.type}' is already registered`);
  types.set(type.type, type);
}

export function l2AdapterTypes(): readonly AdapterType[] {
  return [...types.values()];
}

/** Checks one spec and fills in defaults; opens nothing. `path` is how the user knows it: `--l2-adapter #1` or `l2.adapters[0]`. */
export function parseAdapterSpec(spec: unknown, path: string, known?: Partial<KnownNames>): AdapterSpec {
  if (typeof spec !== "object" || spec === null || Array.isArray(spec))
    throw new ConfigError(path, `${path}: expected a JSON object, got ${kindOf(spec)}`);
  const { type: name } = spec as { type?: unknown };
  if (name === undefined) throw new ConfigError(`${path}.type`, `${path}: missing 'type' field. Known: ${knownTypes()}`);
  if (typeof name !== "string") throw new ConfigError(`${path}.type`, `${path}: type must be a text, got ${show(name)}. Known: ${knownTypes()}`);
  const type = types.get(name);
  if (type !== undefined)
    return type.parse(spec as AdapterSpec, path, { ...known, parseNested: (inner, innerPath) => parseAdapterSpec(inner, innerPath, known) });
  const advice = lmcacheOnly[name];
  if (advice !== undefined && Object.hasOwn(lmcacheOnly, name))
    throw new ConfigError(`${path}.type`, `${path}: adapter type '${name}' is LMCache's and not kvferry's: ${advice}. Known: ${knownTypes()}`);
  throw new ConfigError(`${path}.type`, `${path}: unknown adapter type '${name}'. Known: ${knownTypes()}${didYouMean(name, types.keys())}`);
}

/** The n-th (from 1) `--l2-adapter` flag of a command line: JSON text to a checked spec. */
export function parseAdapterFlag(jsonText: string, position: number, known?: Partial<KnownNames>): AdapterSpec {
  const path = `--l2-adapter #${position}`;
  let spec: unknown;
  try {
    spec = JSON.parse(jsonText);
  } catch (error) {
    throw new ConfigError(path, `Invalid JSON for ${path}: ${(error as SyntaxError).message}`, { cause: error });
  }
  return parseAdapterSpec(spec, path, known);
}

/** Opens a spec that parseAdapterSpec returned. */
export function openL2Adapter(spec: AdapterSpec, context: AdapterContext): Promise<L2Adapter> {
  const type = types.get(spec.type);
  if (type === undefined) throw new ConfigError("type", `unknown adapter type '${spec.type}'. Known: ${knownTypes()}`);
  return type.open(spec, context);
}

/** A context with `open` that makes nested adapters (`fs#0.inner`) from specs of the same registry. */
export function adapterContext(base: Omit<AdapterContext, "open">): AdapterContext {
  const context: AdapterContext = {
    ...base,
    open: (spec, nameSuffix) => openL2Adapter(spec, adapterContext({ ...base, name: `${base.name}.${nameSuffix}` })),
  };
  return context;
}

function knownTypes(): string {
  return [...types.keys()].sort().join(", ");
}

/** LMCache names the kind by Python's word, which operators grep for. */
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "list";
  if (value === null) return "null";
  return typeof value === "string" ? "str" : typeof value;
}
