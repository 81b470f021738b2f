/** What one reader waits for, until it is disposed of. */
export interface Wish extends Disposable {
  /** Why it does not come. */
  readonly failure: unknown;
  /** Nothing in front of this position is wanted any more. */
  moveTo(position: number): void;
}
