/**
 * What a case consists of, as text: a line is an action, a word that names it, then words and
 * `key=value` pairs. `#` begins a comment.
 *
 *     send SET_VRING_NUM index=0 num=3 need-reply
 *     kick 1000 queue=0
 */

/** An action. Values are texts: what they mean is the business of who carries it out. */
export interface Action {
  readonly verb: string;
  /** Words without a value, in order. */
  readonly words: readonly string[];
  readonly values: ReadonlyMap<string, string>;
}

/** A case: how the server is started, and what is done to it. */
export interface FuzzCase {
  /** The program's options, apart from socket and disk. */
  readonly serverOptions: readonly string[];
  readonly actions: readonly Action[];
  /** Comments at its head: what it shows. */
  readonly remarks: readonly string[];
}

/** What is wrong with the text of a case. */
export class CaseError extends Error {
  override readonly name = 'CaseError';
}

/** An action made in code: words, and values for those keys that have one. */
export function action(
  verb: string,
  words: readonly (string | number)[] = [],
  values: Readonly<Record<string, string | number | bigint | undefined>> = {},
): Action {
  const pairs = Object.entries(values).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return { verb, words: words.map(String), values: new Map(pairs) };
}

export function formatAction({ verb, words, values }: Action): string {
  return [verb, ...words, ...[...values].map(([key, value]) => `${key}=${value}`)].join(' ');
}

export function parseAction(line: string): Action {
  const [verb, ...rest] = line.trim().split(/\s+/);
  const words = rest.filter((word) => !word.includes('='));
  const pairs = rest
    .filter((word) => word.includes('='))
    .map((word): [string, string] => {
      const at = word.indexOf('=');
      return [word.slice(0, at), word.slice(at + 1)];
    });
  return { verb, words, values: new Map(pairs) };
}

/** The text of a case; `parseCase` reads it. */
export function formatCase({ serverOptions, actions, remarks }: FuzzCase): string {
  const lines = [
    ...remarks.map((remark) => `# ${remark}`),
    ['server', ...serverOptions].join(' '),
    ...actions.map(formatAction),
  ];
  return `${lines.join('\n')}\n`;
}

/** Read a case. @throws CaseError if it does not begin with the server. */
export function parseCase(text: string): FuzzCase {
  const all = text.split('\n').map((line) => line.trim());
  const lines = all.map((line) => line.replace(/(^|\s)#.*$/, '').trim()).filter(Boolean);
  const [first = '', ...rest] = lines;
  const [word, ...serverOptions] = first.split(/\s+/);
  if (word !== 'server') throw new CaseError(`a case begins with "server", not with "${first}"`);
  const head = all.findIndex((line) => line.startsWith('server'));
  const remarks = all
    .slice(0, head)
    .filter((line) => line.startsWith('#'))
    .map((line) => line.replace(/^#\s?/, ''));
  return { serverOptions, actions: rest.map(parseAction), remarks };
}
