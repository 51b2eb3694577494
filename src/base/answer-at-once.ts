/**
 * For calls into a user's module whose answer must be there at once. An `async` function where none may be answers with a promise, and
 * its rejection, which nobody would hear, would end the process: it is heard here, and the promise is refused like any other wrong answer.
 */
export function answerAtOnce<Result>(answer: Result): Result {
  if (typeof answer === "object" && answer !== null && "then" in answer && typeof answer.then === "function") {
    Promise.resolve(answer).catch(() => undefined);
    throw new TypeError("answered with a promise; the answer must be there at once");
  }
  return answer;
}
