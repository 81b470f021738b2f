/** A file of the node that is left as it is: what is in it cannot be joined with ours, or it cannot be touched. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}
