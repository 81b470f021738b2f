/** Counts the store's open file handles, so that a leak shows in a number. */
export class OpenFiles {
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(): void {
    this.#count += 1;
  }

  remove(): void {
    this.#count -= 1;
  }
}
