import { settlesWithin, type Clock } from "../base/clock.ts";
import { AdapterError, ClosedError, errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { PrefetchController, StoreController } from "../controllers/index.ts";
import type { AdapterSpec, L2Adapter } from "../l2/index.ts";
import type { AdapterDescriptor } from "../policies/index.ts";
import { isAdapter } from "./config.ts";

interface Entry {
  readonly adapter: L2Adapter;
  readonly descriptor: AdapterDescriptor;
}

/**
 * The adapters of a storage, from their opening to the end of their last work. One that is removed goes on being closed with the storage
 * until it has let go of every slot and its close() has ended, however long it hangs.
 */
export class AdapterSet {
  readonly #store: StoreController;
  readonly #prefetch: PrefetchController;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #entries: Entry[] = [];
  /** Removed, and not done yet. */
  readonly #leaving = new Map<L2Adapter, Promise<unknown>>();
  readonly #names = new Set<string>();
  #nextIndex = 0;
  #closed = false;

  constructor(dependencies: { readonly store: StoreController; readonly prefetch: PrefetchController; readonly clock: Clock; readonly logger: Logger }) {
    this.#store = dependencies.store;
    this.#prefetch = dependencies.prefetch;
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
  }

  get list(): readonly L2Adapter[] {
    return this.#entries.map(({ adapter }) => adapter);
  }

  /** Takes an adapter that the caller made, or opens one from its spec. Returns its name. */
  async add(source: AdapterSpec | L2Adapter, open: (spec: AdapterSpec, name: string) => Promise<L2Adapter>): Promise<string> {
    const index = this.#nextIndex++;
    // The name is taken before the opening, so that two that open at once do not get the same.
    const name = this.#takeName(source, index);
    let adapter: L2Adapter;
    try {
      adapter = isAdapter(source) ? source : await open(source, name);
    } catch (error) {
      this.#names.delete(name);
      throw error;
    }
    if (this.#closed) {
      await this.#close(adapter);
      throw new ClosedError("the storage");
    }
    const descriptor = Object.freeze({ index, name, type: adapter.type });
    this.#entries.push({ adapter, descriptor });
    this.#store.addAdapter(adapter, descriptor);
    this.#prefetch.addAdapter(adapter, descriptor);
    return name;
  }

  /**
   * Stops using an adapter: unsent stores end dropped(removed), running ones are waited for until the deadline and then stopped, by the
   * signal and by close(). Rejects with AdapterError when it has not let go soon after that; it is out of use all the same.
   */
  async remove(name: string, deadlineMs: number): Promise<void> {
    const position = this.#entries.findIndex(({ descriptor }) => descriptor.name === name);
    if (position < 0) throw new RangeError(`no adapter is called ${JSON.stringify(name)}; there are: ${this.#entries.map((entry) => entry.descriptor.name).join(", ")}`);
    const [{ adapter, descriptor }] = this.#entries.splice(position, 1);
    this.#prefetch.removeAdapter(descriptor.index);
    const leaving = this.#store.removeAdapter(descriptor.index, deadlineMs).then(({ drained }) => Promise.all([drained, this.#close(adapter)]));
    const gone = leaving.then(([, problem]) => {
      this.#leaving.delete(adapter);
      this.#names.delete(name);
      return problem;
    });
    this.#leaving.set(adapter, gone);
    if (!(await settlesWithin(this.#clock, gone, deadlineMs + closeGraceMs)))
      throw new AdapterError(name, "still works on objects after the deadline; it gets no new ones, and their memory returns when it is done", { retryable: true });
    const problem = await gone;
    if (problem !== undefined) throw new AdapterError(name, `was removed, but did not close cleanly: ${problem}`);
  }

  /** Closes every adapter, those that are leaving too. Resolves when all are closed, or after the deadline. */
  async close(deadlineMs: number): Promise<void> {
    this.#closed = true;
    const adapters = [...this.list, ...this.#leaving.keys()];
    await settlesWithin(this.#clock, Promise.all(adapters.map((adapter) => this.#close(adapter))), deadlineMs);
  }

  /** Answers what went wrong, in words. */
  async #close(adapter: L2Adapter): Promise<string | undefined> {
    try {
      await adapter.close();
      return undefined;
    } catch (error) {
      this.#logger.error("adapter_close", `${adapter.name} did not close: ${errorText(error)}`);
      return errorText(error);
    }
  }

  #takeName(source: AdapterSpec | L2Adapter, index: number): string {
    const wanted = isAdapter(source) ? source.name : source.type;
    const isTaken = this.#names.has(wanted);
    if (isTaken && isAdapter(source)) throw new RangeError(`an adapter is called ${JSON.stringify(wanted)} already; each needs a name of its own`);
    const name = isTaken ? `${wanted}#${index}` : wanted;
    this.#names.add(name);
    return name;
  }
}

/** How long an adapter may take to let go once it was told to. */
const closeGraceMs = 1_000;
