/** A value with listeners to its changes. */
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
    this.emit();
  }

  /** Call the listeners although the value is the same object: its content has changed. */
  emit(): void {
    for (const listener of this.#listeners) listener(this.#value);
  }

  on(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }

  /** Add a listener and call it with the current value. */
  watch(listener: (value: T) => void): void {
    this.on(listener);
    listener(this.#value);
  }
}
