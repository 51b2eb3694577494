/** The inner loops of the trainer: a blocked matrix product, its transposes, and rotary positions. */

/** Left [rows, inner] x Right [columns, inner] transposed -> [rows, columns]. Four by two results at a time stay in registers. */
export function multiplyTransposed(left, right, rows, columns, inner) {
  const out = new Float64Array(rows * columns);
  product(out, left, right, rows, columns, inner);
  return out;
}

/** target [columns, inner] += flow [rows, columns] transposed x input [rows, inner]: the gradient of a weight. */
export function accumulateColumns(target, flow, input, rows, columns, inner) {
  product(target, transpose(flow, rows, columns), transpose(input, rows, inner), columns, inner, rows);
}

export function transpose(source, rows, columns) {
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) out[column * rows + row] = source[row * columns + column];
  return out;
}

/** out += left x right transposed. */
function product(out, left, right, rows, columns, inner) {
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    const l0 = row * inner;
    const l1 = l0 + inner;
    const l2 = l1 + inner;
    const l3 = l2 + inner;
    let column = 0;
    for (; column + 2 <= columns; column += 2) {
      const r0 = column * inner;
      const r1 = r0 + inner;
      let s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
      for (let i = 0; i < inner; i++) {
        const a = right[r0 + i];
        const b = right[r1 + i];
        const x0 = left[l0 + i];
        const x1 = left[l1 + i];
        const x2 = left[l2 + i];
        const x3 = left[l3 + i];
        s00 += x0 * a; s01 += x0 * b;
        s10 += x1 * a; s11 += x1 * b;
        s20 += x2 * a; s21 += x2 * b;
        s30 += x3 * a; s31 += x3 * b;
      }
      const at = row * columns + column;
      out[at] += s00; out[at + 1] += s01;
      out[at + columns] += s10; out[at + columns + 1] += s11;
      out[at + 2 * columns] += s20; out[at + 2 * columns + 1] += s21;
      out[at + 3 * columns] += s30; out[at + 3 * columns + 1] += s31;
    }
    for (; column < columns; column++) for (let r = row; r < row + 4; r++) out[r * columns + column] += dot(left, r * inner, right, column * inner, inner);
  }
  for (; row < rows; row++) for (let column = 0; column < columns; column++) out[row * columns + column] += dot(left, row * inner, right, column * inner, inner);
}

function dot(left, leftAt, right, rightAt, inner) {
  let sum = 0;
  for (let i = 0; i < inner; i++) sum += left[leftAt + i] * right[rightAt + i];
  return sum;
}

const angles = new Map();

/** Rotary positions as llama2.c has them (neighbouring pairs); `direction` -1 undoes them, which is also their gradient. */
export function rotate(rowsOfHeads, rows, width, headSize, sequenceLength, direction) {
  const key = `${headSize}/${sequenceLength}`;
  if (!angles.has(key)) angles.set(key, rotaryTable(headSize, sequenceLength));
  const { cosine, sine } = angles.get(key);
  const half = headSize / 2;
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < width; at += 2) {
      const angle = (row % sequenceLength) * half + (at % headSize) / 2;
      const c = cosine[angle];
      const s = sine[angle] * direction;
      const x = rowsOfHeads[row * width + at];
      const y = rowsOfHeads[row * width + at + 1];
      rowsOfHeads[row * width + at] = x * c - y * s;
      rowsOfHeads[row * width + at + 1] = x * s + y * c;
    }
}

export function rotaryTable(headSize, positions) {
  const half = headSize / 2;
  const cosine = new Float64Array(positions * half);
  const sine = new Float64Array(positions * half);
  for (let position = 0; position < positions; position++)
    for (let pair = 0; pair < half; pair++) {
      const angle = position / 10000 ** ((2 * pair) / headSize);
      cosine[position * half + pair] = Math.cos(angle);
      sine[position * half + pair] = Math.sin(angle);
    }
  return { cosine, sine };
}
