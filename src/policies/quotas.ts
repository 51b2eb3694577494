import { ConfigError, errorText } from "../base/errors.ts";
import { checkCacheSalt } from "../keys/object-key.ts";

/** Where quotas outlive the process. `write` replaces the whole text, or leaves the old one: never a mixture. */
export interface QuotaStore {
  /** What messages call it, for example the path of a file. */
  readonly place: string;
  /** Undefined when nothing was ever written. */
  read(): Promise<string | undefined>;
  write(text: string): Promise<void>;
}

export interface QuotaOptions {
  /** Quota of a salt that was never set. Default Infinity: such a salt is bounded by the tier alone. */
  readonly defaultQuotaBytes?: number;
  /** Left out: quotas live as long as the process. */
  readonly store?: QuotaStore;
}

export interface Quota {
  readonly cacheSalt: string;
  readonly quotaBytes: number;
}

const format = "kvferry-quotas/1";

/**
 * Bytes that each cache salt may hold, by salt. LMCache forgets quotas at a restart and counts an unregistered salt as 0 bytes, so that
 * IsolatedLRU wipes every tenant until they are set again; here they are read back, and an unregistered salt has the default quota.
 *
 * A change is in force once it is kept: `set` and `delete` settle after the store has it, and change nothing when it refuses.
 */
export class QuotaTable {
  readonly defaultQuotaBytes: number;
  readonly #store: QuotaStore | undefined;
  #quotas: ReadonlyMap<string, number>;
  #lastChange: Promise<unknown> = Promise.resolve();

  private constructor(quotas: ReadonlyMap<string, number>, defaultQuotaBytes: number, store: QuotaStore | undefined) {
    this.#quotas = quotas;
    this.defaultQuotaBytes = defaultQuotaBytes;
    this.#store = store;
  }

  /** Reads what the store has. Throws ConfigError when that is not a list of quotas: to ignore it would lift every limit. */
  static async open(options: QuotaOptions = {}): Promise<QuotaTable> {
    const { store, defaultQuotaBytes = Infinity } = options;
    if (!(defaultQuotaBytes >= 0)) throw new ConfigError("defaultQuotaBytes", `defaultQuotaBytes must be 0 or more bytes, got ${defaultQuotaBytes}`);
    const text = await store?.read();
    return new QuotaTable(text === undefined ? new Map() : parseQuotas(text, store?.place ?? ""), defaultQuotaBytes, store);
  }

  /** What this salt may hold: its own quota or the default. */
  get(cacheSalt: string): number {
    return this.#quotas.get(cacheSalt) ?? this.defaultQuotaBytes;
  }

  /** Whether the salt has a quota of its own. */
  has(cacheSalt: string): boolean {
    return this.#quotas.has(cacheSalt);
  }

  /** Quotas that were set, by salt. */
  list(): Quota[] {
    const sorted = [...this.#quotas].sort(([a], [b]) => (a < b ? -1 : 1));
    return sorted.map(([cacheSalt, quotaBytes]) => ({ cacheSalt, quotaBytes }));
  }

  /** Throws RangeError on a forbidden salt or a quota that is not a whole number of bytes. */
  async set(cacheSalt: string, quotaBytes: number): Promise<void> {
    checkQuota(cacheSalt, quotaBytes);
    await this.#change((quotas) => quotas.set(cacheSalt, quotaBytes));
  }

  /** Back to the default. Answers whether there was a quota. */
  async delete(cacheSalt: string): Promise<boolean> {
    let existed = false;
    await this.#change((quotas) => {
      existed = quotas.delete(cacheSalt);
    });
    return existed;
  }

  /** Changes run one after another, each on the outcome of the one before; a failed one does not stop the next. */
  #change(edit: (quotas: Map<string, number>) => void): Promise<void> {
    const apply = async (): Promise<void> => {
      const next = new Map(this.#quotas);
      edit(next);
      await this.#store?.write(formatQuotas(next));
      this.#quotas = next;
    };
    const change = this.#lastChange.then(apply, apply);
    this.#lastChange = change;
    return change;
  }
}

function checkQuota(cacheSalt: string, quotaBytes: number): void {
  checkCacheSalt(cacheSalt);
  if (!Number.isSafeInteger(quotaBytes) || quotaBytes < 0)
    throw new RangeError(`the quota of salt ${JSON.stringify(cacheSalt)} must be a whole number of bytes, 0 or more, got ${quotaBytes}`);
}

function formatQuotas(quotas: ReadonlyMap<string, number>): string {
  return `${JSON.stringify({ format, quotas: Object.fromEntries(quotas) }, null, 2)}\n`;
}

function parseQuotas(text: string, place: string): Map<string, number> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new ConfigError("quotas", `${place}: not JSON (${errorText(error)}); mend or remove it`, { cause: error });
  }
  const file = parsed as { format?: unknown; quotas?: unknown } | null;
  if (typeof file !== "object" || file === null || file.format !== format || typeof file.quotas !== "object" || file.quotas === null)
    throw new ConfigError("quotas", `${place}: expected {"format": "${format}", "quotas": {salt: bytes}}, got ${text.slice(0, 80).trim()}`);
  const quotas = new Map<string, number>();
  for (const [cacheSalt, quotaBytes] of Object.entries(file.quotas)) {
    try {
      checkQuota(cacheSalt, quotaBytes as number);
    } catch (error) {
      throw new ConfigError("quotas", `${place}: ${errorText(error)}`, { cause: error });
    }
    quotas.set(cacheSalt, quotaBytes as number);
  }
  return quotas;
}
