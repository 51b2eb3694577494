/**
 * What a user's adapter class looks like (docs/adapters.md). It gets keys with stable names and objects as sealed bytes, so it can be
 * written in a few lines over any client library; the wrapper around it verifies, bounds and counts.
 */
import type { Logger } from "../../base/log.ts";
import type { ObjectKey } from "../../keys/object-key.ts";
import type { L2Capabilities, L2Usage, LoadStatus, StoreStatus } from "../contract.ts";

export interface PluginKeys {
  readonly count: number;
  /** A name for key i: 64 hex digits, the same in every process, different for every model, salt, image, rank and group. */
  name(index: number): string;
  /** The key's fields, for adapters that want to see them. */
  key(index: number): ObjectKey;
}

export interface PluginStoreBatch extends PluginKeys {
  /** Bytes of sealed object i. */
  sealedBytes(index: number): number;
  /** A copy of object i with its header: what to keep. */
  copyOut(index: number): Uint8Array;
}

export interface PluginLoadBatch extends PluginKeys {
  /** Bytes that the sealed object i must have. */
  sealedBytes(index: number): number;
  /** Verifies kept bytes and puts them in place. Answers what the load of key i is: return it as the status of that key. */
  copyIn(index: number, sealed: Uint8Array): LoadStatus;
}

export interface PluginCallOptions {
  /** Fires at the deadline or when the storage closes. Work that goes on after it is ignored. */
  readonly signal: AbortSignal;
}

/** What a class gets beside its parameters. The two tables of statuses come along so that a plugin needs to import nothing. */
export interface PluginContext {
  readonly name: string;
  readonly logger: Logger;
  readonly StoreStatus: typeof StoreStatus;
  readonly LoadStatus: typeof LoadStatus;
}

/** Answers are one number per key: an array or a typed array. */
export type PluginAnswers<Status extends number> = ArrayLike<Status>;

export interface PluginAdapter {
  readonly capabilities?: Partial<L2Capabilities>;
  open?(): Promise<void> | void;
  store(batch: PluginStoreBatch, options: PluginCallOptions): Promise<PluginAnswers<StoreStatus>>;
  lookup(keys: PluginKeys, options: PluginCallOptions): Promise<PluginAnswers<number>>;
  load(batch: PluginLoadBatch, options: PluginCallOptions): Promise<PluginAnswers<LoadStatus>>;
  delete(keys: PluginKeys, options: PluginCallOptions): Promise<PluginAnswers<number>>;
  usage?(): L2Usage;
  describe?(): string;
  close?(): Promise<void> | void;
}

export type PluginAdapterClass = new (adapterParams: Readonly<Record<string, unknown>>, context: PluginContext) => PluginAdapter;
