/** The shape of vhostkit's errors. */

/**
 * An error that programs match by `code`; the message is one line for people, and may change.
 * docs/reference/errors.md explains each code.
 */
export class CodedError<Code extends string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
