/**
 * Trains a byte-pair vocabulary and writes it in llama2.c's tokenizer format. Words are cut before each space, so that no piece spans
 * two words; ties go to the piece that sorts first, so that the same text always gives the same file.
 */

export const unknownToken = 0;
export const beginToken = 1;
export const endToken = 2;

/** Pieces in order of id: three specials, the characters of the text, then merges, best first. */
export function trainVocabulary(text, vocabularySize) {
  const words = new Map();
  for (const line of text.split("\n"))
    for (const word of ` ${line}`.match(/ [^ ]+/g) ?? []) words.set(word, (words.get(word) ?? 0) + 1);
  const rows = [...words].map(([word, count]) => ({ pieces: [...word], count }));
  const characters = [...new Set(rows.flatMap((row) => row.pieces))].sort();
  const pieces = ["<unk>", "<s>", "</s>", ...characters];
  while (pieces.length < vocabularySize) {
    const best = bestPair(rows);
    if (best === undefined) throw new RangeError(`the text has only ${pieces.length} pieces, fewer than the ${vocabularySize} asked for`);
    const merged = best[0] + best[1];
    if (!pieces.includes(merged)) pieces.push(merged);
    for (const row of rows) row.pieces = mergePair(row.pieces, best[0], best[1]);
  }
  return pieces;
}

function bestPair(rows) {
  const counts = new Map();
  for (const { pieces, count } of rows)
    for (let index = 0; index + 1 < pieces.length; index++) {
      const pair = `${pieces[index]}\0${pieces[index + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  let best;
  let bestCount = 1;
  for (const [pair, count] of counts)
    if (count > bestCount || (count === bestCount && best !== undefined && pair < best)) {
      best = pair;
      bestCount = count;
    }
  return best?.split("\0");
}

function mergePair(pieces, left, right) {
  const out = [];
  for (let index = 0; index < pieces.length; index++) {
    if (pieces[index] === left && pieces[index + 1] === right) out.push(left + pieces[++index]);
    else out.push(pieces[index]);
  }
  return out;
}

/** Merges carry falling scores, so llama2.c's "best score first" encoding repeats the order in which they were learned. */
export function vocabularyFile(pieces) {
  const encoded = pieces.map((piece) => Buffer.from(piece, "utf8"));
  const parts = [Buffer.alloc(4)];
  parts[0].writeInt32LE(Math.max(...encoded.map((bytes) => bytes.length)), 0);
  encoded.forEach((bytes, id) => {
    const head = Buffer.alloc(8);
    head.writeFloatLE(id <= endToken ? 0 : -id, 0);
    head.writeInt32LE(bytes.length, 4);
    parts.push(head, bytes);
  });
  return Buffer.concat(parts);
}

/** Token ids of one line, without the begin token; `pieces` must cover its characters. */
export function encodeLine(line, pieces, ids = new Map(pieces.map((piece, id) => [piece, id]))) {
  return (` ${line}`.match(/ [^ ]+/g) ?? []).flatMap((word) => {
    let parts = [...word];
    for (;;) {
      let bestId = Infinity;
      for (let index = 0; index + 1 < parts.length; index++) bestId = Math.min(bestId, ids.get(parts[index] + parts[index + 1]) ?? Infinity);
      if (bestId === Infinity) return parts.map((part) => ids.get(part) ?? unknownToken);
      for (let index = 0; index + 1 < parts.length; index++)
        if (ids.get(parts[index] + parts[index + 1]) === bestId) {
          parts = [...parts.slice(0, index), parts[index] + parts[index + 1], ...parts.slice(index + 2)];
          break;
        }
    }
  });
}
