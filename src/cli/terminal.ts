/** Signals that ask a command to stop, and the exit codes that say so. SIGHUP: the person's terminal went away. */
export const signalExitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
export type StopSignal = keyof typeof signalExitCodes;

/** Where a command writes, and how it is asked to stop; passed in, so that tests can run commands inside their own process. */
export interface Terminal {
  /** Results: what a pipe should get. */
  out(text: string): void;
  /** Everything that is said about the run. */
  err(text: string): void;
  /** One line that replaces itself; nothing when no person is watching. `""` clears it. */
  progress(line: string): void;
  /** Colours and the progress line are for people. */
  readonly interactive: boolean;
  readonly columns: number;
  /** Calls `listener` at SIGINT, SIGTERM and SIGHUP until the returned function is called. */
  onSignal(listener: (signal: StopSignal) => void): () => void;
}

export const systemTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  progress(line) {
    if (!process.stderr.isTTY) return;
    const columns = process.stderr.columns ?? 80;
    process.stderr.write(`\r\x1b[2K${line.slice(0, columns - 1)}`);
  },
  get interactive() {
    return process.stderr.isTTY === true;
  },
  get columns() {
    return process.stderr.columns ?? 80;
  },
  onSignal(listener) {
    const signals = Object.keys(signalExitCodes) as StopSignal[];
    const hear = (signal: NodeJS.Signals): void => listener(signal as StopSignal);
    for (const signal of signals) process.on(signal, hear);
    return () => {
      for (const signal of signals) process.off(signal, hear);
    };
  },
};
