/** Damerau-free edit distance; names are short, so the quadratic table is the simple and fast answer. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const substitution = previous[column - 1] + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[column] + 1, current[column - 1] + 1));
    }
    previous = current;
  }
  return previous[b.length];
}

/** The known name that a person who typed `name` most likely meant, or undefined when nothing is close. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const wanted = name.toLowerCase();
  const names = [...known];
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.ceil(name.length / 3)) + 1;
  for (const candidate of names) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best ?? nameWithWord(wanted, names);
}

/** The only known name that has `word` as one of its parts: `base_path` for `path`. */
function nameWithWord(word: string, known: readonly string[]): string | undefined {
  const found = known.filter((candidate) => candidate.toLowerCase().split(/[^a-z0-9]+/).includes(word));
  return found.length === 1 ? found[0] : undefined;
}

/** `; did you mean "x"?` or an empty string: the tail of every message about an unknown name. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? "" : `; did you mean "${nearest}"?`;
}
