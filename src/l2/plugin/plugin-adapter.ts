/**
 * `plugin`: a user's class behind the adapter contract. Whatever the class does (throw, reject, hang, answer nonsense, call a key loaded
 * that it never copied in), the storage sees per-key statuses and the trouble is counted (`kvferry_l2_plugin_faults_total{kind}`).
 */
import { errorText, KvferryError, PluginError } from "../../base/errors.ts";
import type { KeyBatch } from "../../keys/key-batch.ts";
import { loadExport } from "../../plugins/load-export.ts";
import { answerAll, checkBatch } from "../batches.ts";
import {
  type AdapterContext,
  type L2Adapter,
  type L2CallOptions,
  type L2Capabilities,
  type L2Health,
  type L2Usage,
  LoadStatus,
  type ObjectBatch,
  StoreStatus,
} from "../contract.ts";
import { Operations } from "../operations.ts";
import type { PluginAdapter, PluginAdapterClass, PluginAnswers } from "./contract.ts";
import { PluginCall } from "./plugin-batch.ts";

export interface PluginSpec {
  readonly module_path: string;
  readonly class_name: string;
  readonly adapter_params: Readonly<Record<string, unknown>>;
  readonly call_timeout_ms: number;
}

/** How long close() lets running calls go on. */
const closeGraceMs = 5_000;
const methods = ["store", "lookup", "load", "delete"] as const;

export async function openPluginAdapter(spec: PluginSpec, context: AdapterContext): Promise<L2Adapter> {
  const { value, origin } = await loadExport(spec.module_path, { wanted: "an L2 adapter class", exportName: spec.class_name });
  const Adapter = value as unknown as PluginAdapterClass;
  let adapter: PluginAdapter;
  try {
    adapter = new Adapter(spec.adapter_params, { name: context.name, logger: context.logger, StoreStatus, LoadStatus });
    await adapter.open?.();
  } catch (error) {
    if (error instanceof KvferryError) throw error;
    throw new PluginError(`adapter ${origin} could not be opened: ${errorText(error)}`, { cause: error });
  }
  for (const method of methods)
    if (typeof adapter[method] !== "function") throw new PluginError(`adapter ${origin} has no method ${method}(); it needs ${methods.join(", ")}`);
  return new WrappedPlugin(spec, context, adapter, origin);
}

class WrappedPlugin implements L2Adapter {
  readonly type = "plugin";
  readonly name: string;
  readonly capabilities: L2Capabilities;
  readonly #spec: PluginSpec;
  readonly #context: AdapterContext;
  readonly #adapter: PluginAdapter;
  readonly #origin: string;
  readonly #operations: Operations;
  readonly #closing = new AbortController();
  #lastFault = "";

  constructor(spec: PluginSpec, context: AdapterContext, adapter: PluginAdapter, origin: string) {
    this.#spec = spec;
    this.#context = context;
    this.#adapter = adapter;
    this.#origin = origin;
    this.name = context.name;
    this.#operations = new Operations(`adapter ${context.name}`);
    const { persistent = false, evicts = false, shared = false } = adapter.capabilities ?? {};
    this.capabilities = { persistent, evicts, shared, accountsBytes: adapter.usage !== undefined, lists: false, throughJavaScript: true };
  }

  describe(): string {
    let own = "";
    try {
      own = this.#adapter.describe?.() ?? "";
    } catch (error) {
      this.#fault("describe", errorText(error));
    }
    return `${this.name}: plugin ${this.#origin}${own === "" ? "" : `, ${own.replaceAll("\n", " ")}`}; bytes pass through JavaScript`;
  }

  store(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    return this.#call("store", batch.keys, batch, StoreStatus.failed, StoreStatus.refused, options, (call, signal) => this.#adapter.store(call, { signal }));
  }

  lookup(keys: KeyBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    return this.#call("lookup", keys, undefined, 0, 1, options, (call, signal) => this.#adapter.lookup(call, { signal }));
  }

