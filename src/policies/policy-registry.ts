import { ConfigError, errorText, KvferryError, PluginError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { isClass, loadExport, looksLikeModulePath } from "../plugins/load-export.ts";

/** A class, or a function that makes one. */
export type PolicySource<Policy, Context> = (new (context: Context) => Policy) | ((context: Context) => Policy);

/** A policy that was found and can be made; `name` is what the user wrote. */
export interface PolicyFactory<Policy, Context> {
  readonly name: string;
  create(context: Context): Policy;
}

export interface PolicyKind {
  /** "store", "prefetch" or "eviction". */
  readonly word: string;
  /** Methods that a policy of this kind must have. */
  readonly methods: readonly string[];
  /** Other fields that it must have, with their types. */
  readonly fields: Readonly<Record<string, "string" | "boolean" | "number">>;
  /** What to say to a name that belongs somewhere else. */
  readonly advice?: Readonly<Record<string, string>>;
}

/** Policies of one kind by name. Names are case-sensitive, as LMCache spells them. */
export class PolicyRegistry<Policy extends object, Context> {
  readonly #kind: PolicyKind;
  readonly #sources = new Map<string, PolicySource<Policy, Context>>();

  constructor(kind: PolicyKind) {
    this.#kind = kind;
  }

  /** Throws RangeError when the name is taken or could be a path, TypeError when the source is no function. */
  register(name: string, source: PolicySource<Policy, Context>): void {
    const { word } = this.#kind;
    if (typeof name !== "string" || name === "" || looksLikeModulePath(name))
      throw new RangeError(`the name of a ${word} policy must be a non-empty text that does not look like a path, got ${JSON.stringify(name)}`);
    if (typeof source !== "function") throw new TypeError(`${word} policy '${name}' must be a class or a function that makes one, got ${typeof source}`);
    if (this.#sources.has(name)) throw new RangeError(`${word} policy '${name}' is already registered`);
    this.#sources.set(name, source);
  }

  /** Registered names, sorted. */
  names(): string[] {
    return [...this.#sources.keys()].sort();
  }

  /** The policy of this name, without looking at files. Throws ConfigError for `field` when there is none. */
  find(name: string, field: string): PolicyFactory<Policy, Context> {
    const source = this.#sources.get(name);
    if (source === undefined) throw new ConfigError(field, this.#unknown(name));
    return this.#factory(name, name, source);
  }

  /** The policy of this name, or the one that the module at this path exports. Throws ConfigError or PluginError. */
  async resolve(nameOrPath: string, field: string, baseDirectory?: string): Promise<PolicyFactory<Policy, Context>> {
    if (!looksLikeModulePath(nameOrPath)) return this.find(nameOrPath, field);
    const loaded = await loadExport(nameOrPath, { wanted: `${this.#kind.word === "eviction" ? "an" : "a"} ${this.#kind.word} policy`, baseDirectory });
    return this.#factory(nameOrPath, loaded.origin, loaded.value as unknown as PolicySource<Policy, Context>);
  }

  #factory(name: string, origin: string, source: PolicySource<Policy, Context>): PolicyFactory<Policy, Context> {
    const create = (context: Context): Policy => {
      const policy = this.#make(origin, source, context);
      this.#checkShape(origin, policy);
      return policy;
    };
    return { name, create };
  }

  #make(origin: string, source: PolicySource<Policy, Context>, context: Context): Policy {
    try {
      return isClass(source) ? new (source as new (context: Context) => Policy)(context) : (source as (context: Context) => Policy)(context);
    } catch (error) {
      if (error instanceof KvferryError) throw error;
      throw new PluginError(`${this.#kind.word} policy ${origin} could not be made: ${errorText(error)}`, { cause: error });
    }
  }

  #checkShape(origin: string, policy: unknown): void {
    const { word, methods, fields } = this.#kind;
    if (typeof policy !== "object" || policy === null) throw new PluginError(`${word} policy ${origin} should be an object, got ${policy === null ? "null" : typeof policy}`);
    const found = policy as Record<string, unknown>;
    for (const method of methods)
      if (typeof found[method] !== "function") throw new PluginError(`${word} policy ${origin} has no method ${method}(); it needs ${methods.join(", ")}`);
    for (const [field, type] of Object.entries(fields))
      if (typeof found[field] !== type) throw new PluginError(`${word} policy ${origin}: ${field} must be a ${type}, got ${typeof found[field]}`);
  }

  #unknown(name: string): string {
    const { word, advice } = this.#kind;
    const known = this.names();
    if (/\.[cm]?[jt]s(#\w+)?$/.test(name)) return `Unknown ${word} policy '${name}'. Known: ${known.join(", ")}; a module's file is written with its path: './${name}'`;
    const hint = (advice !== undefined && Object.hasOwn(advice, name) ? advice[name] : undefined) ?? didYouMean(name, known);
    return `Unknown ${word} policy '${name}'. Known: ${known.join(", ")}${hint}`;
  }
}
