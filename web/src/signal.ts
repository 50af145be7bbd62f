export class Signal<T> {
  #value: T;
  readonly #listeners: ((value: T) => void)[] = [];

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.tell();
  }

  /** Call the listeners though the value is the same object: its content has changed. */
  tell(): void {
    for (const listener of this.#listeners) listener(this.#value);
  }

  on(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }

  /** Listen, and be told the present value at once. */
  watch(listener: (value: T) => void): void {
    this.on(listener);
    listener(this.#value);
  }
}
