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
  /** Calls `listener` at SIGINT and SIGTERM until the returned function is called. */
  onSignal(listener: (signal: "SIGINT" | "SIGTERM") => void): () => void;
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
    const onInterrupt = (): void => listener("SIGINT");
    const onTerminate = (): void => listener("SIGTERM");
    process.on("SIGINT", onInterrupt);
    process.on("SIGTERM", onTerminate);
    return () => {
      process.off("SIGINT", onInterrupt);
      process.off("SIGTERM", onTerminate);
    };
  },
};
