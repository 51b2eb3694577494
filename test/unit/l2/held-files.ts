/** Object files whose calls, or their answers, wait until a test lets them go: their order is then the test's, not the machine's. */
import type { TestContext } from "../../../src/l2/conformance/harness.ts";
import type { NativeBinding } from "../../../src/native/binding.ts";
import { loadBinding } from "../../../src/native/load.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";
import { createAdapterTestContext } from "../../../src/testing.ts";

export type FileCall = "scan" | "load" | "remove";
type Files = InstanceType<NativeBinding["ObjectFiles"]>;

/** What passes here waits while the gate is held. */
class Gate {
  #held: (() => void)[] | undefined;
  #watchers: (() => void)[] = [];

  pass(go: () => void): void {
    if (this.#held === undefined) go();
    else {
      this.#held.push(go);
      for (const tell of this.#watchers.splice(0)) tell();
    }
  }

  hold(): void {
    this.#held ??= [];
  }

  /** Resolves when something waits here. */
  async arrival(): Promise<void> {
    while ((this.#held?.length ?? 0) === 0) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }

  open(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const go of held) go();
  }
}

export class HeldFiles {
  readonly #calls: Readonly<Record<FileCall, Gate>> = { scan: new Gate(), load: new Gate(), remove: new Gate() };
  /** The next answer of a kind, which is to be held back. */
  readonly #answers = new Map<FileCall, Gate>();

  hold(call: FileCall): void {
    this.#calls[call].hold();
  }

  arrival(call: FileCall): Promise<void> {
    return this.#calls[call].arrival();
  }

  open(call: FileCall): void {
    this.#calls[call].open();
  }

  /** Lets the next call of this kind do its work and holds back its answer; what comes after it is not held. */
  holdAnswer(call: FileCall): Pick<Gate, "arrival" | "open"> {
    const gate = new Gate();
    gate.hold();
    this.#answers.set(call, gate);
    return gate;
  }

  /** A context for an adapter whose files are these. */
  context(): TestContext {
    const { context, close } = createAdapterTestContext();
    const native = new HeldRuntime(this.#calls, this.#answers);
    return {
      context: { ...context, native },
      close: async () => {
        await native.close();
        await close();
      },
    };
  }
}

class HeldRuntime extends NativeRuntime {
  readonly #answers: Map<FileCall, Gate>;
  readonly #kind: { current: FileCall | undefined };

  constructor(calls: Readonly<Record<FileCall, Gate>>, answers: Map<FileCall, Gate>) {
    const kind: { current: FileCall | undefined } = { current: undefined };
    super({}, heldBinding(calls, kind));
    this.#answers = answers;
    this.#kind = kind;
  }

  override async run(submit: (opId: number) => void): Promise<Int32Array> {
    this.#kind.current = undefined;
    const running = super.run(submit);
    const kind = this.#kind.current;
    const gate = kind === undefined ? undefined : this.#answers.get(kind);
    if (kind !== undefined) this.#answers.delete(kind);
    const statuses = await running;
    if (gate !== undefined) await new Promise<void>((resolve) => gate.pass(resolve));
    return statuses;
  }
}

/** The addon with object files whose calls pass the gates, and leave their kind behind for whoever started them. */
function heldBinding(calls: Readonly<Record<FileCall, Gate>>, kind: { current: FileCall | undefined }): NativeBinding {
  const binding = loadBinding();
  const pass = (call: FileCall, go: () => void): void => {
    kind.current = call;
    calls[call].pass(go);
  };
  class ObjectFiles extends binding.ObjectFiles {
    override scan(...given: Parameters<Files["scan"]>): void {
      pass("scan", () => super.scan(...given));
    }
    override load(...given: Parameters<Files["load"]>): void {
      pass("load", () => super.load(...given));
    }
    override remove(...given: Parameters<Files["remove"]>): void {
      pass("remove", () => super.remove(...given));
    }
  }
  return Object.assign(Object.create(binding) as NativeBinding, { ObjectFiles });
}
