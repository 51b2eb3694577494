import type { World } from "./world.ts";

/** A full audit costs O(objects), so large tables are audited less often. */
const objectsPerAudit = 64;
const eventsPerCounterLook = 64;

/** What must hold between any two events, whatever went wrong before. */
export class Invariants {
  readonly #world: World;
  #events = 0;
  #nextAudit = 0;
  #counters: Record<string, number> = {};
  #closedChecked = false;

  constructor(world: World) {
    this.#world = world;
  }

  check(): void {
    const { storage, trace, plan } = this.#world;
    this.#events++;
    if (this.#events % eventsPerCounterLook === 0) this.#checkCounters();
    if (this.#events < this.#nextAudit || this.#closedChecked) return;
    if (this.#world.closing) {
      // The arena may be unmapped by now; what is left of it is looked at when the close has ended.
      this.#closedChecked = true;
      return;
    }
    const audit = storage.audit();
    this.#nextAudit = this.#events + Math.max(1, Math.floor(audit.objects / objectsPerAudit));
    for (const problem of audit.problems) this.#world.fail(problem);
    this.#checkIo(audit.arena.slotsInIo);
    // Who waits although nothing is held was forgotten: every request of the simulation fits an empty L1, and what is not held can be evicted.
    const isEvicting = plan.evictionPolicy !== "noop" && !plan.policiesThrow;
    const isHeld = audit.leases > 0 || audit.openObligations > 0 || audit.stagedObjects > 0 || audit.arena.slotsInIo > 0;
    if (audit.waiting > 0 && (audit.arena.usedBytes === 0 || (isEvicting && !isHeld)))
      this.#world.fail(`${audit.waiting} requests wait for room of which nobody holds any (${audit.arena.usedBytes} bytes in use)`);
    trace.note(`used ${audit.arena.usedBytes} leases ${audit.leases} open ${audit.openObligations}`);
  }

  /** Slots that C++ counts as under I/O are those that somebody works on, no more and no fewer. */
  #checkIo(slotsInIo: number): void {
    const { adapters, clientIo, plan } = this.#world;
    if (plan.withMock) return;
    const slots = new Set(clientIo.keys());
    for (const adapter of adapters) for (const slot of adapter.slotsInUse.keys()) slots.add(slot);
    if (slots.size !== slotsInIo) this.#world.fail(`${slotsInIo} slots count I/O and ${slots.size} are worked on`);
  }

  #checkCounters(): void {
    const counters = this.#world.counters.snapshot();
    for (const [name, value] of Object.entries(this.#counters))
      if (name.includes("_total") && !(counters[name] >= value)) this.#world.fail(`counter ${name} fell from ${value} to ${counters[name]}`);
    this.#counters = counters;
  }
}
