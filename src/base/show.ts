/** A value for an error message: JSON where JSON can say it, cut where it is long. */
export function show(value: unknown): string {
  const shown = shownWhole(value);
  return shown.length > 80 ? `${shown.slice(0, 77)}...` : shown;
}

function shownWhole(value: unknown): string {
  // JSON turns NaN and the infinities into null, and throws for a bigint and for an object that holds itself.
  if (typeof value === "number") return String(value);
  if (typeof value === "bigint") return `${value}n`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
