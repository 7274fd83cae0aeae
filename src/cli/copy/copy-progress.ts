/** How far a copy is, for people: one line that is written over and over. */

const INTERVAL_MS = 500;
const ERASE_LINE = '\r\u001b[K';
const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes as people read them. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Seconds as `m:ss` or `h:mm:ss`. */
export function timeText(seconds: number): string {
  const whole = Math.ceil(seconds);
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  const tail = String(whole % 60).padStart(2, '0');
  return hours === 0
    ? `${minutes}:${tail}`
    : `${hours}:${String(minutes).padStart(2, '0')}:${tail}`;
}

/** One state of a copy: how far it is after some seconds. */
export function progressText(
  phase: string,
  doneBytes: number,
  sizeBytes: number,
  seconds: number,
): string {
  const percent = Math.floor((doneBytes * 100) / sizeBytes);
  const parts = [`${phase} ${percent} %`, `${sizeText(doneBytes)} of ${sizeText(sizeBytes)}`];
  if (doneBytes > 0 && seconds > 0) {
    const rate = doneBytes / seconds;
    parts.push(`${sizeText(rate)}/s`, `${timeText((sizeBytes - doneBytes) / rate)} left`);
  }
  return parts.join(', ');
}

/** See the module's comment. */
export class CopyProgress {
  readonly #write: (text: string) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #show: () => void;

  /** @param doneBytes - how far it is when asked. */
  constructor(
    phase: string,
    sizeBytes: number,
    doneBytes: () => number,
    write: (text: string) => void,
  ) {
    const startedMs = performance.now();
    this.#write = write;
    this.#show = () => {
      const seconds = (performance.now() - startedMs) / 1000;
      write(`${ERASE_LINE}${progressText(phase, doneBytes(), sizeBytes, seconds)}`);
    };
    this.#timer = setInterval(this.#show, INTERVAL_MS);
  }

  /** The line as it is at the end stays. */
  finish(): void {
    clearInterval(this.#timer);
    this.#show();
    this.#write('\n');
  }

  /** Leave no line. */
  abandon(): void {
    clearInterval(this.#timer);
    this.#write(ERASE_LINE);
  }
}
