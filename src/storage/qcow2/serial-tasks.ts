/** Tasks that may not be under way at the same time: each begins when those before it have ended. */
export class SerialTasks {
  #last: Promise<unknown> = Promise.resolve();

  /** What the task gives, or fails with; others go on after it all the same. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}
