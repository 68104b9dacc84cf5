import type { Clock } from '../../../../lambda/clock';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** Events in virtual time, in milliseconds. The same seed gives the same run. */
export class Simulation implements Clock {
  readonly random: () => number;
  /** A heap, the next event first. */
  readonly #events: Event[] = [];
  #now = 0;
  #order = 0;
  #awakened = false;

  constructor(seed: number) {
    this.random = randomNumbers(seed);
  }

  now = () => this.#now;

  date = () => new Date(this.#now);

  /** Lets something happen after so many milliseconds. */
  after(ms: number, happen: () => void): void {
    const event = { at: this.#now + ms, order: this.#order, happen };
    this.#order += 1;
    let index = this.#events.push(event) - 1;
    for (let parent = (index - 1) >> 1; index > 0 && isBefore(event, this.#events[parent]); parent = (index - 1) >> 1) {
      this.#events[index] = this.#events[parent] as Event;
      this.#events[parent] = event;
      index = parent;
    }
  }

  /** Lets something happen that begins asynchronous work. */
  act(ms: number, begin: () => void): void {
    this.after(ms, () => {
      this.#awakened = true;
      begin();
    });
  }

  sleep = (ms: number) => this.promise((wake) => this.after(ms, wake));

  /** Turns something with a callback into a promise. */
  promise(start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      start(() => {
        this.#awakened = true;
        resolve();
      });
    });
  }

  /** An exponentially distributed number with this mean. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.random());
  }

  async run(untilMs: number): Promise<void> {
    await settle();
    while ((this.#events[0]?.at ?? Number.POSITIVE_INFINITY) <= untilMs) {
      const event = this.#next();
      this.#now = event?.at ?? untilMs;
      event?.happen();
      if (this.#awakened) {
        this.#awakened = false;
        await settle();
      }
    }
    this.#now = untilMs;
  }

  #next(): Event | undefined {
    const [first] = this.#events;
    const last = this.#events.pop();
    if (!first || !last || first === last) {
      return first;
    }
    let index = 0;
    for (;;) {
      const [left, right] = [2 * index + 1, 2 * index + 2];
      const child = isBefore(this.#events[right], this.#events[left]) ? right : left;
      const event = this.#events[child];
      if (!event || !isBefore(event, last)) {
        break;
      }
      this.#events[index] = event;
      index = child;
    }
    this.#events[index] = last;
    return first;
  }
}

function isBefore(a: Event | undefined, b: Event | undefined): boolean {
  return a !== undefined && (b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order));
}

/** Lets the asynchronous functions go on until all of them wait for an event. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Numbers from 0 up to 1, by the generator known as mulberry32. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
