/** The end of what is open: all of it comes to its end, whatever goes wrong with a part. */

/** What has an end. */
export interface Closable {
  close(): void | Promise<void>;
}

/** Take steps in their order, each though one before it has failed. Fails as the first that did. */
export async function takeAll(steps: readonly (() => void | Promise<void>)[]): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}

/** Close what is not needed because of an error: that one is to be told, not what comes of this. */
export async function abandonAll(open: readonly Closable[]): Promise<void> {
  await takeAll(open.map((each) => () => each.close())).catch(() => {});
}

/**
 * Use what is open, and close it in the end. Rejects with what the use has failed with, else with
 * what closing has.
 */
export async function useAndClose<Result>(
  open: readonly Closable[],
  use: () => Promise<Result>,
): Promise<Result> {
  let result: Result;
  try {
    result = await use();
  } catch (error) {
    await abandonAll(open);
    throw error;
  }
  await takeAll(open.map((each) => () => each.close()));
  return result;
}