  load(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    return this.#call("load", batch.keys, batch, LoadStatus.failed, LoadStatus.failed, options, async (call, signal) => {
      const answers = await this.#adapter.load(call, { signal });
      return Array.from({ length: answers.length }, (_, index) => {
        if (answers[index] !== LoadStatus.loaded || call.copiedIn[index] === LoadStatus.loaded) return answers[index];
        this.#fault("not_copied_in", `load called key ${index} loaded without copyIn`);
        return call.copiedIn[index] === LoadStatus.missing ? LoadStatus.failed : (call.copiedIn[index] as LoadStatus);
      });
    });
  }

  delete(keys: KeyBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    return this.#call("delete", keys, undefined, 0, 1, options, (call, signal) => this.#adapter.delete(call, { signal }));
  }

  usage(): L2Usage {
    try {
      const usage = this.#adapter.usage?.();
      if (usage !== undefined) return usage;
    } catch (error) {
      this.#fault("usage", errorText(error));
    }
    return { usedBytes: 0, capacityBytes: 0, objectCount: 0, bytesBySalt: {} };
  }

  /** The last call's trouble, if it had any. */
  health(): L2Health {
    return { ready: !this.#operations.closed, problems: this.#lastFault === "" ? [] : [this.#lastFault] };
  }

  async close(): Promise<void> {
    if (this.#operations.closed) return this.#operations.close();
    const timer = this.#context.clock.setTimer(closeGraceMs, () => this.#closing.abort(new KvferryError("KVFERRY_CLOSED", `adapter ${this.name} is closing`)));
    await this.#operations.close();
    timer.cancel();
    try {
      await this.#adapter.close?.();
    } catch (error) {
      this.#fault("close", errorText(error));
    }
  }

  /** One call of the class, bounded by the caller's signal, the time-out and close(); whatever happens, one answer per key. */
  #call(
    word: string,
    keys: KeyBatch,
    batch: ObjectBatch | undefined,
    failed: number,
    highest: number,
    options: L2CallOptions,
    start: (call: PluginCall, signal: AbortSignal) => Promise<PluginAnswers<number>>,
  ): Promise<Uint8Array> {
    return this.#operations.run(async () => {
      const bounds = new AbortController();
      const { native, namespaces, clock } = this.#context;
      const call = new PluginCall(keys, batch, namespaces, native.binding);
      const timer = clock.setTimer(this.#spec.call_timeout_ms, () => bounds.abort(new Error(`no answer for ${this.#spec.call_timeout_ms} ms`)));
      const signals = [bounds.signal, this.#closing.signal, ...(options.signal === undefined ? [] : [options.signal])];
      const signal = AbortSignal.any(signals);
      try {
        signal.throwIfAborted();
        const answers = await Promise.race([start(call, signal), rejectWhenAborted(signal)]);
        this.#lastFault = "";
        return this.#checkAnswers(word, answers, keys.count, failed, highest);
      } catch (error) {
        const kind = options.signal?.aborted === true ? "aborted" : bounds.signal.aborted ? "timed_out" : this.#closing.signal.aborted ? "closing" : "threw";
        this.#fault(`${word}_${kind}`, errorText(error));
        return answerAll(keys, failed);
      } finally {
        timer.cancel();
        call.revoke();
      }
    });
  }

  #checkAnswers(word: string, answers: PluginAnswers<number>, count: number, failed: number, highest: number): Uint8Array {
    if (typeof answers !== "object" || answers === null || answers.length !== count)
      throw new PluginError(`${word}() must answer one number per key (${count}), got ${typeof answers === "object" && answers !== null ? `${answers.length} answers` : typeof answers}`);
    return Uint8Array.from({ length: count }, (_, index) => {
      const answer = answers[index];
      if (Number.isInteger(answer) && answer >= 0 && answer <= highest) return answer;
      this.#fault(`${word}_answer`, `${word}() answered ${String(answer)} for key ${index}; allowed: 0 to ${highest}`);
      return failed;
    });
  }

  #fault(kind: string, message: string): void {
    this.#lastFault = `${kind}: ${message}`;
    this.#context.counters.counter("kvferry_l2_plugin_faults_total", { adapter: this.name, kind }).add(1);
    this.#context.logger.warn(`plugin-${kind}`, `${this.name}: ${this.#origin}: ${message}`);
  }
}

function rejectWhenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
